"""An open answer for asynchronous code: a task reads, the caller waits as long as it likes."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from typing import Final, cast

import httpx2

from django_chatgpt.core.request import Delta
from django_chatgpt.exceptions import AIServiceError
from django_chatgpt.providers.answer import Answer
from django_chatgpt.providers.errors import translate

BUFFER_BYTES: Final = 256 * 1024
DRAIN_SECONDS: Final = 0.1


class Pump:
    """The task that reads one answer into a bounded buffer.

    It is a task of its own so that whoever waits for the next piece may give up, or be cancelled, without
    tearing the connection down.
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
        self._timer: asyncio.TimerHandle | None = None
        self._deadline = 0.0
        self.task = self.loop.create_task(self._run(), name="django-chatgpt-stream")

    @property
    def waiting(self) -> bool:
        """Whether there is something to take, or the end."""
        return bool(self._parts) or self.ended

    def take(self) -> bytes:
        """Everything in the buffer."""
        parts = self._parts
        data = parts[0] if len(parts) == 1 else b"".join(parts)
        parts.clear()
        self._size = 0
        if self._room is not None:
            _wake(self._room)
        return data

    async def wait(self, seconds: float) -> None:
        """Wait for something to take, or for so many seconds."""
        loop = self.loop
        self._deadline = loop.time() + seconds
        timer = self._timer
        # A timer that fires too early looks again; arming one for each piece would cost more than the piece.
        if timer is None or timer.when() > self._deadline:
            if timer is not None:
                timer.cancel()
            self._timer = loop.call_at(self._deadline, self._tick)
        self._waiter = loop.create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    async def aclose(self, drain: float) -> None:
        """End the task, after `drain` seconds in which it may end by itself, and close the connection."""
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
        """Cancel the task, which closes the connection, and let go of the timer."""
        self.ended = True
        self.task.cancel()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _tick(self) -> None:
        self._timer = None
        waiter = self._waiter
        if waiter is None:
            return
        if self.loop.time() >= self._deadline:
            _wake(waiter)
        else:
            self._timer = self.loop.call_at(self._deadline, self._tick)

    async def _run(self) -> None:
        response = self._response
        try:
            encoded = "content-encoding" in response.headers
            stream = response.aiter_bytes() if encoded else cast(httpx2.AsyncByteStream, response.stream)
            async for data in stream:
                self._parts.append(data)
                self._size += len(data)
                if self._waiter is not None:
                    _wake(self._waiter)
                if self._size > BUFFER_BYTES:
                    self._room = self.loop.create_future()
                    await self._room
                    self._room = None
        except Exception as error:
            self.failure = translate(error, request_id=self._request_id, reading=True)
        finally:
            self.ended = True
            if self._waiter is not None:
                _wake(self._waiter)
            with contextlib.suppress(Exception):
                await response.aclose()


class AsyncStream:
    """An open answer, on the event loop that opened it."""

    def __init__(self, pump: Pump, answer: Answer, request_id: str) -> None:
        self.request_id = request_id
        self._pump = pump
        self._answer = answer
        self._closed = False

    async def read(self, timeout: float) -> Delta | None:  # noqa: ASYNC109 - silence is no error here
        """Everything that has arrived, waiting at most `timeout` seconds for something.

        An empty Delta is silence; None is the answer's proper end. Raises what goes wrong, after all that
        had arrived before. A read that is cancelled loses nothing: the next one takes it.
        """
        answer, pump = self._answer, self._pump
        if answer.over:
            return answer.take(b"")
        if not pump.waiting:
            await pump.wait(timeout)
            if not pump.waiting:
                return Delta()
        return answer.take(pump.take(), ended=pump.ended, failure=pump.failure)

    async def aclose(self) -> None:
        """Close the connection at once, unless the answer is complete: then it is kept for the next one."""
        if self._closed:
            return
        self._closed = True
        await self._pump.aclose(DRAIN_SECONDS if self._answer.complete else 0.0)

    def __del__(self) -> None:
        if not self._closed and not self._pump.loop.is_closed():
            self._pump.loop.call_soon_threadsafe(self._pump.stop)


def _wake(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
