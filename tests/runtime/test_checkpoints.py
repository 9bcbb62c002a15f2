"""Checkpoints that the turns of one event loop write together."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from django_chatgpt.core.ids import uuid7
from django_chatgpt.runtime.checkpoints import GATHER_SECONDS, Checkpoints
from django_chatgpt.storage import turns as storage

LEASE = timedelta(seconds=30)


class Written:
    """Stands in for the database; remembers each trip."""

    def __init__(self) -> None:
        self.trips: list[dict[UUID, str]] = []
        self.stops: dict[UUID, Any] = {}
        self.fails = 0

    def __call__(self, texts: dict[UUID, tuple[str, timedelta]]) -> dict[UUID, Any]:
        if self.fails:
            self.fails -= 1
            raise RuntimeError("the database is away")
        self.trips.append({turn_id: text for turn_id, (text, _) in texts.items()})
        return self.stops


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> Written:
    made = Written()
    monkeypatch.setattr(storage, "checkpoint_all", made)
    return made


def nobody(why: str) -> None:
    raise AssertionError(why)


async def test_many_turns_are_one_trip_and_the_latest_text_counts(written: Written) -> None:
    checkpoints = Checkpoints()
    first, second = uuid7(), uuid7()
    checkpoints.leave(first, "a", LEASE, nobody)
    checkpoints.leave(second, "b", LEASE, nobody)
    checkpoints.leave(first, "aa", LEASE, nobody)
    await asyncio.sleep(3 * GATHER_SECONDS)
    assert written.trips == [{first: "aa", second: "b"}]
    checkpoints.leave(first, "aaa", LEASE, nobody)
    await asyncio.sleep(3 * GATHER_SECONDS)
    assert written.trips[1:] == [{first: "aaa"}]


async def test_whoever_has_to_stop_is_told(written: Written) -> None:
    told: list[str] = []
    turn_id = uuid7()
    written.stops = {turn_id: "cancelled"}
    checkpoints = Checkpoints()
    checkpoints.leave(turn_id, "a", LEASE, told.append)
    await asyncio.sleep(3 * GATHER_SECONDS)
    assert told == ["cancelled"]


async def test_what_is_forgotten_is_not_written(written: Written) -> None:
    checkpoints = Checkpoints()
    kept, forgotten = uuid7(), uuid7()
    checkpoints.leave(kept, "a", LEASE, nobody)
    checkpoints.leave(forgotten, "b", LEASE, nobody)
    await checkpoints.forget(forgotten)
    await asyncio.sleep(3 * GATHER_SECONDS)
    assert written.trips == [{kept: "a"}]


async def test_what_is_being_written_is_waited_for(written: Written) -> None:
    checkpoints = Checkpoints()
    turn_id = uuid7()
    checkpoints.leave(turn_id, "a", LEASE, nobody)
    await asyncio.sleep(GATHER_SECONDS * 1.2)
    await checkpoints.forget(turn_id)
    assert written.trips == [{turn_id: "a"}]


async def test_a_database_that_is_away_costs_one_checkpoint(
    written: Written, caplog: pytest.LogCaptureFixture
) -> None:
    written.fails = 1
    checkpoints = Checkpoints()
    turn_id = uuid7()
    checkpoints.leave(turn_id, "a", LEASE, nobody)
    await asyncio.sleep(3 * GATHER_SECONDS)
    checkpoints.leave(turn_id, "ab", LEASE, nobody)
    await asyncio.sleep(3 * GATHER_SECONDS)
    assert written.trips == [{turn_id: "ab"}]
    assert "away" not in caplog.text
