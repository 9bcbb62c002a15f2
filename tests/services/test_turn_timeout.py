"""A provider that never comes to an end holds nobody for ever."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest
from django.contrib.auth.models import User
from pytest_django import Settings

from django_chatgpt.core import reply
from django_chatgpt.exceptions import ProviderProtocolError, TurnTimeoutError
from django_chatgpt.models import AIMessage, AITurn, AIUsage
from django_chatgpt.providers import clients
from django_chatgpt.services import AIService, completions
from django_chatgpt.testing import Answer, FakeOpenAI, Gate
from tests.services.conftest import Async, Sync

pytestmark = pytest.mark.django_db
HI = [{"role": "user", "content": "Hi"}]


@pytest.fixture
def endless(fake_openai: FakeOpenAI) -> Iterator[None]:
    """An answer that stops after its first piece and stays open."""
    gate = Gate()
    fake_openai.script(Answer(chunks=["Half ", "an answer"], stall_after=1, stall=gate))
    yield
    gate.open()


@pytest.mark.usefixtures("endless", "dialect")
def test_a_turn_ends_and_keeps_what_had_arrived(colour: Sync | Async, user: User, settings: Settings) -> None:
    settings.OPENAI_TURN_TIMEOUT = 0.6
    with pytest.raises(TurnTimeoutError) as caught:
        colour.ask(AIService(user), "Hi")
    assert (caught.value.code, caught.value.retryable) == ("timeout", True)
    turn = AITurn.objects.get()
    assert (turn.status, turn.error_code, turn.partial_text) == ("failed", "timeout", "Half ")
    answer = AIMessage.objects.get(role="assistant")
    assert (answer.content, answer.status) == ("Half ", "failed")
    attempt = AIUsage.objects.get()
    assert (attempt.outcome, attempt.error_code, attempt.usage_source) == ("failed", "timeout", "estimated")
    assert attempt.completion_tokens > 0


def test_keep_alive_comments_are_no_answer(
    user: User, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that sends them never is silent for OPENAI_TIMEOUT."""
    settings.OPENAI_TURN_TIMEOUT = 0.6
    closed: list[bool] = []

    class Comments(httpx2.SyncByteStream):
        def __iter__(self) -> Iterator[bytes]:
            while not closed:
                time.sleep(0.02)
                yield b": keep-alive\n\n"

        def close(self) -> None:
            closed.append(True)

    def answer(request: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(200, headers={"content-type": "text/event-stream"}, stream=Comments())

    with clients.http_clients(httpx2.Client(transport=httpx2.MockTransport(answer))):
        with pytest.raises(TurnTimeoutError):
            AIService(user).ask("Hi")
        assert closed
        closed.clear()
        chunks = AIService(user).chat_completion(HI, stream=True)
        with pytest.raises(TurnTimeoutError):
            list(chunks)
    assert closed
    assert list(AIUsage.objects.values_list("outcome", "error_code")) == [("failed", "timeout")] * 2


@pytest.mark.usefixtures("endless")
def test_chunks_without_a_conversation(colour: Sync | Async, user: User, settings: Settings) -> None:
    settings.OPENAI_TURN_TIMEOUT = 0.3
    with pytest.raises(TurnTimeoutError):
        colour.chunks(AIService(user), HI)
    attempt = AIUsage.objects.get()
    assert (attempt.outcome, attempt.error_code, attempt.usage_source) == ("failed", "timeout", "estimated")


@pytest.mark.parametrize("call", ["chunks", "complete"])
def test_an_answer_of_any_size_is_none(
    call: str, colour: Sync | Async, user: User, fake_openai: FakeOpenAI, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also without a conversation."""
    assert completions.MAX_CHARACTERS == reply.MAX_CHARACTERS
    monkeypatch.setattr(completions, "MAX_CHARACTERS", 50)
    fake_openai.respond_with(lambda request: Answer(chunks=["0123456789"] * 9))
    with pytest.raises(ProviderProtocolError):
        getattr(colour, call)(AIService(user), HI)
    assert set(AIUsage.objects.values_list("outcome", flat=True)) == {"failed"}


def test_arguments_of_calls_count(
    user: User, fake_openai: FakeOpenAI, monkeypatch: pytest.MonkeyPatch
) -> None:
    from django_chatgpt.testing import Call

    monkeypatch.setattr(completions, "MAX_CHARACTERS", 50)
    fake_openai.respond_with(lambda request: Answer(calls=[Call("f", {"text": "x" * 60})]))
    schema: dict[str, Any] = {
        "name": "f",
        "description": "",
        "parameters": {"type": "object", "properties": {}},
    }
    with pytest.raises(ProviderProtocolError):
        list(AIService(user).chat_completion(HI, stream=True, functions=[schema]))
