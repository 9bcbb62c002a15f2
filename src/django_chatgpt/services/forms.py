"""Answers that have to have a form: asked for, checked, and read."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import jiter
from pydantic import BaseModel, ValidationError

from django_chatgpt.core.events import CallRequested, Content, Discarded, Failed, Finished, TurnEvent
from django_chatgpt.core.schema import provider_form
from django_chatgpt.exceptions import AIServiceError, StructuredOutputError

Model = TypeVar("Model", bound=BaseModel)

_NO_NAME_CHARACTER = re.compile(r"[^a-zA-Z0-9_-]")
SHOWN_PROBLEMS = 10


@dataclass(frozen=True)
class Form(Generic[Model]):
    """The form that a pydantic model gives an answer."""

    model: type[Model]

    @property
    def schema(self) -> dict[str, Any]:
        """What the provider is told: {"name", "schema", "strict"}."""
        form = provider_form(self.model.model_json_schema(mode="serialization"))
        name = _NO_NAME_CHARACTER.sub("_", self.model.__name__)[:64]
        return {"name": name, "schema": form.schema, "strict": form.strict}

    def check(self, text: str) -> str | None:
        """What is wrong with an answer, told to the model so that it can mend it; None if nothing is."""
        try:
            self.model.model_validate_json(text)
        except ValidationError as error:
            problems = [
                f"{'.'.join(str(part) for part in found['loc']) or 'the answer'}: {found['msg']}"
                for found in error.errors(include_url=False, include_input=False)[:SHOWN_PROBLEMS]
            ]
            return "The answer does not have the form asked for. " + "; ".join(problems) + ". Answer again."
        return None

    def read(self, text: str) -> Model:
        """The answer as the model. Raises StructuredOutputError with the text."""
        try:
            return self.model.model_validate_json(text)
        except ValidationError:
            pass
        raise StructuredOutputError(raw=text)

    @staticmethod
    def partial(text: str) -> Any:
        """What can be read of an answer that is still being written; None before there is anything."""
        try:
            return jiter.from_json(text.encode(), partial_mode="trailing-strings")
        except ValueError:
            return None


class Reading(Generic[Model]):
    """An answer of a form, read while it is written."""

    def __init__(self, form: Form[Model]) -> None:
        self.form = form
        self._text = ""
        self._shown: Any = None

    def add(self, event: TurnEvent) -> Iterator[Any]:
        """What an event brings: a bit more of the answer, the whole of it, or the error it ended with."""
        match event:
            case Content(content=text):
                self._text += text
                seen = self.form.partial(self._text)
                if seen is not None and seen != self._shown:
                    self._shown = seen
                    yield seen
            case CallRequested() | Discarded():
                self._text = ""
            case Finished():
                yield self.form.read(self._text)
            case Failed():
                raise AIServiceError(event.message, code=event.code, retryable=event.retryable)
