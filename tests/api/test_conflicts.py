"""Two at once: one conversation has one running turn, one key has one turn."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.db import connections
from django.test.utils import override_settings
from django.utils import timezone

from django_chatgpt.models import AIConversation, AIMessage, AITurn, AIUsage
from django_chatgpt.services import chat as service
from django_chatgpt.testing import Answer, FakeOpenAI, Gate
from tests.api.conftest import Answer as Got
from tests.api.conftest import Door

pytestmark = pytest.mark.django_db(transaction=True)

AT_ONCE = 8


@pytest.fixture
def gate(fake: FakeOpenAI) -> Iterator[Gate]:
    """Every answer waits for it, and it is opened at the end whatever happens."""
    gate = Gate()
    fake.respond_with(lambda request: Answer("Hello there", stall_after=0, stall=gate))
    yield gate
    gate.open()


def at_once(calls: list[Callable[[], Got]]) -> list[Got]:
    """Make all calls in threads of their own, begun at the same moment."""
    barrier = threading.Barrier(len(calls))

    def call(function: Callable[[], Got]) -> Got:
        barrier.wait()
        try:
            return function()
        finally:
            connections.close_all()

    with ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(call, calls))


def doors(handler: Any, user: Any, count: int) -> list[Door]:
    return [Door(handler, user) for _ in range(count)]


def in_background(call: Callable[[], Got]) -> Callable[[], Got]:
    """Begin a call; what is returned waits for its answer."""
    pool = ThreadPoolExecutor(1)

    def run() -> Got:
        try:
            return call()
        finally:
            connections.close_all()

    future = pool.submit(run)
    pool.shutdown(wait=False)
    return lambda: future.result(timeout=20)


@pytest.mark.parametrize("stream", [False, True])
def test_a_second_question_meanwhile(
    handler: Any, user: Any, fake: FakeOpenAI, gate: Gate, stream: bool
) -> None:
    first, second = doors(handler, user, 2)
    conversation = AIConversation.objects.create(user=user)
    ask = {"conversation_id": str(conversation.pk), "stream": stream}
    answer = in_background(lambda: first.ask("First?", **ask))
    fake.wait_for(1)
    refused = second.ask("Second?", **ask)
    turn = AITurn.objects.get()
    assert refused.status == 409
    assert refused.error["code"] == "turn_running"
    assert refused.error["turn_id"] == str(turn.pk)
    assert str(turn.pk) in refused.error["message"]
    gate.open()
    assert answer().turn_id == str(turn.pk)
    assert len(fake.calls) == AIUsage.objects.count() == 1
    assert list(AIMessage.objects.order_by("sequence").values_list("content", flat=True)) == [
        "First?",
        "Hello there",
    ]
    assert second.ask("Second?", **ask).status == 200


def test_many_questions_at_the_same_moment(handler: Any, user: Any, fake: FakeOpenAI, gate: Gate) -> None:
    """The winner's answer waits until all others have been refused."""
    conversation = AIConversation.objects.create(user=user)
    refused = []

    def ask(door: Door) -> Got:
        answer = door.ask("Hi", conversation_id=str(conversation.pk))
        if answer.status != 200:
            refused.append(answer)
            if len(refused) == AT_ONCE - 1:
                gate.open()
        return answer

    answers = at_once([lambda door=door: ask(door) for door in doors(handler, user, AT_ONCE)])  # type: ignore[misc]
    assert sorted(answer.status for answer in answers) == [200] + [409] * (AT_ONCE - 1)
    (won,) = (answer for answer in answers if answer.status == 200)
    assert {answer.error["turn_id"] for answer in refused} == {won.turn_id}
    assert len(fake.calls) == AITurn.objects.count() == AIUsage.objects.count() == 1
    assert AIMessage.objects.count() == 2


def test_many_new_conversations_at_the_same_moment(handler: Any, user: Any, fake: FakeOpenAI) -> None:
    answers = at_once([lambda door=door: door.ask("Hi") for door in doors(handler, user, AT_ONCE)])  # type: ignore[misc]
    assert [answer.status for answer in answers] == [200] * AT_ONCE
    assert len({answer.conversation_id for answer in answers}) == AT_ONCE
    assert AIConversation.objects.filter(total_tokens__gt=0).count() == AT_ONCE


@pytest.mark.parametrize("existing", [False, True])
def test_one_key_at_the_same_moment(handler: Any, user: Any, fake: FakeOpenAI, existing: bool) -> None:
    """Half of them stream; the provider is asked once, and all are told the same."""
    where = {"conversation_id": str(AIConversation.objects.create(user=user).pk)} if existing else {}
    answers = at_once(
        [
            lambda door=door, stream=number % 2 == 0: door.ask("Hi", key="k", stream=stream, **where)  # type: ignore[misc]
            for number, door in enumerate(doors(handler, user, AT_ONCE))
        ]
    )
    assert [answer.status for answer in answers] == [200] * AT_ONCE
    assert len({answer.turn_id for answer in answers}) == 1
    assert len({answer.text for answer in answers}) == 1
    assert len(fake.calls) == AITurn.objects.count() == AIConversation.objects.count() == 1
    assert AIMessage.objects.count() == 2


@pytest.mark.parametrize("stream", [False, True])
def test_a_repeat_while_the_first_still_runs(
    handler: Any, user: Any, fake: FakeOpenAI, gate: Gate, stream: bool
) -> None:
    first, second = doors(handler, user, 2)
    answer = in_background(lambda: first.ask("Hi", key="k"))
    fake.wait_for(1)
    repeat = in_background(lambda: second.ask("Hi", key="k", stream=stream))
    gate.open()
    assert repeat().turn_id == answer().turn_id
    assert repeat().text == answer().text == "Hello there"
    if stream:
        # The text in as many pieces as it was written in.
        types = [event["type"] for event in repeat().events]
        assert [*dict.fromkeys(types)] == ["start", "content", "finish", "done"]
        assert repeat().events[-2]["message_id"] == answer().json["id"]
        assert repeat().events[-2]["usage"] == answer().json["usage"]
        assert repeat().events[-2]["cost"] == answer().json["cost"]
    else:
        assert repeat().json == answer().json
    assert len(fake.calls) == 1


def test_a_key_for_something_else_while_the_first_still_runs(
    handler: Any, user: Any, fake: FakeOpenAI, gate: Gate
) -> None:
    first, second = doors(handler, user, 2)
    answer = in_background(lambda: first.ask("Hi", key="k"))
    fake.wait_for(1)
    refused = second.ask("Ho", key="k")
    assert (refused.status, refused.error["code"]) == (409, "idempotency_mismatch")
    gate.open()
    assert answer().status == 200
    assert len(fake.calls) == 1


def test_reading_and_deleting_meanwhile(handler: Any, user: Any, fake: FakeOpenAI, gate: Gate) -> None:
    first, second = doors(handler, user, 2)
    answer = in_background(lambda: first.ask("Hi"))
    fake.wait_for(1)
    turn = AITurn.objects.get()
    path = f"/ai/conversations/{turn.conversation_id}/"
    assert second.get(f"/ai/turns/{turn.pk}/").json["status"] == "running"
    assert second.get(path).json["messages"][0]["content"] == "Hi"
    assert second.send("PATCH", path, {"title": "New"}).status == 200
    refused = second.send("DELETE", path)
    assert (refused.status, refused.error["turn_id"]) == (409, str(turn.pk))
    gate.open()
    assert answer().status == 200
    conversation = AIConversation.objects.get()
    assert (conversation.title, conversation.total_tokens > 0) == ("New", True)
    assert second.send("DELETE", path).status == 204


def test_a_conversation_deleted_between_being_found_and_used(
    handler: Any, user: Any, fake: FakeOpenAI, monkeypatch: pytest.MonkeyPatch
) -> None:
    conversation = AIConversation.objects.create(user=user)
    found = service.storage.configuration_of

    def find_and_lose(*arguments: Any) -> Any:
        lost = found(*arguments)
        AIConversation.objects.all().delete()
        return lost

    monkeypatch.setattr(service.storage, "configuration_of", find_and_lose)
    answer = Door(handler, user).ask("Hi", conversation_id=str(conversation.pk))
    assert answer.status == 404
    fake.assert_nothing_asked()


@pytest.mark.parametrize("accepted", [True, False])
def test_a_turn_may_be_quiet_for_longer_than_its_lease(
    handler: Any, user: Any, fake: FakeOpenAI, gate: Gate, accepted: bool
) -> None:
    """A provider that thinks before its first word, or before its first header, is no dead process."""
    first, second = doors(handler, user, 2)
    if not accepted:

        async def think(request: Any) -> str:
            await gate.passed()
            return "Hello there"

        fake.respond_with(think)
    with override_settings(OPENAI_TURN_LEASE=3):
        answer = in_background(lambda: first.ask("Hi"))
        fake.wait_for(1)
        turn = AITurn.objects.get()
        assert turn.lease_expires_at is not None
        while timezone.now() < turn.lease_expires_at:
            time.sleep(0.1)
        seen = second.get(f"/ai/turns/{turn.pk}/").json
        assert seen["status"] == "running", seen
        gate.open()
        assert answer().status == 200
