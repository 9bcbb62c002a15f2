"""turns/<id>/cancel/: stopping a turn, which is only ever the one that is named."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from django_chatgpt.functions import function_registry
from django_chatgpt.models import AIFunctionCall, AITurn, AIUsage
from django_chatgpt.testing import Answer as Said
from django_chatgpt.testing import Call, FakeOpenAI
from tests.api.conftest import ABSENT, Answer, Door
from tests.api.test_events import events
from tests.api.test_turns import dead_turn

pytestmark = pytest.mark.django_db


def pay(amount: int) -> str:
    """Pay somebody."""
    return f"paid {amount}"


@pytest.fixture(autouse=True)
def functions() -> Iterator[None]:
    function_registry.register(pay, requires_approval=True)
    yield
    function_registry.unregister("pay")


def cancel(door: Door, turn_id: Any) -> Answer:
    return door.send("POST", f"/ai/turns/{turn_id}/cancel/")


def test_one_that_is_over_stays_as_it_is(door: Door, fake: FakeOpenAI) -> None:
    turn_id = door.ask().turn_id
    before = door.get(f"/ai/turns/{turn_id}/").json
    answer = cancel(door, turn_id)
    assert (answer.status, answer.json) == (200, before)
    assert answer.json["cancel_requested"] is False
    assert cancel(door, turn_id).json == before


def test_one_that_runs_elsewhere_is_asked_to_stop(door: Door, user: Any) -> None:
    turn = dead_turn(user, lease_expires_at=timezone.now() + timedelta(minutes=1))
    for _ in range(2):
        answer = cancel(door, turn.pk)
        assert (answer.status, answer.json["status"], answer.json["cancel_requested"]) == (
            200,
            "running",
            True,
        )
        asked_at = AITurn.objects.get(pk=turn.pk).cancel_requested_at
    assert AITurn.objects.get(pk=turn.pk).cancel_requested_at == asked_at, "asking again changes nothing"


def test_one_whose_process_died(door: Door, user: Any) -> None:
    assert cancel(door, dead_turn(user).pk).json["status"] == "interrupted"


def test_one_that_waits_for_a_person_ends_at_once(door: Door, fake: FakeOpenAI) -> None:
    fake.script(Said("One moment.", calls=[Call("pay", {"amount": 5})]), "Of course.")
    first = door.ask("Pay five", stream=True)
    answer = cancel(door, first.turn_id)
    assert (answer.status, answer.json["status"]) == (200, "cancelled")
    assert AIFunctionCall.objects.get().status == "expired"
    decided = door.send("POST", f"/ai/turns/{first.turn_id}/approve/", {"approve": True})
    assert (decided.status, decided.error["code"]) == (409, "decided")
    told = events(door, first.turn_id, first.events[-1]["seq"])
    assert [event["type"] for event in told.events] == ["finish", "done"]
    assert told.events[0]["reason"] == "cancelled"
    assert told.events[0]["cost"] == answer.json["result"]["cost"]
    assert cancel(door, first.turn_id).json == answer.json
    assert door.ask("Never mind", conversation_id=first.conversation_id).status == 200


def test_one_that_waits_for_a_worker_ends_at_once(door: Door, user: Any) -> None:
    turn = dead_turn(user, text="", status="queued", lease_expires_at=None)
    answer = cancel(door, turn.pk)
    assert (answer.json["status"], answer.json["cancel_requested"]) == ("cancelled", True)
    attempt = AIUsage.objects.get()
    assert (attempt.outcome, attempt.total_tokens, attempt.estimated_cost) == ("cancelled", 0, 0)
    assert AITurn.objects.get().active_conversation is None


def test_only_ones_own(door: Door, other_door: Door, anonymous_door: Door, user: Any) -> None:
    turn = dead_turn(user, lease_expires_at=timezone.now() + timedelta(minutes=1))
    assert cancel(other_door, turn.pk).status == cancel(door, ABSENT).status == 404
    assert cancel(anonymous_door, turn.pk).status == 401
    assert AITurn.objects.get().cancel_requested_at is None


def test_a_token_is_needed(csrf_door: Door, user: Any) -> None:
    turn = dead_turn(user, lease_expires_at=timezone.now() + timedelta(minutes=1))
    assert (cancel(csrf_door, turn.pk).status, AITurn.objects.get().cancel_requested_at) == (403, None)
