"""turns/<id>/events/: the stream of a turn again, from any event on."""

from __future__ import annotations

from typing import Any

import pytest

from django_chatgpt.api import sse
from django_chatgpt.core import run as core
from django_chatgpt.models import AITurnEvent
from django_chatgpt.runtime import checkpoints
from django_chatgpt.services import follow
from django_chatgpt.testing import Failure, FakeOpenAI
from tests.api.conftest import ABSENT, Answer, Door
from tests.api.test_turns import dead_turn

pytestmark = pytest.mark.django_db


def events(door: Door, turn_id: Any, after: Any = None, **headers: Any) -> Answer:
    query = "" if after is None else f"?after={after}"
    return door.send("GET", f"/ai/turns/{turn_id}/events/{query}", headers=headers)


def test_from_any_event_on(door: Door, fake: FakeOpenAI, monkeypatch: pytest.MonkeyPatch) -> None:
    """However it is asked for, what follows is what the first stream said, to the byte."""
    monkeypatch.setattr(core, "CHECKPOINT_SECONDS", 0.0)
    monkeypatch.setattr(checkpoints, "GATHER_LEAST", 0.0)
    monkeypatch.setattr(checkpoints, "GATHER_MOST", 0.0)
    fake.reply(chunks=["Once ", "upon ", "a ", "Zeit\n\n"], delay=0.01)
    first = door.ask(stream=True)
    assert AITurnEvent.objects.exists()
    whole = events(door, first.turn_id)
    assert (whole.status, whole.events) == (200, first.events)
    assert whole.body.replace(sse.HEARTBEAT, b"") == first.body.replace(sse.HEARTBEAT, b"")
    for name in ("Content-Type", "Cache-Control", "X-Accel-Buffering", "Content-Encoding"):
        assert whole.headers[name] == first.headers[name]
    for number, event in enumerate(first.events[:-1], 1):
        assert events(door, first.turn_id, event["seq"]).events == first.events[number:]
        again = events(door, first.turn_id, 0, **{"Last-Event-ID": str(event["seq"])})
        assert again.events == first.events[number:], "the header is newer than the address"


def test_nothing_more_is_said_so(door: Door, fake: FakeOpenAI) -> None:
    """A browser's EventSource connects again and again, until it gets this."""
    first = door.ask(stream=True)
    for seen in (first.events[-1]["seq"], 10**17):
        answer = events(door, first.turn_id, seen)
        assert (answer.status, answer.body) == (204, b"")


def test_a_reply_that_was_not_streamed(door: Door, fake: FakeOpenAI) -> None:
    fake.reply("Hello there")
    first = door.ask()
    answer = events(door, first.turn_id)
    told = [event["type"] for event in answer.events if event["type"] != "content"]
    assert (told, answer.text) == (["start", "finish", "done"], "Hello there")
    assert answer.events[-2]["cost"] == first.json["cost"]


def test_a_failure(door: Door, fake: FakeOpenAI) -> None:
    fake.script(Failure(500))
    first = door.ask(stream=True)
    assert events(door, first.turn_id).events == first.events


def test_one_whose_process_died(door: Door, user: Any) -> None:
    answer = events(door, dead_turn(user).pk)
    assert [event["type"] for event in answer.events] == ["start", "content", "error", "done"]
    assert (answer.text, answer.error["code"]) == ("Once upon", "interrupted")


def test_silence_is_filled_until_the_end(door: Door, user: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The lease of this one runs out while somebody listens."""
    from datetime import timedelta

    from django.utils import timezone

    monkeypatch.setattr(sse, "HEARTBEAT_SECONDS", 0.05)
    monkeypatch.setattr(follow, "LOOK_SECONDS", 0.05)
    turn = dead_turn(user, lease_expires_at=timezone.now() + timedelta(seconds=0.4))
    answer = events(door, turn.pk, 2)
    assert answer.body.count(sse.HEARTBEAT) >= 2
    assert [event["type"] for event in answer.events] == ["error", "done"]


@pytest.mark.parametrize("number", ["-1", "1.5", "one", "", "٣", "9" * 19])
def test_a_number_that_is_none(door: Door, fake: FakeOpenAI, number: str) -> None:
    turn_id = door.ask().turn_id
    answer = events(door, turn_id, number)
    assert (answer.status, set(answer.error["fields"])) == (400, {"after"})
    if number.isascii():
        answer = events(door, turn_id, **{"Last-Event-ID": number})
        assert (answer.status, set(answer.error["fields"])) == (400, {"Last-Event-ID"})


def test_only_ones_own(door: Door, other_door: Door, anonymous_door: Door, fake: FakeOpenAI) -> None:
    turn_id = door.ask().turn_id
    assert events(other_door, turn_id).status == events(door, ABSENT).status == 404
    assert events(anonymous_door, turn_id, "nonsense").status == 401
