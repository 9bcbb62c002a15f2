"""The body of a request to a coroutine, read in the hop that has found out who sends it."""

from __future__ import annotations

from typing import TypeVar

from django.http import HttpRequest
from pydantic import BaseModel

from django_chatgpt.services.bodies import parse

Body = TypeVar("Body", bound=BaseModel)


def parse_body(model: type[Body], request: HttpRequest) -> Body:
    """The JSON object of a request as a `model`. Raises InvalidRequestError, which names every field.

    A large body takes its time: only for a thread, and only after `authorise`.
    """
    return parse(model, request.body)
