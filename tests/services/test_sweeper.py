"""Turns whose process died: each is ended, whatever is wrong with another."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from datetime import timedelta
from typing import Any
from unittest import mock

import pytest
from django.db import connection
from django.utils import timezone

from django_chatgpt.core.messages import TokenUsage
from django_chatgpt.models import AIConversation, AIMessage, AITurn, AIUsage
from django_chatgpt.services import billing, sweeper

LONG_AGO = timedelta(days=1)


@pytest.fixture(autouse=True)
def heard(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """The package's log is heard even where a site has cut it off."""
    logger = logging.getLogger("django_chatgpt.turns")
    with mock.patch.object(logger, "propagate", True):
        yield


def expired(text: str = "Half an", **fields: Any) -> AITurn:
    turn = AITurn.objects.create(
        conversation=AIConversation.objects.create(),
        status="running",
        partial_text=text,
        lease_expires_at=timezone.now() - timedelta(minutes=1),
        **fields,
    )
    AIMessage.objects.create(
        conversation=turn.conversation, turn=turn, sequence=1, role="user", content="Hello"
    )
    AIUsage.objects.create(conversation=turn.conversation, turn=turn, model="gpt-5.4-mini")
    return turn


@pytest.mark.django_db
class TestSweep:
    def test_keeps_the_text_and_estimates_what_it_took(self) -> None:
        turn = expired()
        assert sweeper.sweep(turn)
        assert (turn.status, turn.error_code) == ("interrupted", "interrupted")
        answer = AIMessage.objects.get(turn=turn, role="assistant")
        assert (answer.sequence, answer.content, answer.status) == (2, "Half an", "interrupted")
        attempt = AIUsage.objects.get(turn=turn)
        assert (attempt.outcome, attempt.usage_source) == ("interrupted", "estimated")
        assert attempt.prompt_tokens > 0
        assert attempt.completion_tokens > 0
        turn.conversation.refresh_from_db()
        assert turn.conversation.total_tokens == attempt.total_tokens

    def test_is_done_once(self) -> None:
        turn = expired()
        again = AITurn.objects.get(pk=turn.pk)
        assert sweeper.sweep(turn)
        assert not sweeper.sweep(again)
        assert AIMessage.objects.filter(turn=turn, role="assistant").count() == 1

    def test_leaves_a_turn_alone_that_was_written_on_meanwhile(self) -> None:
        turn = expired()
        later = turn.lease_expires_at + timedelta(seconds=10)  # type: ignore[operator]
        AITurn.objects.filter(pk=turn.pk).update(partial_text="Half an answer", lease_expires_at=later)
        assert not sweeper.sweep(turn)
        assert not AIMessage.objects.filter(turn=turn, role="assistant").exists()
        assert sweeper.sweep_expired() == 1
        assert AIMessage.objects.get(turn=turn, role="assistant").content == "Half an answer"


@pytest.mark.django_db(transaction=True)
def test_tokens_are_counted_before_anything_is_locked() -> None:
    turn = expired()
    locked: list[bool] = []

    def estimate(*args: Any) -> TokenUsage:
        locked.append(connection.in_atomic_block)
        return TokenUsage(prompt_tokens=1, completion_tokens=1, total_tokens=2)

    with mock.patch.object(billing, "estimate", estimate):
        assert sweeper.sweep(turn)
    assert locked == [False]


@pytest.mark.django_db
class TestSweepExpired:
    def test_old_data_without_a_call_stop_nothing(self) -> None:
        turns = [expired() for _ in range(3)]
        AIMessage.objects.create(
            conversation=turns[0].conversation,
            sequence=0,
            role="assistant",
            content="Old",
            function_call="auto",
        )
        assert sweeper.sweep_expired() == 3
        assert not AITurn.objects.active().exists()

    @pytest.mark.parametrize("batch", [1, 2, 100])
    def test_a_turn_that_cannot_be_ended_is_logged_and_stops_no_other(
        self, batch: int, caplog: pytest.LogCaptureFixture
    ) -> None:
        bad = [expired("bad one"), expired("bad two")]
        good = [expired() for _ in range(3)]
        sweep = sweeper.sweep

        def fails(turn: AITurn) -> bool:
            if turn.partial_text.startswith("bad"):
                raise ValueError(f"secret {turn.partial_text}")
            return sweep(turn)

        with mock.patch.object(sweeper, "sweep", fails):
            assert sweeper.sweep_expired(batch) == 3
        assert set(AITurn.objects.active()) == set(bad)
        assert not AITurn.objects.active().filter(pk__in=[turn.pk for turn in good]).exists()
        messages = [record.getMessage() for record in caplog.records]
        assert messages == [f"Turn {turn.pk} can't be ended: ValueError" for turn in bad]
        assert sweeper.sweep_expired() == 2, "the next call tries them again"


@pytest.mark.django_db
class TestAbandoned:
    @pytest.mark.parametrize("status", ["completed", "failed", "cancelled", "interrupted"])
    def test_an_attempt_whose_turn_is_over_is_written_off(self, status: str) -> None:
        turn = AITurn.objects.create(conversation=AIConversation.objects.create(), status=status)
        old = AIUsage.objects.create(turn=turn, model="m", timestamp=timezone.now() - LONG_AGO)
        new = AIUsage.objects.create(turn=turn, model="m")
        sweeper.sweep_expired()
        old.refresh_from_db()
        new.refresh_from_db()
        assert (old.outcome, old.usage_source, old.estimated_cost) == ("interrupted", "unknown", None)
        assert new.outcome == "running"

    def test_one_of_no_turn_is_and_one_of_a_turn_that_goes_on_is_not(self) -> None:
        turn = AITurn.objects.create(conversation=AIConversation.objects.create(), status="running")
        before = timezone.now() - LONG_AGO
        kept = AIUsage.objects.create(turn=turn, model="m", timestamp=before)
        lost = AIUsage.objects.create(model="m", timestamp=before)
        sweeper.sweep_expired()
        kept.refresh_from_db()
        lost.refresh_from_db()
        assert (kept.outcome, lost.outcome) == ("running", "interrupted")
