"""Checkpoints of all the turns that run on an event loop, written together.

One trip to the database keeps a hundred streams, where one each would cost more than the streams themselves.
A turn leaves its text and its log here and reads on; if the database says that somebody wants it stopped, or
that it is over, it is told.
"""

from __future__ import annotations

import asyncio
import logging
from asyncio import sleep
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from itertools import islice
from time import monotonic
from typing import Literal
from uuid import UUID
from weakref import WeakKeyDictionary

from django_chatgpt.core.log import EventLog
from django_chatgpt.database import ahop
from django_chatgpt.runtime import wakes
from django_chatgpt.storage import turns as storage

#: Seconds that a text waits for others: so many times what the last trip took, so that writing takes no more
#: than a tenth of the time, however many streams there are and however slow the database is; within limits.
GATHER_FACTOR, GATHER_LEAST, GATHER_MOST = 9, 0.1, 1.0
#: Turns of one trip. Its thread holds Python's lock for most of it, and every stream waits that long.
MOST_AT_ONCE = 100

logger = logging.getLogger("django_chatgpt.turns")

Tell = Callable[[Literal["cancelled", "lost"]], None]


@dataclass(frozen=True, slots=True)
class Checkpointed:
    """A turn whose checkpoints are written together with those of others; `tell` is how it is stopped."""

    turn_id: UUID
    lease: timedelta
    log: EventLog
    tell: Tell


class Checkpoints:
    """What the turns of one event loop have left to be written."""

    def __init__(self) -> None:
        self._left: dict[UUID, tuple[Checkpointed, str]] = {}
        self._under_way: frozenset[UUID] = frozenset()
        self._writing: asyncio.Task[None] | None = None
        self._gather = GATHER_LEAST

    def leave(self, turn: Checkpointed, text: str) -> None:
        """Have the text of a turn written soon, the latest one, and what its log holds by then."""
        self._left[turn.turn_id] = (turn, text)
        if self._writing is None:
            self._begin()

    async def forget(self, turn_id: UUID) -> None:
        """Make sure that nothing older is written of a turn after this."""
        self._left.pop(turn_id, None)
        if turn_id in self._under_way and self._writing is not None:
            await asyncio.wait({self._writing})

    def _begin(self) -> None:
        self._writing = asyncio.get_running_loop().create_task(self._write())

    async def _write(self) -> None:
        try:
            await sleep(self._gather)
            await self._write_left()
        finally:
            self._writing = None
        # Also where the trip has failed: who is silent for long leaves nothing that would begin another.
        if self._left:
            self._begin()

    async def _write_left(self) -> None:
        left = {turn_id: self._left.pop(turn_id) for turn_id in list(islice(self._left, MOST_AT_ONCE))}
        if not left:
            return
        # All that is left gets its turn within the longest wait.
        most = GATHER_MOST * len(left) / (len(left) + len(self._left))
        texts = {turn_id: (text, turn.lease) for turn_id, (turn, text) in left.items()}
        held = {turn_id: turn.log.piece() for turn_id, (turn, _) in left.items()}
        pieces = {turn_id: piece for turn_id, piece in held.items() if piece is not None}
        self._under_way = frozenset(texts)
        began = monotonic()
        try:
            stops = await ahop(partial(storage.checkpoint_all, texts, pieces))
        except Exception as error:
            # A checkpoint is worth less than the answers; the next one comes soon.
            logger.warning("checkpoints were not written: %s", type(error).__qualname__)
            return
        finally:
            self._under_way = frozenset()
            self._gather = min(max(GATHER_LEAST, GATHER_FACTOR * (monotonic() - began)), most)
        for turn_id, piece in pieces.items():
            left[turn_id][0].log.kept(piece)
        wakes.wake(*pieces)
        for turn_id, why in stops.items():
            left[turn_id][0].tell(why)


_by_loop: WeakKeyDictionary[asyncio.AbstractEventLoop, Checkpoints] = WeakKeyDictionary()


def checkpoints() -> Checkpoints:
    """Those of the running event loop."""
    return _by_loop.setdefault(asyncio.get_running_loop(), Checkpoints())
