"""The turns that run in this process, and how each hears that somebody wants it to stop.

Who asks in the same process is heard at once. Who asks in another writes it into the turn's row; one query
for all turns of the process, twice a second as long as any runs, brings it here. Of turns that are driven by
threads, whichever comes by first when it is time makes it; on an event loop a timer does.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Literal
from uuid import UUID
from weakref import WeakKeyDictionary

from django_chatgpt.database import ahop
from django_chatgpt.runtime import servers
from django_chatgpt.storage import turns as storage

#: Seconds between two looks.
LOOK_SECONDS = 0.4

Why = Literal["cancelled", "interrupted"]
Tell = Callable[[Why], object]

logger = logging.getLogger("django_chatgpt.turns")

_running: dict[UUID, Tell] = {}
_not_ended: set[UUID] = set()
_lock = threading.Lock()
_looked_at = float("-inf")


@contextmanager
def heard(turn_id: UUID, tell: Tell) -> Iterator[None]:
    """Have `tell` called, in whichever thread, when somebody wants the turn to stop; at most once."""
    watch(turn_id, tell)
    try:
        yield
    finally:
        forget(turn_id)


def watch(turn_id: UUID, tell: Tell) -> None:
    """The same without an end; see `forget`."""
    _not_ended.add(turn_id)
    _running[turn_id] = tell


def forget(turn_id: UUID) -> None:
    """The turn has ended."""
    _running.pop(turn_id, None)
    _not_ended.discard(turn_id)


def stop(turn_id: UUID, why: Why = "cancelled") -> None:
    """Stop the turn if it runs in this process."""
    tell = _running.pop(turn_id, None)
    if tell is not None:
        tell(why)


def interrupt_all() -> None:
    """Interrupt the turns of this process: it is going away."""
    for turn_id in list(_running):
        stop(turn_id, "interrupted")


def any_runs() -> bool:
    """Whether a turn runs in this process, if only to its end."""
    return bool(_not_ended)


def due() -> bool:
    """Whether it is time to look; of several who ask, one is told so."""
    global _looked_at
    now = time.monotonic()
    with _lock:
        if now - _looked_at < LOOK_SECONDS:
            return False
        _looked_at = now
    return True


def look() -> None:
    """Stop those turns of this process that somebody elsewhere wants stopped. Uses the database."""
    if servers.overdue():
        interrupt_all()
        return
    try:
        wanted = storage.stops_wanted(list(_running))
    except Exception as error:
        logger.warning("could not look whether turns are to stop: %s", type(error).__qualname__)
        return
    for turn_id in wanted:
        stop(turn_id)


class Looks:
    """Looks for the turns of an event loop, as long as there are any."""

    def __init__(self) -> None:
        self._turns = 0
        self._timer: asyncio.TimerHandle | None = None
        self._looking: asyncio.Task[None] | None = None

    def begin(self) -> None:
        """One more turn runs."""
        self._turns += 1
        if self._timer is None and self._looking is None:
            self._wait()

    def end(self) -> None:
        """One has ended."""
        self._turns -= 1
        if not self._turns and self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _wait(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(LOOK_SECONDS, self._start)

    def _start(self) -> None:
        self._timer = None
        self._looking = asyncio.get_running_loop().create_task(self._look())

    async def _look(self) -> None:
        try:
            await ahop(look)
        finally:
            self._looking = None
            if self._turns:
                self._wait()


_by_loop: WeakKeyDictionary[asyncio.AbstractEventLoop, Looks] = WeakKeyDictionary()


def looks() -> Looks:
    """Those of the running event loop."""
    return _by_loop.setdefault(asyncio.get_running_loop(), Looks())
