"""Watch a turn that runs elsewhere, by what it keeps: the same events, a little later."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Generator
from functools import partial
from typing import Any
from uuid import UUID

from django_chatgpt.core.events import Content, Done, Failed, Finished, Started, TurnEvent
from django_chatgpt.database import ahop, hop
from django_chatgpt.services.results import Snapshot, snapshot

POLL_SECONDS = 0.5


class _Watch:
    """Turns what is stored of a turn into what is new since the last look."""

    def __init__(self) -> None:
        self._seq = 0
        self._shown = ""

    def events(self, seen: Snapshot) -> list[TurnEvent]:
        turn = seen.turn
        events: list[TurnEvent] = []
        if not self._seq:
            events.append(Started(conversation_id=turn.conversation_id))
        # Other text than was shown: the model called functions meanwhile and has begun a new answer.
        new = seen.text[len(self._shown) :] if seen.text.startswith(self._shown) else seen.text
        if new:
            events.append(Content(content=new))
            self._shown = seen.text
        if seen.over:
            if seen.error is not None:
                events.append(Failed(code=seen.error.code, message=seen.error.message))
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
        for event in events:
            self._seq += 1
            event.turn_id, event.seq = turn.pk, self._seq
        return events


def follow(turn_id: UUID, user_id: Any, *, release: bool = False) -> Generator[TurnEvent | None]:
    """Yield the events of a turn until it is over, and None where there was nothing new."""
    watch = _Watch()
    look = partial(snapshot, turn_id, user_id)
    while True:
        seen = hop(look) if release else look()
        events = watch.events(seen)
        yield from events
        if not events:
            yield None
        if seen.over:
            return
        time.sleep(POLL_SECONDS)


async def afollow(turn_id: UUID, user_id: Any) -> AsyncGenerator[list[TurnEvent]]:
    """Yield the events of a turn until it is over, and an empty list where there was nothing new."""
    watch = _Watch()
    while True:
        seen = await ahop(partial(snapshot, turn_id, user_id))
        yield watch.events(seen)
        if seen.over:
            return
        await asyncio.sleep(POLL_SECONDS)


def wait(turn_id: UUID, user_id: Any, *, release: bool = False) -> Snapshot:
    """Wait until a turn is over."""
    look = partial(snapshot, turn_id, user_id)
    while not (seen := hop(look) if release else look()).over:
        time.sleep(POLL_SECONDS)
    return seen


async def await_end(turn_id: UUID, user_id: Any) -> Snapshot:
    """Wait until a turn is over, in a coroutine."""
    while True:
        seen = await ahop(partial(snapshot, turn_id, user_id))
        if seen.over:
            return seen
        await asyncio.sleep(POLL_SECONDS)
