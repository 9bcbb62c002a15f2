"""The turns that wait for a worker: claimed once, handed to another once, or ended without having begun."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

from django.db.models import QuerySet
from django.utils import timezone

from django_chatgpt.models import AIMessage, AITurn
from django_chatgpt.storage.primary import primary
from django_chatgpt.storage.turns import is_expired

#: In the options of a turn: how often it was handed over to another worker.
HANDED_OVER = "handed_over"


def waiting(turn_id: UUID) -> QuerySet[AITurn]:
    return AITurn.objects.using(primary()).filter(pk=turn_id, status=AITurn.Status.QUEUED)


def claim(turn: AITurn, lease: timedelta) -> bool:
    """Begin a turn that waits; of several who try, one is told True. The object is as the row then."""
    now = timezone.now()
    values = {"status": AITurn.Status.RUNNING, "lease_expires_at": now + lease, "updated_at": now}
    if turn.started_at is None:
        values["started_at"] = now
    if not waiting(turn.pk).update(**values):
        return False
    for name, value in values.items():
        setattr(turn, name, value)
    return True


def hand_over(turn: AITurn, patience: timedelta) -> bool:
    """Have a turn wait again, as nobody has begun it in time; of several who try, one is told True."""
    now = timezone.now()
    if not is_expired(turn, now):
        return False
    options = turn.options | {HANDED_OVER: turn.options.get(HANDED_OVER, 0) + 1}
    overdue = waiting(turn.pk).filter(lease_expires_at=turn.lease_expires_at)
    return bool(overdue.update(options=options, lease_expires_at=now + patience, updated_at=now))


def give_up(turn_id: UUID, status: str, code: str, message: str) -> bool:
    """End a turn of that status that has asked nobody anything. False: it has another status by now."""
    now = timezone.now()
    rows = AITurn.objects.using(primary()).filter(pk=turn_id, status=status)
    return bool(
        rows.update(
            status=AITurn.Status.FAILED,
            active_conversation=None,
            error_code=code,
            error_message=message,
            lease_expires_at=None,
            finished_at=now,
            updated_at=now,
        )
    )


def find(turn_id: UUID) -> AITurn | None:
    """A turn with all that it takes to answer it."""
    turns = AITurn.objects.using(primary()).select_related("user", "conversation__configuration")
    return turns.filter(pk=turn_id).first()


def question_of(turn_id: UUID) -> AIMessage:
    """The question of a turn, refused or not judged yet as it may be."""
    return AIMessage.objects.using(primary()).get(turn_id=turn_id, role=AIMessage.Role.USER)


def answers_of(turn_id: UUID) -> int:
    """How often the model has answered in a turn: 0 if it was never begun."""
    said = AIMessage.objects.using(primary()).filter(turn_id=turn_id, role=AIMessage.Role.ASSISTANT)
    return said.count()
