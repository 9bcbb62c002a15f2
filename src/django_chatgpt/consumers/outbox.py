"""What a socket has still to send: never much, however slowly the other end reads."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

logger = logging.getLogger("django_chatgpt.consumers")

#: Frames that may wait.
MOST_WAITING = 64


@dataclass(frozen=True, slots=True)
class Close:
    """The last thing to be sent: the end of the socket."""

    code: int
    reason: str = ""


class Outbox:
    """Frames in their order, sent by a task of its own.

    `put` waits until there is room; `offer` leaves out what there is no room for. Once the other end has gone
    both do nothing.
    """

    def __init__(
        self, send: Callable[[str], Awaitable[None]], close: Callable[[Close], Awaitable[None]]
    ) -> None:
        self._send = send
        self._close = close
        self._waiting: asyncio.Queue[str | Close] = asyncio.Queue(MOST_WAITING)
        self._gone = False
        self._task = asyncio.get_running_loop().create_task(self._run())

    async def put(self, frame: str | Close) -> None:
        if not self._gone:
            await self._waiting.put(frame)

    def offer(self, frame: str) -> None:
        if self._gone:
            return
        try:
            self._waiting.put_nowait(frame)
        except asyncio.QueueFull:
            logger.info("A frame was left out: its reader is too slow.")

    async def stop(self) -> None:
        """Send nothing more."""
        self._gone = True
        self._task.cancel()
        await asyncio.wait({self._task})

    async def _run(self) -> None:
        while True:
            frame = await self._waiting.get()
            if self._gone:
                continue  # somebody may have waited for the room that this was in
            try:
                if isinstance(frame, Close):
                    self._gone = True
                    await self._close(frame)
                else:
                    await self._send(frame)
            except Exception as error:
                # Each server has its own way to say that the other end has gone; it tells the consumer, too.
                self._gone = True
                logger.debug("A socket can't be sent anything: %s", type(error).__qualname__)
