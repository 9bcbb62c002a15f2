"""An open answer for asynchronous code: the caller waits as long as it likes."""

from __future__ import annotations

from typing import Final

from django_chatgpt.core.request import Delta
from django_chatgpt.providers.answer import Answer
from django_chatgpt.providers.sources import Source

DRAIN_SECONDS: Final = 0.1


class AsyncStream:
    """An open answer, on the event loop that opened it."""

    def __init__(self, source: Source, answer: Answer, request_id: str) -> None:
        self.request_id = request_id
        self._source = source
        self._answer = answer
        self._closed = False

    async def read(self, timeout: float) -> Delta | None:  # noqa: ASYNC109 - silence is no error here
        """Everything that has arrived, waiting at most `timeout` seconds for something.

        An empty Delta is silence; None is the answer's proper end. Raises what goes wrong, after all that
        had arrived before. A read that is cancelled loses nothing: the next one takes it.
        """
        answer, source = self._answer, self._source
        if answer.over:
            return answer.take(b"")
        if not source.waiting:
            await source.wait(timeout)
            if not source.waiting:
                return Delta()
        return answer.take(source.take(), ended=source.ended, failure=source.failure)

    async def aclose(self) -> None:
        """Close the connection at once, unless the answer is complete: then it is kept for the next one."""
        if self._closed:
            return
        self._closed = True
        await self._source.aclose(DRAIN_SECONDS if self._answer.complete else 0.0)

    def __del__(self) -> None:
        if not self._closed and not self._source.loop.is_closed():
            self._source.loop.call_soon_threadsafe(self._source.stop)
