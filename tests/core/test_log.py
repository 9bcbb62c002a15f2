"""The log of a turn: what is read is what was shown, from any event on."""

from __future__ import annotations

import json
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from django_chatgpt.core import events as all_events
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
from django_chatgpt.core.log import EVENTS, EventLog, Piece, decode, encode
from django_chatgpt.core.messages import FunctionCall, FunctionResult, TokenUsage

texts = st.text(st.characters(codec="utf-8"), max_size=20)
names = st.sampled_from(["call_1", "call_2", "Straße"])
numbers = st.integers(0, 10**9)
calls = st.builds(FunctionCall, id=names, name=names, arguments=texts)
usages = st.builds(TokenUsage, prompt_tokens=numbers, completion_tokens=numbers, total_tokens=numbers)
results = st.builds(
    FunctionResult,
    call=calls,
    output=texts,
    status=st.sampled_from(["completed", "failed"]),
    error_code=texts,
    duration_ms=numbers,
)
costs = st.none() | st.decimals(0, 1000, places=12)
happened: st.SearchStrategy[TurnEvent] = st.one_of(
    st.builds(Content, content=texts),
    st.builds(Content, content=texts),
    st.builds(CallArguments, call_id=names, arguments=texts),
    st.builds(CallStarted, call_id=names, name=names),
    st.builds(CallRequested, call=calls, needs_approval=st.booleans()),
    st.builds(CallReturned, result=results),
    st.builds(Started, conversation_id=st.none() | st.uuids()),
    st.builds(
        Finished, reason=texts, usage=usages, cost=costs, message_id=st.none() | st.uuids(), model=texts
    ),
    st.builds(
        Failed, code=texts, message=texts, retryable=st.booleans(), retry_after=st.none() | st.floats(0, 9)
    ),
    st.just(None).map(lambda _: Discarded()),
    st.just(None).map(lambda _: Done()),
)


def numbered(events: Sequence[TurnEvent], first: int = 1) -> list[TurnEvent]:
    for seq, event in enumerate(events, first):
        event.seq = seq
    return list(events)


def test_every_event_there_is_can_be_kept() -> None:
    classes = [each for each in vars(all_events).values() if isinstance(each, type)]
    kinds = [each for each in classes if issubclass(each, TurnEvent) and each is not TurnEvent]
    assert {each.type: each for each in kinds} == EVENTS


@given(st.lists(happened, max_size=12), numbers)
def test_what_is_read_is_what_was_shown(events: list[TurnEvent], first: int) -> None:
    numbered(events, first)
    data = encode(events)
    assert decode(data, first) == events
    assert "\x00" not in data


def test_pieces_of_text_are_one_entry() -> None:
    said: list[TurnEvent] = [Content(content=text) for text in "abc"]
    arguments = [CallArguments(call_id=call, arguments="{") for call in ("x", "x", "y")]
    assert json.loads(encode([*said, *arguments, Content(content="d")])) == [
        ["content", ["a", "b", "c"]],
        ["function_arguments", "x", ["{", "{"]],
        ["function_arguments", "y", ["{"]],
        ["content", ["d"]],
    ]


def test_half_a_character_becomes_one_that_any_database_takes() -> None:
    [event] = decode(encode([Content(content="a\ud83d")]), 1)
    assert event == Content(content="a\ufffd", seq=1)


def test_amounts_are_exact() -> None:
    [event] = decode(encode([Finished(reason="stop", cost=Decimal("0.000000100001"))]), 1)
    assert isinstance(event, Finished)
    assert event.cost == Decimal("0.000000100001")


@given(st.lists(st.sampled_from(["add", "keep", "fail", "show"]), max_size=30))
def test_whatever_fails_nothing_is_lost_and_no_number_given_twice(steps: list[str]) -> None:
    """A log that is written now and then, sometimes in vain."""
    log, shown, kept = EventLog(), [], dict[int, Any]()

    def write(piece: Piece | None) -> None:
        if piece is not None:
            kept.update((event.seq, event) for event in decode(piece.data, piece.first))
            log.kept(piece)

    for step in steps:
        if step == "add":
            shown.append(log.add(Content(content=str(len(shown)))))
        elif step == "keep":
            write(log.piece())
        elif step == "fail":
            log.piece(log.ahead([Done()]))
        else:
            ahead = log.ahead([Discarded(), Discarded()])
            write(log.piece(ahead))
            log.passed(ahead)
            shown += ahead
    write(log.piece())
    assert [event.seq for event in shown] == list(range(1, len(shown) + 1))
    assert list(kept.values()) == shown
    assert log.piece() is None
