"""The provider's judgement of texts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import httpx2
import jiter

from django_chatgpt.core.messages import storable
from django_chatgpt.core.reply import MAX_NAME
from django_chatgpt.core.request import ModerationRequest, Verdict
from django_chatgpt.exceptions import AIServiceError, ProviderProtocolError
from django_chatgpt.providers.clients import async_client, sync_client
from django_chatgpt.providers.errors import in_band, translate
from django_chatgpt.providers.streams import encode, request_options

PATH: Final = "/moderations"
MAX_CATEGORIES: Final = 40


def moderate(request: ModerationRequest) -> Verdict:
    """Have texts judged. Errors are ours."""
    client = sync_client(request.endpoint)
    content, options = _body(request), request_options(request.timeout)
    try:
        outcome = _read(
            client.post(PATH, content=content, cast_to=httpx2.Response, options=options), len(request.texts)
        )
    except Exception as error:
        outcome = translate(error, model=request.model)
    if isinstance(outcome, AIServiceError):
        raise outcome
    return outcome


async def amoderate(request: ModerationRequest) -> Verdict:
    """Have texts judged. Errors are ours."""
    client = async_client(request.endpoint)
    content, options = _body(request), request_options(request.timeout)
    try:
        outcome = _read(
            await client.post(PATH, content=content, cast_to=httpx2.Response, options=options),
            len(request.texts),
        )
    except Exception as error:
        outcome = translate(error, model=request.model)
    if isinstance(outcome, AIServiceError):
        raise outcome
    return outcome


def _body(request: ModerationRequest) -> bytes:
    return encode({"model": request.model, "input": list(request.texts)})


def _read(response: httpx2.Response, count: int) -> Verdict | AIServiceError:
    """The verdict on all of them together; an answer that leaves one out is none."""
    request_id = storable(response.headers.get("x-request-id") or "", MAX_NAME)
    try:
        answer: object = jiter.from_json(response.content)
    except ValueError:
        answer = None
    if not isinstance(answer, Mapping):
        return ProviderProtocolError(request_id=request_id)
    if answer.get("error"):
        return in_band(answer["error"], request_id=request_id)
    results = answer.get("results")
    if not isinstance(results, list) or len(results) != count or not all(map(_is_result, results)):
        return ProviderProtocolError(request_id=request_id)
    flagged = [result for result in results if result["flagged"]]
    model = answer.get("model")
    return Verdict(
        flagged=bool(flagged),
        categories=_categories(flagged),
        model=storable(model, MAX_NAME) if isinstance(model, str) else "",
        request_id=request_id,
    )


def _is_result(result: object) -> bool:
    return isinstance(result, Mapping) and isinstance(result.get("flagged"), bool)


def _categories(results: list[Any]) -> tuple[str, ...]:
    """The names of what is objected to, in any of the texts."""
    found: dict[str, None] = {}
    for result in results:
        categories = result.get("categories")
        if isinstance(categories, Mapping):
            found.update(
                {storable(str(name), MAX_NAME): None for name, is_so in categories.items() if is_so is True}
            )
    return tuple(found)[:MAX_CATEGORIES]
