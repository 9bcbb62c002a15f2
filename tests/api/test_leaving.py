"""A listener that leaves, or never comes, in the process of the test: what a WSGI server does with it."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client
from django.test.utils import override_settings

from django_chatgpt.api import sse
from django_chatgpt.models import AIMessage, AITurn, AIUsage
from django_chatgpt.testing import Answer, Failure, FakeOpenAI
from tests.api.conftest import Door

pytestmark = pytest.mark.django_db(transaction=True)

PIECES = [f"{number} " for number in range(100)]


def ask(user: Any) -> Any:
    """A stream of which nothing has been read."""
    client = Client()
    client.force_login(user)
    return client.post("/ai/chat/", {"message": "Count", "stream": True}, content_type="application/json")


@pytest.mark.parametrize("read", [0, 1, 3])
@pytest.mark.parametrize("mode", ["continue", "drain", "cancel"])
def test_leaving_a_stream(user: Any, fake: FakeOpenAI, mode: str, read: int) -> None:
    """Closing the response returns when the turn has ended; nothing is left running, even if nobody came."""
    fake.reply(chunks=PIECES, delay=0.01)
    with override_settings(OPENAI_ON_DISCONNECT=mode):
        response = ask(user)
        parts = iter(response)
        for _ in range(read):
            next(parts)
        response.close()
    turn = AITurn.objects.get()
    assert (turn.status, turn.active_conversation) == ("cancelled" if mode == "cancel" else "completed", None)
    attempt = AIUsage.objects.get()
    if mode != "cancel":
        assert AIMessage.objects.get(role="assistant").content == "".join(PIECES)
        assert (attempt.outcome, attempt.usage_source) == ("completed", "provider")
        return
    assert (attempt.outcome, attempt.usage_source) == ("cancelled", "estimated")
    if read < 2:
        # Nothing but the beginning was shown: the provider was not asked yet, and shall not be.
        fake.assert_nothing_asked()
        assert (attempt.total_tokens, attempt.estimated_cost) == (0, 0)
        assert not AIMessage.objects.filter(role="assistant").exists()
        return
    (request,) = fake.wait_for(1, disconnected=True)
    assert request.pieces_sent < len(PIECES)
    assert AIMessage.objects.get(role="assistant").status == "cancelled"


def test_silence_is_filled(door: Door, fake: FakeOpenAI, monkeypatch: pytest.MonkeyPatch) -> None:
    """A comment now and then keeps whoever is between from giving up, and finds out who has gone.

    Where a thread drives the turn, it looks twice a second.
    """
    monkeypatch.setattr(sse, "HEARTBEAT_SECONDS", 0.1)
    fake.reply(chunks=["One ", "two"], stall_after=1, stall=2.5)
    answer = door.ask(stream=True)
    assert answer.text == "One two"
    assert answer.body.count(b": keep-alive\n\n") >= 2
    assert answer.body.index(b"One") < answer.body.index(b": keep-alive") < answer.body.index(b"two")


def test_silence_while_waiting_to_try_again_is_filled(
    door: Door, fake: FakeOpenAI, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sse, "HEARTBEAT_SECONDS", 0.1)
    fake.script(Failure(503, retry_after=1.2), Answer("Hello"))
    with override_settings(OPENAI_MAX_RETRIES=1):
        answer = door.ask(stream=True)
    assert answer.text == "Hello"
    assert b": keep-alive\n\n" in answer.body[: answer.body.index(b"Hello")]
