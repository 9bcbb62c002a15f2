"""The calls of functions: written before they are made, decided at most once, answered at most once."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.db.models import QuerySet
from django.utils import timezone

from django_chatgpt.core.messages import FunctionCall, FunctionResult, storable
from django_chatgpt.models import AIFunctionCall, AITurn
from django_chatgpt.storage.primary import primary

Status = AIFunctionCall.Status
DECIDED = (Status.APPROVED, Status.DENIED, Status.EXPIRED)


@dataclass(frozen=True, slots=True)
class RecordedCall:
    """A call as it is written down; `expires_at` is there if it waits for a person."""

    call: FunctionCall
    fingerprint: str
    expires_at: datetime | None = None


def record(turn_id: UUID, calls: Sequence[RecordedCall]) -> None:
    """Write calls down before any of them is made."""
    AIFunctionCall.objects.using(primary()).bulk_create(
        AIFunctionCall(
            turn_id=turn_id,
            call_id=each.call.id,
            name=each.call.name[:150],
            arguments=storable(each.call.arguments),
            fingerprint=each.fingerprint,
            status=Status.AWAITING_APPROVAL if each.expires_at else Status.RUNNING,
            expires_at=each.expires_at,
        )
        for each in calls
    )


def of_turn(turn_id: UUID, *statuses: str) -> QuerySet[AIFunctionCall]:
    return AIFunctionCall.objects.using(primary()).filter(turn_id=turn_id, status__in=statuses).order_by("id")


def settle(turn_id: UUID, results: Iterable[FunctionResult]) -> None:
    """Write down how calls ended."""
    now = timezone.now()
    for result in results:
        made = AIFunctionCall.objects.using(primary()).filter(
            turn_id=turn_id, call_id=result.call.id, status__in=(Status.RUNNING, Status.APPROVED)
        )
        made.update(
            status=Status.COMPLETED if result.status == "completed" else Status.FAILED,
            error_code=result.error_code,
            duration_ms=result.duration_ms,
            updated_at=now,
        )


def give_up(turn_id: UUID) -> None:
    """Nobody will hear of the calls that are still being made, nor decide those that wait."""
    now = timezone.now()
    of_turn(turn_id, Status.RUNNING, Status.APPROVED).update(status=Status.UNKNOWN, updated_at=now)
    of_turn(turn_id, Status.AWAITING_APPROVAL).update(status=Status.EXPIRED, updated_at=now)


def decide(call: AIFunctionCall, status: str, user_id: Any, arguments: str, fingerprint: str) -> bool:
    """Write a person's decision; False if somebody has decided before or the time is over."""
    now = timezone.now()
    open_calls = AIFunctionCall.objects.using(primary()).filter(
        pk=call.pk, status=Status.AWAITING_APPROVAL, expires_at__gt=now
    )
    return bool(
        open_calls.update(
            status=status,
            arguments=arguments,
            fingerprint=fingerprint,
            decided_by_id=user_id,
            decided_at=now,
            updated_at=now,
        )
    )


def lock(turn_id: UUID) -> None:
    """Let one transaction at a time decide about a turn's calls, by a write that all of them begin with."""
    AITurn.objects.using(primary()).filter(pk=turn_id).update(updated_at=timezone.now())


def resume(turn_id: UUID, lease: timedelta, *, waits: bool = False) -> bool:
    """Set a resting turn going if all its calls are decided; of several who try, one is told True.

    With `waits` it goes on when a worker takes it.
    """
    if of_turn(turn_id, Status.AWAITING_APPROVAL).exists():
        return False
    now = timezone.now()
    resting = AITurn.objects.using(primary()).filter(pk=turn_id, status=AITurn.Status.AWAITING_APPROVAL)
    status = AITurn.Status.QUEUED if waits else AITurn.Status.RUNNING
    resumed = bool(resting.update(status=status, lease_expires_at=now + lease, updated_at=now))
    if resumed and not waits:
        begin(turn_id)
    return resumed


def begin(turn_id: UUID) -> None:
    """The calls that a person has agreed to are about to be made."""
    of_turn(turn_id, Status.APPROVED).update(status=Status.RUNNING, updated_at=timezone.now())
