"""What a question costs the site: hops to the database, queries, clients. None grows with the answer."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.db import connections
from django.test import AsyncClient
from django.test.utils import CaptureQueriesContext, override_settings

import django_chatgpt.api.chat as door_module
from django_chatgpt import database
from django_chatgpt.core import run
from django_chatgpt.models import AIConversation, AIMessage, AITurn
from django_chatgpt.providers import clients
from django_chatgpt.runtime import coroutines, inline, stops
from django_chatgpt.runtime.tasks import wait_for_turns
from django_chatgpt.services import ai, follow
from django_chatgpt.services import chat as service
from django_chatgpt.testing import Answer, FakeOpenAI
from tests.api.conftest import Door

pytestmark = [pytest.mark.django_db, pytest.mark.sqlite_only]

both_ways = pytest.mark.parametrize("stream", [False, True])


class Counted:
    """The queries of one exchange, until the provider was asked and after that."""

    def __init__(self) -> None:
        self.asked_after: int | None = None
        self.before: list[str] = []
        self.after: list[str] = []


@pytest.fixture
def no_checkpoints(monkeypatch: pytest.MonkeyPatch) -> None:
    """However slow this machine is today, no turn here lasts long enough for a checkpoint."""
    monkeypatch.setattr(run, "CHECKPOINT_SECONDS", 1000.0)


@pytest.fixture
def hops(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The hops that are made, in order, by the name of who makes them."""
    made: list[str] = []

    def counted(name: str, original: Callable[..., Any]) -> Callable[..., Any]:
        async def ahop(function: Callable[[], Any]) -> Any:
            made.append(name)
            return await original(function)

        def hop(function: Callable[[], Any]) -> Any:
            made.append(name)
            return original(function)

        return ahop if original is database.ahop else hop

    for module in (coroutines, service, ai, follow):
        monkeypatch.setattr(module, "ahop", counted(module.__name__, database.ahop))
    for module in (inline, follow, door_module):
        monkeypatch.setattr(module, "hop", counted(module.__name__, database.hop))
    return made


@contextlib.contextmanager
def counting(fake: FakeOpenAI, answer: Answer) -> Iterator[Counted]:
    """Answer with `answer` and count the queries around it."""
    counted = Counted()
    connection = connections["default"]

    def respond(request: Any) -> Answer:
        counted.asked_after = len(connection.queries_log)
        return answer

    fake.respond_with(respond)
    with CaptureQueriesContext(connection) as captured:
        yield counted
    assert counted.asked_after is not None
    queries = [query["sql"] for query in captured.captured_queries]
    split = counted.asked_after - captured.initial_queries
    counted.before, counted.after = queries[:split], queries[split:]


def with_history(user: Any, length: int) -> str:
    conversation = AIConversation.objects.create(user=user)
    AIMessage.objects.bulk_create(
        AIMessage(
            conversation=conversation,
            sequence=number,
            role="user" if number % 2 else "assistant",
            content=f"Line {number}",
        )
        for number in range(1, length + 1)
    )
    return str(conversation.pk)


@both_ways
def test_two_hops_whatever_the_length(
    door: Door, fake: FakeOpenAI, no_checkpoints: None, hops: list[str], stream: bool
) -> None:
    """One before the stream and one after; none while it lasts."""
    for chunks in (1, 400):
        hops.clear()
        fake.reply(chunks=[f"{number} " for number in range(chunks)])
        answer = door.ask(stream=stream)
        assert len(answer.text.split()) == chunks
        assert len(hops) == 2, hops


@both_ways
def test_queries_do_not_grow(
    door: Door, fake: FakeOpenAI, no_checkpoints: None, user: Any, stream: bool
) -> None:
    seen = []
    for history, chunks in ((2, 1), (2, 400), (60, 1), (200, 400)):
        conversation = with_history(user, history)
        with counting(fake, Answer(chunks=["a "] * chunks)) as counted:
            assert door.ask(stream=stream, conversation_id=conversation).status == 200
        assert len(fake.calls[-1].messages) == history + 1
        seen.append((len(counted.before), len(counted.after)))
    assert len(set(seen)) == 1, seen
    before, after = seen[0]
    # Session, user, conversation, history; BEGIN and COMMIT; turn, question, ledger.
    assert before <= 10, counted.before
    # BEGIN and COMMIT; turn, answer, ledger, totals, events.
    assert after <= 8, counted.after


@both_ways
def test_queries_of_a_new_conversation(
    door: Door, fake: FakeOpenAI, no_checkpoints: None, stream: bool
) -> None:
    with counting(fake, Answer("Hello")) as counted:
        door.ask(stream=stream)
    assert len(counted.before) <= 9, counted.before
    assert len(counted.after) <= 8, counted.after


def test_a_question_that_is_refused_costs_little(door: Door, fake: FakeOpenAI) -> None:
    """Session and user are all that is looked up for bad input."""
    with CaptureQueriesContext(connections["default"]) as captured:
        assert door.ask("").status == 400
    assert len(captured) <= 2


@both_ways
def test_checkpoints_are_coalesced(door: Door, fake: FakeOpenAI, stream: bool) -> None:
    """About two a second, whatever the number of pieces, each a transaction of three; and looks for stops."""
    pieces = [f"{number} " for number in range(60)]
    with counting(fake, Answer(chunks=pieces, delay=0.02)) as counted:
        assert door.ask(stream=stream).text == "".join(pieces)
    took = (fake.calls[0].finished or 0) - fake.calls[0].started
    changed = [query for query in counted.after if 'UPDATE "ai_turn"' in query]
    assert 1 <= len(changed) - 1 <= took / run.CHECKPOINT_SECONDS
    looks = [
        query for query in counted.after if "SELECT" in query and '"cancel_requested_at" IS NOT' in query
    ]
    assert len(looks) <= took / stops.LOOK_SECONDS + 1
    assert len(counted.after) - len(looks) <= 8 + 5 * (len(changed) - 1)
    assert AITurn.objects.get().partial_text == ""


@both_ways
def test_no_client_is_made_once_warm(user: Any, fake: FakeOpenAI, stream: bool) -> None:
    """Nor a connection: one is used again and again."""

    async def exchange() -> None:
        client = AsyncClient()
        await client.aforce_login(user)
        built = None
        for _ in range(6):
            body = {"message": "Hi", "stream": stream}
            response = await client.post("/ai/chat/", body, content_type="application/json")
            assert response.status_code == 200
            if stream:
                async for _part in response:
                    pass
            await wait_for_turns()
            if built is not None:
                assert clients.built_clients() == built
            built = clients.built_clients()

    async_to_sync(exchange)()
    assert len({request.connection for request in fake.calls[1:]}) == 1


@both_ways
def test_no_client_is_made_once_warm_under_wsgi(user: Any, fake: FakeOpenAI, stream: bool) -> None:
    door = Door("wsgi", user)
    door.ask(stream=stream)
    built = clients.built_clients()
    for _ in range(5):
        door.ask(stream=stream)
    assert clients.built_clients() == built
    assert len({request.connection for request in fake.calls[1:]}) == 1


def test_another_key_is_another_client(user: Any, fake: FakeOpenAI) -> None:
    door = Door("wsgi", user)
    door.ask()
    built = clients.built_clients()
    with override_settings(OPENAI_API_KEY="sk-another"):
        door.ask()
        door.ask()
    assert clients.built_clients() == built + 1
    assert fake.calls[-1].carried("sk-another")
