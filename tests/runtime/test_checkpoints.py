"""Checkpoints that the turns of one event loop write together."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from django_chatgpt.core.events import Content
from django_chatgpt.core.ids import uuid7
from django_chatgpt.core.log import EventLog, Piece
from django_chatgpt.runtime import wakes
from django_chatgpt.runtime.checkpoints import (
    GATHER_LEAST,
    GATHER_MOST,
    MOST_AT_ONCE,
    Checkpointed,
    Checkpoints,
)
from django_chatgpt.storage import turns as storage

LEASE = timedelta(seconds=30)


class Written:
    """Stands in for the database; remembers each trip."""

    def __init__(self) -> None:
        self.trips: list[dict[UUID, str]] = []
        self.logged: list[tuple[UUID, int, int]] = []
        self.stops: dict[UUID, Any] = {}
        self.fails = 0

    def __call__(
        self, texts: dict[UUID, tuple[str, timedelta]], pieces: dict[UUID, Piece]
    ) -> dict[UUID, Any]:
        if self.fails:
            self.fails -= 1
            raise RuntimeError("the database is away")
        self.trips.append({turn_id: text for turn_id, (text, _) in texts.items()})
        self.logged += [(turn_id, piece.first, piece.last) for turn_id, piece in pieces.items()]
        return self.stops


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> Written:
    made = Written()
    monkeypatch.setattr(storage, "checkpoint_all", made)
    return made


def nobody(why: str) -> None:
    raise AssertionError(why)


def turn(turn_id: UUID, log: EventLog | None = None, tell: Any = nobody) -> Checkpointed:
    return Checkpointed(turn_id, LEASE, log or EventLog(), tell)


async def settled(checkpoints: Checkpoints) -> None:
    """Return when everything that was left is written, or has failed to be."""
    while checkpoints._writing is not None:
        await asyncio.wait({checkpoints._writing})


async def test_many_turns_are_one_trip_and_the_latest_text_counts(written: Written) -> None:
    checkpoints = Checkpoints()
    first, second = uuid7(), uuid7()
    checkpoints.leave(turn(first), "a")
    checkpoints.leave(turn(second), "b")
    checkpoints.leave(turn(first), "aa")
    await settled(checkpoints)
    assert written.trips == [{first: "aa", second: "b"}]
    checkpoints.leave(turn(first), "aaa")
    await settled(checkpoints)
    assert written.trips[1:] == [{first: "aaa"}]


async def test_a_slow_database_is_asked_less_often(written: Written, monkeypatch: pytest.MonkeyPatch) -> None:
    """Writing takes a tenth of the time at most, so that streams are not held up by what is kept of them."""
    takes = [0.001, 0.05, 3.0, 0.001, 0.001]
    now = [0.0]
    waits: list[float] = []

    def writes(*trip: Any) -> dict[UUID, Any]:
        now[0] += takes.pop(0)
        return written(*trip)

    async def sleeps(seconds: float) -> None:
        waits.append(seconds)

    monkeypatch.setattr(storage, "checkpoint_all", writes)
    monkeypatch.setattr("django_chatgpt.runtime.checkpoints.monotonic", lambda: now[0])
    monkeypatch.setattr("django_chatgpt.runtime.checkpoints.sleep", sleeps)
    checkpoints = Checkpoints()
    while takes:
        checkpoints.leave(turn(uuid7()), "a")
        await settled(checkpoints)
    assert waits == pytest.approx([GATHER_LEAST, GATHER_LEAST, 0.45, GATHER_MOST, GATHER_LEAST])


async def test_very_many_turns_are_several_trips_within_the_longest_wait(
    written: Written, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While a trip is prepared no stream goes on, so none is long; and nobody's text waits for ever."""
    waits: list[float] = []

    async def sleeps(seconds: float) -> None:
        waits.append(seconds)

    monkeypatch.setattr("django_chatgpt.runtime.checkpoints.monotonic", lambda: 0.0)
    monkeypatch.setattr("django_chatgpt.runtime.checkpoints.sleep", sleeps)
    # In a trip that takes no time the least wait is the longest one's part, or less.
    monkeypatch.setattr("django_chatgpt.runtime.checkpoints.GATHER_LEAST", GATHER_MOST)
    checkpoints, turns = Checkpoints(), [uuid7() for _ in range(3 * MOST_AT_ONCE)]
    for turn_id in turns:
        checkpoints.leave(turn(turn_id), "a")
    checkpoints.leave(turn(turns[0]), "aa")
    await settled(checkpoints)
    assert [len(trip) for trip in written.trips] == [MOST_AT_ONCE] * 3
    # In the order in which they came first, with what they left last.
    assert [turn_id for trip in written.trips for turn_id in trip] == turns
    assert written.trips[0][turns[0]] == "aa"
    assert waits[1:] == pytest.approx([GATHER_MOST / 3, GATHER_MOST / 2])


async def test_whoever_has_to_stop_is_told(written: Written) -> None:
    told: list[str] = []
    turn_id = uuid7()
    written.stops = {turn_id: "cancelled"}
    checkpoints = Checkpoints()
    checkpoints.leave(turn(turn_id, tell=told.append), "a")
    await settled(checkpoints)
    assert told == ["cancelled"]


async def test_what_is_forgotten_is_not_written(written: Written) -> None:
    checkpoints = Checkpoints()
    kept, forgotten = uuid7(), uuid7()
    checkpoints.leave(turn(kept), "a")
    checkpoints.leave(turn(forgotten), "b")
    await checkpoints.forget(forgotten)
    await settled(checkpoints)
    assert written.trips == [{kept: "a"}]


async def test_what_is_being_written_is_waited_for(written: Written) -> None:
    checkpoints = Checkpoints()
    turn_id = uuid7()
    checkpoints.leave(turn(turn_id), "a")
    while turn_id not in checkpoints._under_way:  # noqa: ASYNC110 - no event says it
        await asyncio.sleep(0)
    await checkpoints.forget(turn_id)
    assert written.trips == [{turn_id: "a"}]


async def test_a_database_that_is_away_costs_one_checkpoint(
    written: Written, caplog: pytest.LogCaptureFixture
) -> None:
    written.fails = 1
    checkpoints = Checkpoints()
    turn_id = uuid7()
    checkpoints.leave(turn(turn_id), "a")
    await settled(checkpoints)
    checkpoints.leave(turn(turn_id), "ab")
    await settled(checkpoints)
    assert written.trips == [{turn_id: "ab"}]
    assert "away" not in caplog.text


async def test_what_was_left_during_a_trip_that_fails_is_written_by_the_next(
    written: Written, monkeypatch: pytest.MonkeyPatch
) -> None:
    written.fails = 1
    checkpoints, loop = Checkpoints(), asyncio.get_running_loop()
    first, second = uuid7(), uuid7()
    busy = asyncio.Event()

    def writes(*trip: Any) -> dict[UUID, Any]:
        asyncio.run_coroutine_threadsafe(meanwhile(), loop).result(10)
        return written(*trip)

    async def meanwhile() -> None:
        if not busy.is_set():
            busy.set()
            checkpoints.leave(turn(second), "b")

    monkeypatch.setattr(storage, "checkpoint_all", writes)
    checkpoints.leave(turn(first), "a")
    await settled(checkpoints)
    assert written.trips == [{second: "b"}]


async def test_what_happened_is_written_once_and_wakes_who_waits(written: Written) -> None:
    checkpoints, log, turn_id = Checkpoints(), EventLog(), uuid7()
    woken: list[int] = []
    log.add(Content(content="a"))
    log.add(Content(content="b"))
    with wakes.waiting(turn_id, lambda: woken.append(log.last)):
        checkpoints.leave(turn(turn_id, log), "ab")
        await settled(checkpoints)
        log.add(Content(content="c"))
        checkpoints.leave(turn(turn_id, log), "abc")
        await settled(checkpoints)
        checkpoints.leave(turn(turn_id, log), "abc")
        await settled(checkpoints)
    assert written.logged == [(turn_id, 1, 2), (turn_id, 3, 3)]
    assert woken == [2, 3]


async def test_what_was_not_written_is_held(written: Written) -> None:
    written.fails = 1
    checkpoints, log, turn_id = Checkpoints(), EventLog(), uuid7()
    log.add(Content(content="a"))
    checkpoints.leave(turn(turn_id, log), "a")
    await settled(checkpoints)
    log.add(Content(content="b"))
    checkpoints.leave(turn(turn_id, log), "ab")
    await settled(checkpoints)
    assert written.logged == [(turn_id, 1, 2)]
