"""A timer that is put off again and again: arming a new one for each piece of a stream costs more than it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class Alarm:
    """Rings on its event loop when the time that was set last is over, unless it was switched off before.

    One timer of the loop serves many settings: where it fires too early it looks again.
    """

    __slots__ = ("_deadline", "_handle", "_loop", "_ring")

    def __init__(self, loop: asyncio.AbstractEventLoop, ring: Callable[[], object]) -> None:
        self._loop = loop
        self._ring = ring
        self._deadline: float | None = None
        self._handle: asyncio.TimerHandle | None = None

    def set(self, seconds: float) -> None:
        """Ring once, after so many seconds."""
        self._deadline = deadline = self._loop.time() + seconds
        handle = self._handle
        if handle is None or handle.when() > deadline:
            self._arm(deadline)

    def switch_off(self) -> None:
        """Do not ring; the timer is kept for the next setting."""
        self._deadline = None

    def cancel(self) -> None:
        """Do not ring, and let go of the timer."""
        self._deadline = None
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def _arm(self, deadline: float) -> None:
        if self._handle is not None:
            self._handle.cancel()
        self._handle = self._loop.call_at(deadline, self._look)

    def _look(self) -> None:
        self._handle = None
        if self._deadline is None:
            return
        if self._loop.time() < self._deadline:
            self._arm(self._deadline)
        else:
            self._deadline = None
            self._ring()
