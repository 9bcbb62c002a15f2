"""Jobs of embeddings: brought on by one process at a time, each step of it whole or not at all."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID

from django.db.models import Q
from django.utils import timezone

from django_chatgpt.models import EmbeddingJob, EmbeddingJobText, EmbeddingVector
from django_chatgpt.storage import embeddings
from django_chatgpt.storage.primary import primary
from django_chatgpt.storage.vectors import Scope

ROWS_AT_ONCE = 200


def create(job: EmbeddingJob, texts: Sequence[EmbeddingJobText]) -> None:
    """Write a job and its texts. Call it in a transaction."""
    EmbeddingJob.objects.using(primary()).bulk_create([job])
    EmbeddingJobText.objects.using(primary()).bulk_create(texts, batch_size=ROWS_AT_ONCE)


def get(job_id: UUID) -> EmbeddingJob:
    """A job with its user as it is now. EmbeddingJob.DoesNotExist: it is gone."""
    return EmbeddingJob.objects.using(primary()).select_related("user").get(pk=job_id)


def of_user(user: Any) -> list[EmbeddingJob]:
    """All jobs of a user, or of the site, the newest first."""
    return list(EmbeddingJob.objects.using(primary()).filter(user=user).order_by("-id"))


def open_jobs() -> list[EmbeddingJob]:
    """Everybody's jobs that are not over, the oldest first."""
    return list(EmbeddingJob.objects.using(primary()).filter(status__in=EmbeddingJob.OPEN).order_by("id"))


def named(ids: Iterable[UUID]) -> list[EmbeddingJob]:
    """The jobs with these ids, the oldest first."""
    rows = EmbeddingJob.objects.using(primary()).select_related("user")
    return list(rows.filter(pk__in=list(ids)).order_by("id"))


def take(job_id: UUID, holder: UUID, lease: timedelta) -> bool:
    """Hold an open job for `lease`; False while another does, and where it is over."""
    now = timezone.now()
    free = EmbeddingJob.objects.using(primary()).filter(
        Q(holder=None) | Q(held_until__lte=now), pk=job_id, status__in=EmbeddingJob.OPEN
    )
    return bool(free.update(holder=holder, held_until=now + lease, updated_at=now))


def note(job_id: UUID, holder: UUID, lease: timedelta, **values: Any) -> bool:
    """Write `values` and hold the job longer; False, and no change, for who holds it no more."""
    now = timezone.now()
    held = EmbeddingJob.objects.using(primary()).filter(
        pk=job_id, holder=holder, status__in=EmbeddingJob.OPEN
    )
    return bool(held.update(held_until=now + lease, updated_at=now, **values))


def let_go(job_id: UUID, holder: UUID) -> None:
    """Hold it no more."""
    EmbeddingJob.objects.using(primary()).filter(pk=job_id, holder=holder).update(
        holder=None, held_until=None, updated_at=timezone.now()
    )


def waiting(job_id: UUID) -> Iterator[EmbeddingJobText]:
    """The texts that have neither a vector nor an error, some at a time."""
    rows = EmbeddingJobText.objects.using(primary()).filter(job_id=job_id, error="").order_by("id")
    some = list(rows[:ROWS_AT_ONCE])
    while some:
        yield from some
        some = list(rows.filter(pk__gt=some[-1].pk)[:ROWS_AT_ONCE])


def left(job_id: UUID) -> list[EmbeddingJobText]:
    """The texts that have no vector."""
    return list(EmbeddingJobText.objects.using(primary()).filter(job_id=job_id).order_by("id"))


def find(job_id: UUID, hashes: Collection[str]) -> dict[str, EmbeddingJobText]:
    """Those of some texts that still lack a vector, by their sha256."""
    rows = EmbeddingJobText.objects.using(primary()).filter(job_id=job_id, content_hash__in=list(hashes))
    return {row.content_hash: row for row in rows}


def keep(scope: Scope, rows: Sequence[EmbeddingVector], done: Collection[EmbeddingJobText]) -> None:
    """Store vectors and strike their texts out. Call it in a transaction."""
    embeddings.add(scope, rows)
    EmbeddingJobText.objects.using(primary()).filter(pk__in=[text.pk for text in done]).delete()


def refuse(texts: Collection[EmbeddingJobText]) -> None:
    """Write the errors that are set in `texts`."""
    EmbeddingJobText.objects.using(primary()).bulk_update(texts, ["error"])


def end(job: EmbeddingJob, holder: UUID, status: str, error: str) -> bool:
    """Close a job, `error` being that of texts nothing was heard of; only one who holds it does. True: done.

    Call it in a transaction.
    """
    texts = EmbeddingJobText.objects.using(primary()).filter(job_id=job.pk)
    held = EmbeddingJob.objects.using(primary()).filter(
        pk=job.pk, holder=holder, status__in=EmbeddingJob.OPEN
    )
    if not held.update(status=status, updated_at=timezone.now()):
        return False
    texts.filter(error="").update(error=error)
    failed = texts.count()
    EmbeddingJob.objects.using(primary()).filter(pk=job.pk).update(failed=failed, done=job.total - failed)
    return True
