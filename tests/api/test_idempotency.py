"""The header Idempotency-Key: the same question twice is one turn."""

from __future__ import annotations

from typing import Any

import pytest

from django_chatgpt.models import AIConversation, AIMessage, AITurn, AIUsage
from django_chatgpt.testing import Failure, FakeOpenAI
from tests.api.conftest import ABSENT, Answer, Door

pytestmark = pytest.mark.django_db


def assert_asked_once(fake: FakeOpenAI) -> None:
    assert len(fake.calls) == 1
    assert AIConversation.objects.count() == AITurn.objects.count() == AIUsage.objects.count() == 1


def told(answer: Answer) -> list[dict[str, Any]]:
    """What a stream says, with its text in one piece."""
    kept = [{**event, "seq": 0} for event in answer.events if event["type"] not in ("content", "start")]
    return [{"text": answer.text, "conversation_id": answer.conversation_id}, *kept]


@pytest.mark.parametrize("first_streams", [False, True])
@pytest.mark.parametrize("then_streams", [False, True])
def test_the_same_key_and_question(
    door: Door, fake: FakeOpenAI, first_streams: bool, then_streams: bool
) -> None:
    fake.reply(chunks=["Hello ", "there"])
    first = door.ask("Hi", key="k", stream=first_streams)
    again = door.ask("Hi", key="k", stream=then_streams)
    assert again.status == 200
    assert (again.turn_id, again.conversation_id) == (first.turn_id, first.conversation_id)
    assert again.text == first.text == "Hello there"
    if first_streams == then_streams:
        assert told(again) == told(first) if first_streams else again.json == first.json
    assert [event["seq"] for event in again.events] == list(range(1, len(again.events) + 1))
    assert_asked_once(fake)
    assert AIMessage.objects.count() == 2


def test_many_times(door: Door, fake: FakeOpenAI) -> None:
    answers = [door.ask("Hi", key="k").json for _ in range(4)]
    assert all(answer == answers[0] for answer in answers)
    assert_asked_once(fake)


@pytest.mark.parametrize(
    "change",
    [
        {"message": "Ho"},
        {"message": "Hi "},
        {"model": "gpt-5.4-mini"},
        {"temperature": 0.5},
        {"max_tokens": 5},
        {"use_functions": False},
    ],
    ids=str,
)
def test_the_same_key_and_another_question(door: Door, fake: FakeOpenAI, change: dict[str, Any]) -> None:
    first = door.ask("Hi", key="k")
    for stream in (False, True):
        again = door.send(
            "POST", "/ai/chat/", {"message": "Hi", "stream": stream} | change, {"Idempotency-Key": "k"}
        )
        assert again.status == 409
        assert again.error["code"] == "idempotency_mismatch"
        assert again.error["turn_id"] == first.turn_id
        assert "Idempotency-Key" in again.error["message"]
    assert_asked_once(fake)


def test_the_same_key_in_another_conversation(door: Door, fake: FakeOpenAI) -> None:
    first = door.ask("Hi", key="k")
    assert door.ask("Hi", key="k", conversation_id=first.conversation_id).status == 409
    assert len(fake.calls) == 1


def test_the_same_question_said_in_two_ways(door: Door, fake: FakeOpenAI) -> None:
    first = door.ask("Hi", key="k")
    said = {"messages": [{"role": "user", "content": "Hi"}], "temperature": None}
    assert door.send("POST", "/ai/chat/", said, {"Idempotency-Key": "k"}).turn_id == first.turn_id
    assert_asked_once(fake)


def test_keys_are_ones_own(door: Door, other_door: Door, fake: FakeOpenAI) -> None:
    mine, theirs = door.ask("Hi", key="k"), other_door.ask("Hi", key="k")
    assert (mine.status, theirs.status) == (200, 200)
    assert mine.turn_id != theirs.turn_id
    assert len(fake.calls) == 2
    assert other_door.ask("Ho", key="k").error["turn_id"] == theirs.turn_id


def test_keys_are_exact(door: Door, fake: FakeOpenAI) -> None:
    turns = {door.ask("Hi", key=key).turn_id for key in ("k", "K", "k.", "k" * 200)}
    assert len(turns) == 4


def test_without_a_key_every_question_is_a_new_one(door: Door, fake: FakeOpenAI) -> None:
    assert door.ask("Hi").turn_id != door.ask("Hi").turn_id


def test_in_one_conversation(door: Door, fake: FakeOpenAI) -> None:
    where = {"conversation_id": door.ask("First").conversation_id}
    second = door.ask("Second", key="k", **where)
    third = door.ask("Third", **where)
    assert door.ask("Second", key="k", **where).turn_id == second.turn_id != third.turn_id
    assert len(fake.calls) == 3


@pytest.mark.parametrize("stream", [False, True])
def test_a_failure_is_repeated_and_not_tried_again(door: Door, fake: FakeOpenAI, stream: bool) -> None:
    fake.script(Failure(500), "Hello")
    first = door.ask("Hi", key="k", stream=stream)
    again = door.ask("Hi", key="k", stream=stream)
    assert again.status == first.status
    assert again.error == first.error
    assert again.headers["Content-Type"] == first.headers["Content-Type"]
    assert_asked_once(fake)


def test_a_question_that_was_refused_leaves_its_key_free(door: Door, fake: FakeOpenAI) -> None:
    assert door.ask("", key="k").status == 400
    assert door.ask("Hi", key="k", conversation_id=ABSENT).status == 404
    assert door.ask("Hi", key="k").status == 200


def test_a_deleted_conversation_frees_its_keys(door: Door, fake: FakeOpenAI) -> None:
    first = door.ask("Hi", key="k")
    door.send("DELETE", f"/ai/conversations/{first.conversation_id}/")
    assert door.ask("Hi", key="k").turn_id != first.turn_id
