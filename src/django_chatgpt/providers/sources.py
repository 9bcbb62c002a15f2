"""Where the bytes of an open answer come from, in asynchronous code."""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections import deque
from typing import TYPE_CHECKING, Final, Protocol, cast

import httpx2

from django_chatgpt.alarm import Alarm
from django_chatgpt.exceptions import AIServiceError
from django_chatgpt.providers.errors import cut_short, translate

if TYPE_CHECKING:
    import aiohttp

BUFFER_BYTES: Final = 256 * 1024


class Source(Protocol):
    """The bytes of one answer, as they come; whoever waits for them may give up without harm."""

    loop: asyncio.AbstractEventLoop
    ended: bool
    failure: AIServiceError | None

    @property
    def waiting(self) -> bool:
        """Whether there is something to take, or the end."""

    def take(self) -> bytes:
        """Everything that has arrived."""

    async def wait(self, seconds: float) -> None:
        """Wait for something to take, or for so many seconds."""

    async def aclose(self, drain: float) -> None:
        """Close the connection, after `drain` seconds in which the answer may come to its end by itself."""

    def stop(self) -> None:
        """Close the connection without waiting for it."""


def source_of(response: httpx2.Response, request_id: str) -> Source:
    """The quickest way to read an open response."""
    if "content-encoding" not in response.headers:
        # What is open on aiohttp can be read without the layers between; else those layers do it.
        stream = getattr(response.stream, "_stream", None)
        beneath = getattr(stream, "_aiohttp_response", None)
        if beneath is not None:
            return Direct(response, beneath, request_id)
    return Pump(response, request_id)


class Direct:
    """Reads from aiohttp in the task of whoever waits: its reads can be given up, nothing is lost.

    It measures silence itself. aiohttp would take a timer down and set up another twice for each read.
    """

    def __init__(self, response: httpx2.Response, beneath: aiohttp.ClientResponse, request_id: str) -> None:
        self.loop = asyncio.get_running_loop()
        self.ended = False
        self.failure: AIServiceError | None = None
        self._response = response
        self._beneath = beneath
        self._request_id = request_id
        self._data = b""
        self._task: asyncio.Task[object] | None = None
        self._silent = False
        self._alarm = Alarm(self.loop, self._give_up)
        self._patience = _patience(response)
        self._silence = 0.0
        connection = beneath.connection
        if connection is not None and connection.protocol is not None:
            connection.protocol.read_timeout = None

    @property
    def waiting(self) -> bool:
        return bool(self._data) or self.ended

    def take(self) -> bytes:
        data, self._data = self._data, b""
        return data

    async def wait(self, seconds: float) -> None:
        task = self._task = asyncio.current_task()
        assert task is not None
        cancels = task.cancelling()
        self._alarm.set(seconds)
        try:
            self._data = await self._beneath.content.readany()
            self.ended = not self._data
            self._silence = 0.0
        except asyncio.CancelledError:
            # The alarm cancels the read; somebody else may at the same moment have cancelled the task.
            if not self._silent or task.uncancel() > cancels:
                raise
            self._silence += seconds
            if self._silence >= self._patience:
                self.failure = self._translated(TimeoutError())
                self.ended = True
        except Exception as error:
            self._data = self._left_behind()
            self.failure = self._translated(error)
            self.ended = True
        finally:
            self._task, self._silent = None, False
            self._alarm.switch_off()

    async def aclose(self, drain: float) -> None:
        try:
            if drain and not self.ended:
                with contextlib.suppress(Exception):
                    await asyncio.wait_for(self._beneath.content.wait_eof(), drain)
        finally:
            self._alarm.cancel()
            with contextlib.suppress(Exception):
                await self._response.aclose()

    def stop(self) -> None:
        self.ended = True
        self._alarm.cancel()
        self._beneath.close()

    def _give_up(self) -> None:
        if self._task is not None:
            self._silent = True
            self._task.cancel()

    def _left_behind(self) -> bytes:
        """What had arrived when a connection broke: aiohttp keeps it, and gives the error in its place."""
        with contextlib.suppress(Exception):
            return self._beneath.content._read_nowait(-1)
        return b""

    def _translated(self, error: Exception) -> AIServiceError:
        """Time ran out, or the connection was lost or broken off."""
        if isinstance(error, TimeoutError):
            return translate(error, request_id=self._request_id, reading=True)
        return cut_short(self._request_id)


def _patience(response: httpx2.Response) -> float:
    """Seconds of silence that the request allows."""
    seconds: float | None = response.request.extensions.get("timeout", {}).get("read")
    return math.inf if seconds is None else seconds


class Pump:
    """Reads through the HTTP library, in a task of its own into a bounded buffer.

    A read of that library which is cancelled takes the connection down with it.
    """

    def __init__(self, response: httpx2.Response, request_id: str) -> None:
        self.loop = asyncio.get_running_loop()
        self.ended = False
        self.failure: AIServiceError | None = None
        self._response = response
        self._request_id = request_id
        self._parts: deque[bytes] = deque()
        self._size = 0
        self._waiter: asyncio.Future[None] | None = None
        self._room: asyncio.Future[None] | None = None
        self._alarm = Alarm(self.loop, self._wake)
        self.task = self.loop.create_task(self._run(), name="django-chatgpt-stream")

    @property
    def waiting(self) -> bool:
        return bool(self._parts) or self.ended

    def take(self) -> bytes:
        parts = self._parts
        data = parts[0] if len(parts) == 1 else b"".join(parts)
        parts.clear()
        self._size = 0
        if self._room is not None and not self._room.done():
            self._room.set_result(None)
        return data

    async def wait(self, seconds: float) -> None:
        self._alarm.set(seconds)
        self._waiter = self.loop.create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None
            self._alarm.switch_off()

    async def aclose(self, drain: float) -> None:
        try:
            if drain and not self.task.done():
                await asyncio.wait({self.task}, timeout=drain)
        finally:
            self.stop()
        if not self.task.done():
            await asyncio.wait({self.task})
        # A task that was cancelled before its first step has closed nothing.
        with contextlib.suppress(Exception):
            await self._response.aclose()

    def stop(self) -> None:
        self.ended = True
        self.task.cancel()
        self._alarm.cancel()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def _run(self) -> None:
        response = self._response
        try:
            encoded = "content-encoding" in response.headers
            stream = response.aiter_bytes() if encoded else cast(httpx2.AsyncByteStream, response.stream)
            async for data in stream:
                self._parts.append(data)
                self._size += len(data)
                self._wake()
                if self._size > BUFFER_BYTES:
                    self._room = self.loop.create_future()
                    await self._room
                    self._room = None
        except Exception as error:
            self.failure = translate(error, request_id=self._request_id, reading=True)
        finally:
            self.ended = True
            self._wake()
            with contextlib.suppress(Exception):
                await response.aclose()
