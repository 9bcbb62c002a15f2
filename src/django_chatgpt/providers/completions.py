"""Chat Completions as they are, for callers who want the SDK's own objects and no conversation."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Mapping
from typing import Any, Final

from openai.types.chat import ChatCompletion, ChatCompletionChunk

from django_chatgpt.core.request import Endpoint
from django_chatgpt.exceptions import AIServiceError, ProviderProtocolError, TurnTimeoutError
from django_chatgpt.providers import chat
from django_chatgpt.providers.async_stream import AsyncStream
from django_chatgpt.providers.clients import async_client, sync_client
from django_chatgpt.providers.errors import in_band, translate
from django_chatgpt.providers.streams import Call, aopen_call, encode, open_call, request_options
from django_chatgpt.providers.sync_stream import SyncStream

TICK_SECONDS: Final = 60.0


def create_completion(
    endpoint: Endpoint, body: Mapping[str, Any], *, timeout: float = 60.0
) -> ChatCompletion:
    """Ask for one whole answer; `body` is the request as Chat Completions takes it. Errors are ours."""
    client = sync_client(endpoint)
    content = encode(chat.adapt_body(body, endpoint))
    options = request_options(timeout)
    try:
        outcome = _checked(client.post(chat.PATH, content=content, cast_to=ChatCompletion, options=options))
    except Exception as error:
        outcome = translate(error, model=str(body.get("model", "")))
    if isinstance(outcome, AIServiceError):
        raise outcome
    return outcome


async def acreate_completion(
    endpoint: Endpoint,
    body: Mapping[str, Any],
    *,
    timeout: float = 60.0,  # noqa: ASYNC109 - of silence, not of the whole
) -> ChatCompletion:
    """Ask for one whole answer; `body` is the request as Chat Completions takes it. Errors are ours."""
    client = async_client(endpoint)
    content = encode(chat.adapt_body(body, endpoint))
    options = request_options(timeout)
    try:
        outcome = _checked(
            await client.post(chat.PATH, content=content, cast_to=ChatCompletion, options=options)
        )
    except Exception as error:
        outcome = translate(error, model=str(body.get("model", "")))
    if isinstance(outcome, AIServiceError):
        raise outcome
    return outcome


def stream_completion(
    endpoint: Endpoint, body: Mapping[str, Any], *, timeout: float = 60.0, limit: float | None = None
) -> CompletionChunks:
    """Ask for an answer in chunks; answers when the provider has accepted. Errors are ours.

    `timeout` is the seconds of silence that are allowed, `limit` those of all chunks together.
    """
    parsers: list[_ChunkParser] = []
    stream = open_call(_streamed(endpoint, body, timeout, parsers))
    return CompletionChunks(stream, parsers[0], limit)


async def astream_completion(
    endpoint: Endpoint,
    body: Mapping[str, Any],
    *,
    timeout: float = 60.0,  # noqa: ASYNC109 - of silence, not of the whole
    limit: float | None = None,
) -> AsyncCompletionChunks:
    """Like `stream_completion`, on the running event loop."""
    parsers: list[_ChunkParser] = []
    stream = await aopen_call(_streamed(endpoint, body, timeout, parsers))
    return AsyncCompletionChunks(stream, parsers[0], limit)


class CompletionChunks:
    """The chunks of one answer. Read to its end or closed, it leaves nothing open; after an error too."""

    def __init__(self, stream: SyncStream, parser: _ChunkParser, limit: float | None = None) -> None:
        self.request_id = stream.request_id
        self._stream = stream
        self._parser = parser
        self._until = _end_of(limit)

    def __iter__(self) -> CompletionChunks:
        return self

    def __next__(self) -> ChatCompletionChunk:
        chunks = self._parser.chunks
        while not chunks:
            try:
                delta = self._stream.read(_left(self._until))
            except BaseException:
                self.close()
                raise
            if delta is None:
                self.close()
                raise StopIteration
        return ChatCompletionChunk.construct(**chunks.popleft())

    def close(self) -> None:
        """Close the connection; what has been read and not fetched is dropped."""
        self._parser.chunks.clear()
        self._stream.close()


class AsyncCompletionChunks:
    """The chunks of one answer. Read to its end or closed, it leaves nothing open; after an error too."""

    def __init__(self, stream: AsyncStream, parser: _ChunkParser, limit: float | None = None) -> None:
        self.request_id = stream.request_id
        self._stream = stream
        self._parser = parser
        self._until = _end_of(limit)

    def __aiter__(self) -> AsyncCompletionChunks:
        return self

    async def __anext__(self) -> ChatCompletionChunk:
        chunks = self._parser.chunks
        while not chunks:
            try:
                delta = await self._stream.read(_left(self._until))
            except AIServiceError:
                await self.aclose()
                raise
            if delta is None:
                await self.aclose()
                raise StopAsyncIteration
        return ChatCompletionChunk.construct(**chunks.popleft())

    async def aclose(self) -> None:
        """Close the connection; what has been read and not fetched is dropped."""
        self._parser.chunks.clear()
        await self._stream.aclose()


def _end_of(limit: float | None) -> float:
    return math.inf if limit is None else time.monotonic() + limit


def _left(until: float) -> float:
    """How long to wait for more. Raises TurnTimeoutError where the time is over, whatever may have come."""
    left = until - time.monotonic()
    if left <= 0:
        raise TurnTimeoutError
    return min(left, TICK_SECONDS)


class _ChunkParser(chat.Parser):
    """Keeps every chunk as it came, and watches over the answer's end as for any other."""

    def __init__(self, model: str = "", request_id: str = "") -> None:
        super().__init__(model, request_id)
        self.chunks: deque[dict[str, Any]] = deque()

    def _loads(self, data: bytes) -> dict[str, Any]:
        chunk = super()._loads(data)
        if not chunk.get("error"):
            self.chunks.append(chunk)
        return chunk

    def _take_answer(self, answer: Mapping[str, Any]) -> None:
        """An answer in one piece becomes the one chunk that says all of it."""
        self.chunks.clear()
        super()._take_answer(answer)
        choices = []
        for choice in answer["choices"]:
            delta = dict(choice["message"])
            if delta.get("tool_calls"):
                delta["tool_calls"] = [
                    {"index": index, **call} for index, call in enumerate(delta["tool_calls"])
                ]
            choices.append({**choice, "delta": delta})
        self.chunks.append({**answer, "object": "chat.completion.chunk", "choices": choices})


def _streamed(
    endpoint: Endpoint, body: Mapping[str, Any], timeout: float, parsers: list[_ChunkParser]
) -> Call:
    """The call; its parser is put in `parsers` when there is one."""

    def parser(model: str, request_id: str) -> _ChunkParser:
        parsers.append(_ChunkParser(model, request_id))
        return parsers[-1]

    streamed = {"stream_options": {"include_usage": True}, **chat.adapt_body(body, endpoint), "stream": True}
    return Call(
        endpoint=endpoint,
        path=chat.PATH,
        content=encode(streamed),
        timeout=timeout,
        model=str(body.get("model", "")),
        parser=parser,
    )


def _checked(answer: object) -> ChatCompletion | AIServiceError:
    """The SDK makes an object of anything, and a string of what is not JSON."""
    request_id = getattr(answer, "_request_id", None) or ""
    error = getattr(answer, "error", None)
    if error:
        return in_band(error, request_id=request_id)
    if isinstance(answer, ChatCompletion) and isinstance(answer.choices, list) and answer.choices:
        return answer
    return ProviderProtocolError(request_id=request_id)
