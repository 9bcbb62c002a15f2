"""A request on its way: the SDK's address, credentials and connections, without what its `post` does to each.

`post` validates options, builds every header anew and may try again; that takes as long as the sending, and
none of it is needed, for a turn has its own retries. Headers and address are put together once for a client.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass
from typing import Final
from weakref import WeakKeyDictionary

import httpx2
import jiter
import openai

from django_chatgpt.exceptions import AIServiceError
from django_chatgpt.providers.clients import timeouts
from django_chatgpt.providers.errors import from_response, translate

MAX_ERROR_BYTES: Final = 256 * 1024


@dataclass(frozen=True, slots=True)
class _Line:
    """What all requests of one client have in common."""

    base_url: str
    headers: list[tuple[str, str]]


_lines: WeakKeyDictionary[openai.OpenAI | openai.AsyncOpenAI, _Line] = WeakKeyDictionary()


def post(
    client: openai.OpenAI, path: str, content: bytes, seconds: float, model: str
) -> httpx2.Response | AIServiceError:
    """Send and answer the open response when the provider has accepted; else the error, not raised."""
    try:
        response = client._client.send(_request(client, path, content, seconds), stream=True)
        if response.is_success:
            return response
        with contextlib.closing(response):
            body = _collected(response.iter_bytes())
        return from_response(response.status_code, response.headers, _details(body), model=model)
    except Exception as error:
        return translate(error, model=model)


async def apost(
    client: openai.AsyncOpenAI, path: str, content: bytes, seconds: float, model: str
) -> httpx2.Response | AIServiceError:
    """Like `post`. Cancelled meanwhile, it leaves nothing open."""
    try:
        response = await client._client.send(_request(client, path, content, seconds), stream=True)
        if response.is_success:
            return response
        async with contextlib.aclosing(response):
            body = await _acollected(response.aiter_bytes())
        return from_response(response.status_code, response.headers, _details(body), model=model)
    except Exception as error:
        return translate(error, model=model)


def _request(
    client: openai.OpenAI | openai.AsyncOpenAI, path: str, content: bytes, seconds: float
) -> httpx2.Request:
    line = _lines.get(client)
    if line is None:
        given = {**client.default_headers, **client.auth_headers, "Accept-Encoding": "identity"}
        headers = [(name, value) for name, value in given.items() if isinstance(value, str)]
        line = _lines[client] = _Line(str(client.base_url).rstrip("/"), headers)
    return httpx2.Request(
        "POST",
        line.base_url + path,
        headers=line.headers,
        content=content,
        extensions={"timeout": timeouts(seconds).as_dict()},
    )


def _collected(parts: Iterator[bytes]) -> bytes:
    body = b""
    for part in parts:
        body += part
        if len(body) > MAX_ERROR_BYTES:
            break
    return body


async def _acollected(parts: AsyncIterator[bytes]) -> bytes:
    body = b""
    async for part in parts:
        body += part
        if len(body) > MAX_ERROR_BYTES:
            break
    return body


def _details(body: bytes) -> object:
    """What the body of an error says: what stands in its `error`, all of its JSON, or its text."""
    try:
        details = jiter.from_json(body)
    except ValueError:
        return body.decode(errors="replace")
    return details.get("error", details) if isinstance(details, Mapping) else details
