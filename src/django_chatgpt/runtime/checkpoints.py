"""Checkpoints of all the turns that run on an event loop, written together.

One trip to the database keeps a hundred streams, where one each would cost more than the streams themselves.
A turn leaves its text here and reads on; if the database says that somebody wants it stopped, or that it is
over, it is told.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Literal
from uuid import UUID
from weakref import WeakKeyDictionary

from django_chatgpt.database import ahop
from django_chatgpt.storage import turns as storage

#: Seconds that a text may wait for others.
GATHER_SECONDS = 0.1

logger = logging.getLogger("django_chatgpt.turns")

Tell = Callable[[Literal["cancelled", "lost"]], None]


@dataclass(slots=True)
class _Left:
    text: str
    lease: timedelta
    tell: Tell


class Checkpoints:
    """What the turns of one event loop have left to be written."""

    def __init__(self) -> None:
        self._left: dict[UUID, _Left] = {}
        self._under_way: frozenset[UUID] = frozenset()
        self._writing: asyncio.Task[None] | None = None

    def leave(self, turn_id: UUID, text: str, lease: timedelta, tell: Tell) -> None:
        """Have the text of a turn written soon; the latest one counts. `tell` is called if it has to stop."""
        self._left[turn_id] = _Left(text, lease, tell)
        if self._writing is None:
            self._writing = asyncio.get_running_loop().create_task(self._write())

    async def forget(self, turn_id: UUID) -> None:
        """Make sure that nothing older is written of a turn after this."""
        self._left.pop(turn_id, None)
        if turn_id in self._under_way and self._writing is not None:
            await asyncio.wait({self._writing})

    async def _write(self) -> None:
        try:
            await asyncio.sleep(GATHER_SECONDS)
            left, self._left = self._left, {}
            texts = {turn_id: (each.text, each.lease) for turn_id, each in left.items()}
            self._under_way = frozenset(texts)
            stops = await ahop(partial(storage.checkpoint_all, texts)) if texts else {}
        except Exception as error:
            # A checkpoint is worth less than the answers; the next one comes soon.
            logger.warning("checkpoints were not written: %s", type(error).__qualname__)
            return
        finally:
            self._writing, self._under_way = None, frozenset()
        for turn_id, why in stops.items():
            left[turn_id].tell(why)
        if self._left:
            self._writing = asyncio.get_running_loop().create_task(self._write())


_by_loop: WeakKeyDictionary[asyncio.AbstractEventLoop, Checkpoints] = WeakKeyDictionary()


def checkpoints() -> Checkpoints:
    """Those of the running event loop."""
    return _by_loop.setdefault(asyncio.get_running_loop(), Checkpoints())
