"""Calls that wait for a worker: begun once, answered once."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.db.models import QuerySet
from django.utils import timezone

from django_chatgpt.core.messages import storable
from django_chatgpt.models import AIFunctionJob
from django_chatgpt.storage.primary import primary
from django_chatgpt.storage.retention import delete_rows

Status = AIFunctionJob.Status


def add(user_id: Any, name: str, arguments: str, patience: timedelta) -> AIFunctionJob:
    """Write down a call that is to be made."""
    until = timezone.now() + patience
    job = AIFunctionJob(user_id=user_id, name=name[:150], arguments=storable(arguments), held_until=until)
    job.save(using=primary(), force_insert=True)
    return job


def find(job_id: UUID) -> AIFunctionJob | None:
    return AIFunctionJob.objects.using(primary()).select_related("user").filter(pk=job_id).first()


def of_user(user_id: Any) -> QuerySet[AIFunctionJob]:
    return AIFunctionJob.objects.using(primary()).filter(user_id=user_id)


def begin(job_id: UUID, lease: timedelta) -> bool:
    """Begin a call that waits; of several who try, one is told True."""
    now = timezone.now()
    waiting = AIFunctionJob.objects.using(primary()).filter(pk=job_id, status=Status.QUEUED)
    return bool(waiting.update(status=Status.RUNNING, held_until=now + lease, updated_at=now))


def end(
    job_id: UUID, status: str, *, result: str = "", error_code: str = "", duration_ms: int | None = None
) -> bool:
    """Write down how a call ended that was begun; False if somebody else has."""
    begun = AIFunctionJob.objects.using(primary()).filter(pk=job_id, status=Status.RUNNING)
    return bool(
        begun.update(
            status=status,
            result=storable(result),
            error_code=error_code,
            duration_ms=duration_ms,
            held_until=None,
            updated_at=timezone.now(),
        )
    )


def overdue(now: datetime) -> QuerySet[AIFunctionJob]:
    """Those that nobody has begun, or ended, in time."""
    rows = AIFunctionJob.objects.using(primary()).filter(held_until__lt=now)
    return rows.filter(status__in=sorted(AIFunctionJob.OPEN))


def give_up(now: datetime) -> int:
    """Those that nobody has begun in time are failed, those that nobody has ended unknown; how many."""
    rows = overdue(now)
    gone = {"error_code": "interrupted", "held_until": None, "updated_at": now}
    return rows.filter(status=Status.QUEUED).update(status=Status.FAILED, **gone) + rows.filter(
        status=Status.RUNNING
    ).update(status=Status.UNKNOWN, **gone)


def ended_before(moment: datetime) -> QuerySet[AIFunctionJob]:
    """Those that were over by then."""
    rows = AIFunctionJob.objects.using(primary()).filter(updated_at__lt=moment)
    return rows.exclude(status__in=sorted(AIFunctionJob.OPEN))


def delete(rows: QuerySet[AIFunctionJob]) -> int:
    """Delete rows, some at a time; how many they were."""
    return delete_rows(rows)
