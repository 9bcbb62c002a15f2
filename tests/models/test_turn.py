"""Turns: one active turn per conversation, one turn per idempotency key."""

import datetime as dt
from typing import TYPE_CHECKING

import pytest
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.utils import timezone

from django_chatgpt.models import AITurn
from tests.models import rows

if TYPE_CHECKING:
    from django.contrib.auth.models import User

pytestmark = pytest.mark.django_db

ACTIVE = ["queued", "running", "awaiting_approval"]
OVER = ["completed", "failed", "cancelled", "interrupted"]


def test_every_status_is_active_or_over() -> None:
    assert set(ACTIVE) == AITurn.ACTIVE
    assert set(OVER) == AITurn.OVER
    assert set(AITurn.Status.values) == AITurn.ACTIVE | AITurn.OVER


@pytest.mark.parametrize("status", ACTIVE)
@pytest.mark.parametrize("second", ACTIVE)
def test_a_conversation_has_one_active_turn(status: str, second: str) -> None:
    talk = rows.conversation()
    first = rows.turn(talk, status=status)
    assert first.is_active
    assert first.active_conversation == talk.pk
    with pytest.raises(IntegrityError), transaction.atomic():
        rows.turn(talk, status=second)
    rows.turn(rows.conversation(), status=second)


@pytest.mark.parametrize("status", OVER)
def test_a_turn_that_is_over_makes_room(status: str) -> None:
    talk = rows.conversation()
    first = rows.turn(talk, status="running")
    first.status = status
    first.save(update_fields=["status"])
    first.refresh_from_db()
    assert not first.is_active
    assert first.active_conversation is None
    rows.turn(talk, status=status)
    rows.turn(talk, status="running")
    assert talk.turns.active().count() == 1


@pytest.mark.parametrize("status", ACTIVE)
def test_an_update_cannot_leave_an_active_turn_unheld(status: str) -> None:
    turn = rows.turn(rows.conversation(), status=status)
    with pytest.raises(IntegrityError), transaction.atomic():
        AITurn.objects.filter(pk=turn.pk).update(active_conversation=None)


@pytest.mark.parametrize("status", OVER)
def test_an_update_cannot_end_a_turn_and_keep_the_conversation(status: str) -> None:
    turn = rows.turn(rows.conversation(), status="running")
    with pytest.raises(IntegrityError), transaction.atomic():
        AITurn.objects.filter(pk=turn.pk).update(status=status)
    AITurn.objects.filter(pk=turn.pk).update(status=status, active_conversation=None)


def test_an_active_turn_holds_its_own_conversation() -> None:
    turn = rows.turn(rows.conversation(), status="running")
    with pytest.raises(IntegrityError), transaction.atomic():
        AITurn.objects.filter(pk=turn.pk).update(active_conversation=rows.conversation().pk)


def test_there_is_no_other_status() -> None:
    turn = rows.turn(rows.conversation())
    with pytest.raises(IntegrityError), transaction.atomic():
        AITurn.objects.filter(pk=turn.pk).update(status="lost", active_conversation=None)
    with pytest.raises(ValidationError) as caught:
        AITurn(conversation=turn.conversation, status="lost").full_clean()
    assert "status" in caught.value.message_dict


def test_a_clean_turn_passes_validation() -> None:
    talk = rows.conversation()
    AITurn(conversation=talk, status="running").full_clean()
    AITurn(conversation=talk, status="completed").full_clean()


def test_bulk_written_turns_can_be_filled_first() -> None:
    talks = [rows.conversation() for _ in range(3)]
    turns = [AITurn(conversation=talk, idempotency_key="") for talk in talks]
    for turn in turns:
        turn.fill_keys()
    AITurn.objects.bulk_create(turns)
    assert AITurn.objects.active().count() == 3
    assert AITurn.objects.filter(idempotency_key=None).count() == 3


def test_a_user_uses_an_idempotency_key_once(user: "User", other_user: "User") -> None:
    rows.turn(rows.conversation(user=user), user=user, idempotency_key="k")
    with pytest.raises(IntegrityError), transaction.atomic():
        rows.turn(rows.conversation(user=user), user=user, idempotency_key="k")
    rows.turn(rows.conversation(user=other_user), user=other_user, idempotency_key="k")


def test_so_does_the_site_itself() -> None:
    rows.turn(rows.conversation(), idempotency_key="k")
    with pytest.raises(IntegrityError), transaction.atomic():
        rows.turn(rows.conversation(), idempotency_key="k")


def test_whose_a_turn_is_follows_its_user(user: "User") -> None:
    turn = rows.turn(rows.conversation())
    assert turn.owner_key == ""
    turn.user = user
    turn.save(update_fields=["user"])
    turn.refresh_from_db()
    assert turn.owner_key == str(user.pk)
    with pytest.raises(IntegrityError), transaction.atomic():
        AITurn.objects.update(owner_key="")


def test_keys_that_differ_in_case_or_spaces_differ(user: "User") -> None:
    made = {
        key: rows.turn(rows.conversation(), user=user, idempotency_key=key) for key in ("k", "K", "k ", "ķ")
    }
    for key, turn in made.items():
        assert AITurn.objects.get(user=user, idempotency_key=key) == turn


@pytest.mark.parametrize("none", [None, ""])
def test_any_number_of_turns_may_have_no_key(user: "User", none: str | None) -> None:
    for _ in range(2):
        turn = rows.turn(rows.conversation(), user=user, idempotency_key=none)
        turn.refresh_from_db()
        assert turn.idempotency_key is None


def test_expired_are_the_active_ones_whose_lease_ran_out() -> None:
    now = timezone.now()
    past, future = now - dt.timedelta(seconds=1), now + dt.timedelta(seconds=60)
    dead = rows.turn(rows.conversation(), status="running", lease_expires_at=past)
    rows.turn(rows.conversation(), status="running", lease_expires_at=future)
    rows.turn(rows.conversation(), status="queued", lease_expires_at=None)
    rows.turn(rows.conversation(), status="completed", lease_expires_at=past)
    assert list(AITurn.objects.expired()) == [dead]
    assert AITurn.objects.expired(now + dt.timedelta(hours=1)).count() == 2
    assert AITurn.objects.expired(now - dt.timedelta(hours=1)).count() == 0


def test_saving_some_fields_leaves_the_others() -> None:
    turn = rows.turn(rows.conversation(), status="running")
    stale = AITurn.objects.get(pk=turn.pk)
    AITurn.objects.filter(pk=turn.pk).update(status="cancelled", active_conversation=None)
    stale.partial_text = "so far"
    stale.save(update_fields=["partial_text"])
    turn.refresh_from_db()
    assert (turn.status, turn.active_conversation, turn.partial_text) == ("cancelled", None, "so far")


def test_it_goes_by_its_key_and_status() -> None:
    turn = AITurn(status="running")
    assert str(turn) == f"{turn.pk} (running)"
