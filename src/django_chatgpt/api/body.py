"""The body of a request to a coroutine, read in the hop that has found out who sends it."""

from __future__ import annotations

import json
from typing import TypeVar

from django.http import HttpRequest
from pydantic import BaseModel, ValidationError

from django_chatgpt.api.errors import MAX_MISTAKES, NO_OBJECT, TOO_MANY_MISTAKES, from_validation
from django_chatgpt.exceptions import InvalidRequestError

Body = TypeVar("Body", bound=BaseModel)


def parse_body(model: type[Body], request: HttpRequest) -> Body:
    """The JSON object of a request as a `model`. Raises InvalidRequestError, which names every field.

    A large body takes its time: only for a thread, and only after `authorise`.
    """
    try:
        return model.model_validate(json.loads(request.body))
    except ValidationError as error:
        if error.error_count() > MAX_MISTAKES:
            raise InvalidRequestError(fields=TOO_MANY_MISTAKES) from None
        raise from_validation(
            {**found, "loc": ("body", *found["loc"])}
            for found in error.errors(include_url=False, include_input=False)
        ) from None
    except (ValueError, RecursionError):
        raise InvalidRequestError(fields=NO_OBJECT) from None
