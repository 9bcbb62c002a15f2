"""A model's answer, opened and read as it comes, in both colours and both dialects."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import httpx2
import openai
import pydantic_core

from django_chatgpt.core.request import Endpoint, ModelRequest
from django_chatgpt.exceptions import AIServiceError, InvalidRequestError, ProviderProtocolError
from django_chatgpt.providers import chat, responses, sending
from django_chatgpt.providers.answer import Answer, Parser
from django_chatgpt.providers.async_stream import AsyncStream
from django_chatgpt.providers.clients import async_client, sync_client, timeouts
from django_chatgpt.providers.sources import source_of
from django_chatgpt.providers.sync_stream import Reader, SyncStream

__all__ = ["AsyncStream", "SyncStream", "aopen_stream", "open_stream"]

# How long to wait for a thread that was told to stop; one that is still connecting can't hear it.
LEAVE_SECONDS: Final = 0.2


@dataclass(slots=True)
class Call:
    """One request, ready to be sent. `content` is the JSON body; `timeout` the seconds of silence allowed."""

    endpoint: Endpoint
    path: str
    content: bytes
    timeout: float
    model: str
    parser: Callable[[str, str], Parser]


def open_stream(
    request: ModelRequest, *, tick: float | None = None, on_tick: Callable[[], object] | None = None
) -> SyncStream:
    """Ask the model; answers when the provider has accepted.

    Every `tick` seconds until then `on_tick` is called; if it raises, the call is given up and that is
    raised. Raises an AIServiceError for whatever a provider, the network or a wrong setting can cause.
    """
    return open_call(_prepare(request), tick, on_tick)


async def aopen_stream(request: ModelRequest) -> AsyncStream:
    """Ask the model; answers when the provider has accepted. Cancelled meanwhile, it leaves nothing open.

    Raises an AIServiceError for whatever a provider, the network or a wrong setting can cause.
    """
    return await aopen_call(_prepare(request))


def open_call(
    call: Call, tick: float | None = None, on_tick: Callable[[], object] | None = None
) -> SyncStream:
    """Send a prepared call from a thread of its own, which goes on to read the answer."""
    client = sync_client(call.endpoint)
    reader = Reader(
        partial(sending.post, client, call.path, call.content, call.timeout, call.model), call.model
    )
    try:
        headers = reader.accepted(tick, on_tick)
        return SyncStream(reader, _answer(call, headers), _request_id(headers))
    except BaseException:
        reader.stop()
        reader.thread.join(LEAVE_SECONDS)
        raise


async def aopen_call(call: Call) -> AsyncStream:
    """Send a prepared call and open its answer."""
    client = async_client(call.endpoint)
    outcome = await sending.apost(client, call.path, call.content, call.timeout, call.model)
    if isinstance(outcome, AIServiceError):
        raise outcome
    response = outcome
    try:
        answer = _answer(call, response.headers)
    except AIServiceError:
        await response.aclose()
        raise
    request_id = _request_id(response.headers)
    return AsyncStream(source_of(response, request_id), answer, request_id)


def encode(body: Mapping[str, Any]) -> bytes:
    """The JSON of a body. InvalidRequestError for text that is no Unicode."""
    try:
        return pydantic_core.to_json(body)
    except ValueError:
        pass
    raise InvalidRequestError("The request holds text that is not valid Unicode.")


def request_options(seconds: float) -> openai.RequestOptions:
    """The SDK's options for one call that is answered whole; `seconds` of silence are allowed."""
    return {"timeout": timeouts(seconds)}


def _prepare(request: ModelRequest) -> Call:
    dialect = responses if request.endpoint.dialect == "responses" else chat
    return Call(
        endpoint=request.endpoint,
        path=dialect.PATH,
        content=encode(dialect.build_body(request)),
        timeout=request.timeout,
        model=request.model,
        parser=dialect.Parser,
    )


def _answer(call: Call, headers: httpx2.Headers) -> Answer:
    """What will come, by its announced type; a page of HTML is no answer."""
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    request_id = _request_id(headers)
    if kind in ("text/html", "application/xhtml+xml"):
        raise ProviderProtocolError(status=200, request_id=request_id)
    parser = call.parser(call.model, request_id)
    return Answer(parser, whole=kind == "application/json", request_id=request_id)


def _request_id(headers: httpx2.Headers) -> str:
    return headers.get("x-request-id") or ""
