"""What a function returned, as text for the model."""

from __future__ import annotations

from collections.abc import ItemsView, KeysView, Mapping, ValuesView
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final

import jiter
from django.db.models import Model, QuerySet
from django.utils.functional import Promise
from pydantic_core import to_json

MAX_RESULT_CHARS: Final = 16_000
#: More rows than this never fit into MAX_RESULT_CHARS, so they are not even fetched.
MAX_ROWS: Final = MAX_RESULT_CHARS // 2


class ResultError(Exception):
    """A result that can't be told. Its text is for the developer, never for the model."""


@dataclass(frozen=True, slots=True)
class Result:
    """A result as text: JSON, unless the function returned a str, which is taken as it is."""

    text: str
    is_json: bool

    @property
    def value(self) -> Any:
        """The result as JSON would have it."""
        return jiter.from_json(self.text.encode()) if self.is_json else self.text

    @property
    def for_model(self) -> str:
        return capped(self.text)


def render_result(value: Any) -> Result:
    """The text of a result. A queryset is asked here, for MAX_ROWS rows at most. Raises ResultError.

    Taken are pydantic models, dataclasses, dicts, lists, sets, Decimal, dates, UUID, Enum, querysets of
    `values()` and all that JSON has. A model instance is refused: which of its fields may be told is for
    the function to say.
    """
    if isinstance(value, str) and not isinstance(value, Enum):
        return Result(storable(value), False)
    try:
        encoded = to_json(value, fallback=_plain, inf_nan_mode="strings", serialize_unknown=False)
    except Exception as error:
        # pydantic wraps what the fallback raises and repeats its name.
        raise ResultError(str(error).rpartition("ResultError: ")[2]) from error
    return Result(encoded.decode(), True)


def capped(text: str) -> str:
    """A text that is not too long for a conversation, with a note where it was cut."""
    if len(text) <= MAX_RESULT_CHARS:
        return text
    note = f"[Cut: these are the first {MAX_RESULT_CHARS} of {len(text)} characters. Ask for less at once.]"
    return f"{text[:MAX_RESULT_CHARS]}\n{note}"


def storable(text: str) -> str:
    """The text without what UTF-8 or PostgreSQL can't hold: lone surrogates and NUL."""
    return text.encode("utf-8", "replace").decode("utf-8").replace("\x00", "\N{REPLACEMENT CHARACTER}")


def _plain(value: Any) -> Any:
    """What pydantic does not know: Django's own kinds of values."""
    if isinstance(value, QuerySet):
        return list(value[: MAX_ROWS + 1])
    if isinstance(value, Promise):
        return str(value)
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, (KeysView, ValuesView, ItemsView)):
        return list(value)
    kind = f"{type(value).__module__}.{type(value).__qualname__}"
    if isinstance(value, Model):
        raise ResultError(f"{kind} is a model instance; return the fields that may be told, as a dict.")
    raise ResultError(f"{kind} can't be written as JSON.")
