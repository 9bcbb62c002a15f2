"""The log of a turn: its numbered events, as they are kept for whoever comes later or from elsewhere.

A running turn writes what has happened a few times a second, all of it in one piece. Pieces of text stay the
pieces that they were shown in, so that the stream can be taken up again after any event of it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, TypeVar

from pydantic import TypeAdapter

from django_chatgpt.core.events import (
    CallArguments,
    CallRequested,
    CallReturned,
    CallStarted,
    Content,
    Discarded,
    Done,
    Failed,
    Finished,
    Started,
    TurnEvent,
)
from django_chatgpt.core.messages import storable

_Event = TypeVar("_Event", bound=TurnEvent)

EVENTS: dict[str, type[TurnEvent]] = {
    each.type: each
    for each in (
        Started,
        Content,
        CallStarted,
        CallArguments,
        CallRequested,
        CallReturned,
        Discarded,
        Finished,
        Failed,
        Done,
    )
}


@dataclass(frozen=True, slots=True)
class Piece:
    """Consecutive events that are kept together: one at least."""

    events: tuple[TurnEvent, ...]

    @property
    def first(self) -> int:
        return self.events[0].seq

    @property
    def last(self) -> int:
        return self.events[-1].seq

    @property
    def data(self) -> str:
        """As JSON text. Made anew each time."""
        return encode(self.events)


class EventLog:
    """Numbers the events of a turn, and holds those that are not kept yet.

    `last` is the number of the latest event. What is held goes only once it is kept: until then it is part
    of every piece that is written, which so begins with the same number.
    """

    def __init__(self, last: int = 0) -> None:
        self.last = last
        self._held: list[TurnEvent] = []

    def add(self, event: _Event) -> _Event:
        self.last += 1
        event.seq = self.last
        self._held.append(event)
        return event

    def ahead(self, events: Sequence[_Event]) -> Sequence[_Event]:
        """Number events that are to follow, once they are kept."""
        for seq, event in enumerate(events, self.last + 1):
            event.seq = seq
        return events

    def passed(self, events: Sequence[TurnEvent]) -> None:
        """Events that were numbered ahead are kept, and shown now."""
        self.last += len(events)

    def piece(self, ahead: Sequence[TurnEvent] = ()) -> Piece | None:
        """What is held, and after it what is numbered ahead; None if that is nothing."""
        events = (*self._held, *ahead)
        return Piece(events) if events else None

    def kept(self, piece: Piece) -> None:
        """Hold no longer what is in `piece`."""
        self._held = [event for event in self._held if event.seq > piece.last]


def encode(events: Iterable[TurnEvent]) -> str:
    """Events with consecutive numbers as JSON text: a list of [type, …].

    Text that follows text is one entry with a list of its pieces, and so are the arguments of one call.
    """
    entries: list[list[Any]] = []
    joined: tuple[str, str] | None = None
    for event in events:
        match event:
            case Content(content=text):
                run, start = ("content", ""), ["content", []]
            case CallArguments(call_id=call_id, arguments=text):
                run, start = (event.type, call_id), [event.type, call_id, []]
            case _:
                joined = None
                entries.append([event.type, _fields(event)])
                continue
        if run != joined:
            joined = run
            entries.append(start)
        entries[-1][-1].append(text)
    return storable(json.dumps(entries, ensure_ascii=False, separators=(",", ":")))


def decode(data: str, first: int) -> list[TurnEvent]:
    """The events of a piece that begins with the number `first`; their turn is for the caller to fill in."""
    events: list[TurnEvent] = []
    for kind, *rest in json.loads(data):
        match kind, rest:
            case "content", [texts]:
                events += [Content(content=text) for text in texts]
            case "function_arguments", [call_id, texts]:
                events += [CallArguments(call_id=call_id, arguments=text) for text in texts]
            case _, [fields]:
                events.append(_adapter(kind).validate_python(fields))
    for seq, event in enumerate(events, first):
        event.seq = seq
    return events


def _fields(event: TurnEvent) -> Any:
    """What an event carries beside its turn and its number, as far as it says anything."""
    return _adapter(event.type).dump_python(
        event, mode="json", exclude={"turn_id", "seq"}, exclude_defaults=True
    )


@cache
def _adapter(kind: str) -> TypeAdapter[Any]:
    return TypeAdapter(EVENTS[kind])
