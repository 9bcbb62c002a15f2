"""Follow a turn by its log, wherever it runs: what was shown after any number, and then what comes.

follow, afollow   the events of a turn as they are written, to its end
wait, await_end   the turn, when it is over
last_word         how it ended
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncGenerator, Callable, Generator, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, Generic, TypeVar
from uuid import UUID

from django.db import InterfaceError, OperationalError

from django_chatgpt.core.events import Content, Done, Failed, Finished, Started, TurnEvent
from django_chatgpt.core.log import decode
from django_chatgpt.database import ahop, hop
from django_chatgpt.models import AITurn
from django_chatgpt.runtime import wakes
from django_chatgpt.services.results import Snapshot, find_turn, runs, snapshot, snapshot_of
from django_chatgpt.services.sweeper import sweep
from django_chatgpt.storage import events as storage
from django_chatgpt.storage import turns
from django_chatgpt.storage.primary import in_transaction

Found = TypeVar("Found")

#: Seconds after which whoever was not woken looks again: the turn may run in another process that can't wake
#: this one.
LOOK_SECONDS = 0.5
#: Seconds for which whoever listens waits for a database that is away, as while it is restarted.
AWAY_SECONDS = 30.0
#: Pieces of the log that are read in one trip.
PIECES = 50
#: What is not read twice a second: it may be long.
UNREAD = ("partial_text", "options")


def last_event(turn_id: UUID) -> int:
    """The number of the last event of a turn that is kept, 0 if none is."""
    return storage.last_number(turn_id)


class Watch:
    """One listener of a turn: `after` is the number of the last event that it has seen.

    `over`: nothing can follow. `behind`: there is more to be read at once.
    """

    def __init__(self, turn_id: UUID, user_id: Any, after: int = 0) -> None:
        self.turn_id = turn_id
        self.user_id = user_id
        self.after = after
        self.over = False
        self.behind = False
        self._first: list[TurnEvent] | None = None
        self._patient = _Patient(self.look)

    def begin(self) -> bool:
        """Look for the first time. False: nothing is new, and nothing will be. Raises NotFoundError."""
        self._first = self.look()
        return bool(self._first) or not self.over

    def next(self) -> list[TurnEvent]:
        """What the first look has found, and then what is new at each; nothing while the database is away."""
        first, self._first = self._first, None
        if first is not None:
            return first
        events = self._patient()
        if events is None:
            self.over = self.behind = False
        return events or []

    def look(self) -> list[TurnEvent]:
        """What is new, or a part of it where that is much, in one trip. Raises NotFoundError."""
        # An ending is written together with its events: read after the turn, none of them can be missing.
        turn = find_turn(self.turn_id, self.user_id, UNREAD)
        if turns.is_expired(turn):
            sweep(turn)
            turn = find_turn(self.turn_id, self.user_id, UNREAD)
        pieces = storage.after(turn.pk, self.after, PIECES)
        new = [event for first, data in pieces for event in decode(data, first)]
        events: list[TurnEvent] = [] if self.after else [Started(seq=1, conversation_id=turn.conversation_id)]
        self.behind = len(pieces) == PIECES
        self.over = not runs(turn) and not self.behind
        if self.over and not new and not storage.last_number(turn.pk):
            events += _in_short(turn, self.after + len(events))
        for event in _without_rests(new, over=self.over):
            if event.seq > max(self.after, events[-1].seq if events else 0):
                events.append(event)
        for event in events:
            event.turn_id = turn.pk
        if events:
            self.after = events[-1].seq
        return events


class _Patient(Generic[Found]):
    """Looks into a database that may be away for a while: then None is found."""

    def __init__(self, look: Callable[[], Found]) -> None:
        self._look = look
        self._away_since: float | None = None

    def __call__(self) -> Found | None:
        try:
            found = self._look()
        except (OperationalError, InterfaceError):
            now = time.monotonic()
            if self._away_since is None:
                self._away_since = now
            if in_transaction() or now - self._away_since >= AWAY_SECONDS:
                raise
            return None
        self._away_since = None
        return found


def _without_rests(events: Sequence[TurnEvent], *, over: bool) -> list[TurnEvent]:
    """All but the `Done`s after which the turn has gone on, or may yet for all that is known."""
    return [
        event
        for number, event in enumerate(events, 1)
        if not isinstance(event, Done) or (over and number == len(events))
    ]


def _in_short(turn: AITurn, last: int) -> list[TurnEvent]:
    """The end of a turn that has no log, never had or no more; before it all that it said, to whom is new."""
    seen = snapshot_of(turn)
    events: list[TurnEvent] = []
    if seen.text and last <= 1:
        events.append(Content(content=seen.text))
    if seen.error is not None:
        events.append(Failed(code=seen.error.code, message=seen.error.public_message))
    elif seen.response is not None:
        result = seen.response
        events.append(
            Finished(
                reason=result.finish_reason,
                usage=result.usage,
                cost=result.cost,
                message_id=result.message_id,
                model=result.model,
            )
        )
    events.append(Done())
    for seq, event in enumerate(events, last + 1):
        event.seq = seq
    return events


def follow(
    watch: Watch, *, release: bool = False, heartbeat: float | None = None
) -> Generator[TurnEvent | None]:
    """Yield the events of a turn until it is over, or rests. Raises NotFoundError.

    With `heartbeat`, a None after so many seconds without any. `release` gives the thread's database
    connections back meanwhile.
    """
    rung = threading.Event()
    shown_at = time.monotonic()
    with wakes.waiting(watch.turn_id, rung.set):
        while True:
            events = hop(watch.next) if release else watch.next()
            yield from events
            now = time.monotonic()
            if events:
                shown_at = now
            elif heartbeat is not None and now - shown_at >= heartbeat:
                shown_at = now
                yield None
            if watch.over:
                return
            if not watch.behind:
                rung.wait(_patience(heartbeat))
                rung.clear()


async def afollow(watch: Watch, *, heartbeat: float | None = None) -> AsyncGenerator[list[TurnEvent]]:
    """Like `follow`, in a coroutine: what is new in one list, an empty one after silence."""
    bell = _Bell()
    shown_at = time.monotonic()
    with wakes.waiting(watch.turn_id, bell.ring):
        while True:
            events = await ahop(watch.next)
            now = time.monotonic()
            if events or (heartbeat is not None and now - shown_at >= heartbeat):
                shown_at = now
                yield events
            if watch.over:
                return
            if not watch.behind:
                await bell.wait(_patience(heartbeat))


def last_word(turn_id: UUID, user_id: Any) -> Finished | Failed | None:
    """How a turn ended, or came to rest; None while it runs. Raises NotFoundError. It reads the whole log."""
    watch, found = Watch(turn_id, user_id), None
    while True:
        for event in watch.look():
            if isinstance(event, Finished | Failed):
                found = event
        if not watch.behind:
            return found if watch.over else None


def wait(turn_id: UUID, user_id: Any, *, release: bool = False) -> Snapshot:
    """Wait until a turn is over, or rests. Raises NotFoundError."""
    look = _Patient(partial(snapshot, turn_id, user_id))
    rung = threading.Event()
    with wakes.waiting(turn_id, rung.set):
        while (seen := hop(look) if release else look()) is None or not seen.over:
            rung.wait(_patience())
            rung.clear()
    return seen


async def await_end(turn_id: UUID, user_id: Any) -> Snapshot:
    """Like `wait`, in a coroutine."""
    look = _Patient(partial(snapshot, turn_id, user_id))
    bell = _Bell()
    with wakes.waiting(turn_id, bell.ring):
        while (seen := await ahop(look)) is None or not seen.over:
            await bell.wait(_patience())
    return seen


def _patience(heartbeat: float | None = None) -> float:
    seconds = wakes.patience(LOOK_SECONDS)
    return seconds if heartbeat is None else max(LOOK_SECONDS, min(seconds, heartbeat))


class _Bell:
    """Rung in any thread, heard in a coroutine."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._rung = asyncio.Event()

    def ring(self) -> None:
        with suppress(RuntimeError):  # the loop has ended
            self._loop.call_soon_threadsafe(self._rung.set)

    async def wait(self, seconds: float) -> None:
        """Wait until it is rung, at most so long."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._rung.wait(), seconds)
        self._rung.clear()
