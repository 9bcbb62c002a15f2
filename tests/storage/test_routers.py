"""A site whose routers send reads elsewhere: the engine goes to where the writes go, and nowhere else."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any, cast
from unittest import mock

import pytest
from django.db import DEFAULT_DB_ALIAS, OperationalError, connection, connections, router
from django.utils import timezone

from django_chatgpt.core.ids import uuid7
from django_chatgpt.core.messages import FunctionCall, FunctionResult, TokenUsage
from django_chatgpt.core.window import Window
from django_chatgpt.exceptions import ConflictError, NotFoundError
from django_chatgpt.models import AIConfiguration, AIConversation, AIFunction, AIMessage, AITurn, AIUsage
from django_chatgpt.services import sweeper
from django_chatgpt.storage import calls, conversations, functions, ledger, primary, turns
from django_chatgpt.storage.history import load_history
from django_chatgpt.storage.ledger import Bill

LEASE = timedelta(minutes=1)
WINDOW = Window(1000, lambda message: 1)


class Copy:
    """The connection of a copy that must not be asked anything but what kind of database it is."""

    features = connection.features

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(f"the copy is used: {name}")


class CopyIsBehind:
    """A router that sends reads of the app's tables to a copy."""

    def db_for_read(self, model: Any, **hints: Any) -> str | None:
        return "copy" if model._meta.app_label == "django_chatgpt" else None

    def db_for_write(self, model: Any, **hints: Any) -> str | None:
        return DEFAULT_DB_ALIAS if model._meta.app_label == "django_chatgpt" else None


class Elsewhere:
    """A router that keeps the app's tables in a database of their own."""

    def db_for_write(self, model: Any, **hints: Any) -> str | None:
        return "elsewhere" if model._meta.app_label == "django_chatgpt" else None


@pytest.fixture
def copy_is_behind(settings: Any) -> Iterator[None]:
    settings.DATABASE_ROUTERS = [CopyIsBehind()]
    connections["copy"] = cast(Any, Copy())
    yield
    del connections["copy"]


def question(user: Any, **fields: Any) -> turns.Question:
    return turns.Question(user_id=user.pk, text="Hello", token_count=1, window=WINDOW, lease=LEASE, **fields)


def opened(user: Any, **fields: Any) -> turns.OpenedTurn:
    turn = turns.open_turn(question(user, **fields), "gpt-5.4-mini", sweeper.sweep)
    assert isinstance(turn, turns.OpenedTurn)
    return turn


@pytest.mark.django_db
@pytest.mark.usefixtures("copy_is_behind")
class TestNothingIsReadFromACopy:
    def test_which_would_be_seen(self) -> None:
        with pytest.raises(AssertionError, match="the copy is used"):
            AITurn.objects.exists()

    def test_by_conversations(self, user: Any) -> None:
        configuration = AIConfiguration(name="c", model="gpt-5.4-mini")
        configuration.save()
        configuration._state.db = "copy"  # it was read there
        made = conversations.create(user.pk, "Title", configuration)
        assert conversations.page_of(user.pk, 1, 10)[1] == 1
        assert conversations.change(made.pk, user.pk, {"title": "New"}).title == "New"
        assert list(conversations.with_messages(made.pk, user.pk).messages.all()) == []
        assert turns.configuration_of(made.pk, user.pk) == configuration.pk
        turn = opened(user, conversation_id=made.pk)
        with pytest.raises(ConflictError):
            conversations.delete(made.pk, user.pk, sweeper.sweep)
        turns.end(turn.turn_id, "failed", partial_text="", error_code="", error_message="")
        conversations.delete(made.pk, user.pk, sweeper.sweep)
        with pytest.raises(NotFoundError):
            turns.configuration_of(made.pk, user.pk)

    def test_by_a_turn_and_its_calls(self, user: Any) -> None:
        configuration = AIConfiguration(name="c", model="gpt-5.4-mini")
        configuration.save()
        configuration._state.db = "copy"
        turn = opened(user, configuration=configuration, idempotency_key="k", fingerprint="f")
        assert turns.find_repeat(user.pk, "k", "f") is not None
        assert turns.checkpoint(turn.turn_id, "a", LEASE)
        assert turns.checkpoint_all({turn.turn_id: ("ab", LEASE)}, {}) == {}
        call = FunctionCall(id="1", name="f", arguments="{}")
        calls.record(turn.turn_id, [calls.RecordedCall(call, "x", timezone.now() + LEASE)])
        turns.park(turn.turn_id, timezone.now() + LEASE)
        (waiting,) = calls.of_turn(turn.turn_id, "awaiting_approval")
        calls.lock(turn.turn_id)
        assert calls.decide(waiting, "approved", user.pk, "{}", "x")
        assert calls.resume(turn.turn_id, LEASE)
        result = FunctionResult(call=call, output="x", status="completed", duration_ms=1)
        calls.settle(turn.turn_id, [result])
        functions.count([result])
        turns.add_messages([message(turn, 2)])
        turns.add_messages([message(turn, 3), message(turn, 4)])
        bill = Bill(outcome="completed", usage=TokenUsage(), usage_source="provider", cost=None)
        assert ledger.settle(turn.attempt_id, bill)
        assert ledger.turn_totals(turn.turn_id)[1] is None
        assert load_history(turn.conversation_id, WINDOW).last == 4

    def test_by_the_sweeper(self, user: Any) -> None:
        turn = opened(user)
        rows = AITurn.objects.using(DEFAULT_DB_ALIAS).filter(pk=turn.turn_id)
        rows.update(lease_expires_at=timezone.now() - LEASE, partial_text="Half")
        assert sweeper.sweep_expired() == 1
        assert rows.get().status == "interrupted"
        assert not AIUsage.objects.using(DEFAULT_DB_ALIAS).filter(outcome="running").exists()

    def test_by_the_sync_of_functions(self) -> None:
        row = {"name": "f", "description": "", "parameters_schema": {}, "implementation": "x"}
        assert functions.sync([row]) == 1
        assert AIFunction.objects.using(DEFAULT_DB_ALIAS).filter(name="f").exists()


def message(turn: turns.OpenedTurn, sequence: int) -> AIMessage:
    return AIMessage(
        conversation_id=turn.conversation_id, turn_id=turn.turn_id, sequence=sequence, role="assistant"
    )


@pytest.mark.django_db
def test_a_transaction_is_opened_where_the_rows_go(settings: Any) -> None:
    settings.DATABASE_ROUTERS = [Elsewhere()]
    assert primary.primary() == router.db_for_write(AIConversation) == "elsewhere"
    with mock.patch("django.db.transaction.atomic") as atomic:
        primary.atomic()
    atomic.assert_called_once_with(using="elsewhere")
    assert turns.running(uuid7()).db == calls.of_turn(uuid7()).db == "elsewhere"


@pytest.mark.django_db(transaction=True)
def test_what_a_database_gave_up_is_tried_again_outside_of_transactions_only() -> None:
    losses = [OperationalError(), OperationalError()]

    def work() -> bool:
        if losses:
            raise losses.pop()
        return True

    assert not connection.in_atomic_block
    assert primary.retried(work)
    losses.append(OperationalError())
    with primary.atomic(), pytest.raises(OperationalError):
        primary.retried(work)
