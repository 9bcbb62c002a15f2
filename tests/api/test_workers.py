"""What a worker answers is seen at the doors as what the web process answers itself."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from pytest_django import Settings

from django_chatgpt.exceptions import WorkerUnavailableError
from django_chatgpt.functions import function_registry
from django_chatgpt.models import AITurn
from django_chatgpt.services import runners
from django_chatgpt.tasks import process_ai_message_async
from django_chatgpt.testing import Answer as Said
from django_chatgpt.testing import Call, FakeOpenAI
from tests.api.conftest import Answer, Door

pytestmark = pytest.mark.django_db


def pay(amount: int) -> str:
    """Pay somebody."""
    return f"paid {amount}"


@pytest.fixture(autouse=True)
def functions() -> Iterator[None]:
    function_registry.register(pay, requires_approval=True)
    yield
    function_registry.unregister("pay")


@pytest.fixture
def workers(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A worker that has done what it is told of before anybody looks; the ids that it was told."""
    told: list[str] = []

    def send(name: str, turn_id: str, task_id: str | None = None) -> None:
        told.append(turn_id)
        process_ai_message_async(turn_id)

    monkeypatch.setattr(runners, "queues", lambda: True)
    monkeypatch.setattr(runners, "send", send)
    # The transaction of a test is never committed.
    monkeypatch.setattr(runners, "_on_commit", lambda function: function())
    return told


def shown(answer: Answer) -> list[dict[str, Any]]:
    """The events without what differs from turn to turn, pieces of text together."""
    events: list[dict[str, Any]] = []
    for event in answer.events:
        kept = {
            name: value
            for name, value in event.items()
            if name not in ("seq", "turn_id", "conversation_id", "message_id", "call_id", "id")
        }
        if events and event["type"] == "content" == events[-1]["type"]:
            events[-1]["content"] += event["content"]
        else:
            events.append(kept)
    return events


def test_a_stream_is_the_same(
    door: Door, fake: FakeOpenAI, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    fake.script(Said(chunks=["Hel", "lo"]))
    at_once = door.ask(stream=True)
    told: list[str] = request.getfixturevalue("workers")
    fake.script(Said(chunks=["Hel", "lo"]))
    left = door.ask(stream=True)
    assert left.status == 200
    assert told == [left.turn_id]
    assert shown(left) == shown(at_once)
    assert left.text == "Hello"


def test_a_whole_reply(door: Door, fake: FakeOpenAI, workers: list[str]) -> None:
    fake.reply("Hello")
    answer = door.ask(key="k")
    assert (answer.status, answer.text) == (200, "Hello")
    assert door.ask(key="k").json == answer.json
    assert workers == [answer.turn_id]


def test_a_failure(door: Door, fake: FakeOpenAI, workers: list[str], settings: Settings) -> None:
    settings.OPENAI_API_KEY = None
    assert door.ask().status == 503
    assert workers == []


@pytest.mark.parametrize("stream", [False, True])
def test_an_approved_call(door: Door, fake: FakeOpenAI, workers: list[str], stream: bool) -> None:
    fake.script(Said("One moment.", calls=[Call("pay", {"amount": 5})]), Said("It is done."))
    first = door.ask("Pay five", stream=True)
    assert first.events[-2]["reason"] == "awaiting_approval"
    body = {"approve": True, "stream": stream}
    decided = door.send("POST", f"/ai/turns/{first.turn_id}/approve/", body)
    assert decided.status == 200
    assert workers == [first.turn_id] * 2
    if stream:
        assert [event["type"] for event in shown(decided)] == [
            "start",
            "function_result",
            "content",
            "finish",
            "done",
        ]
        assert decided.events[0]["seq"] == first.events[-1]["seq"] + 1
        assert decided.text == "It is done."
    else:
        assert decided.json["status"] == "completed"


def test_no_broker(door: Door, fake: FakeOpenAI, workers: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def send(*args: Any, **options: Any) -> None:
        raise WorkerUnavailableError()

    monkeypatch.setattr(runners, "send", send)
    answer = door.ask(stream=True)
    assert (answer.status, answer.error["code"]) == (503, "worker_unavailable")
    turn = AITurn.objects.get()
    assert (turn.status, turn.active_conversation) == ("failed", None)
    fake.assert_nothing_asked()
