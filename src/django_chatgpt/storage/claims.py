"""Claims on texts that are being embedded: one holder for each, across threads, processes and machines."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import timedelta
from functools import partial
from uuid import UUID

from django.utils import timezone

from django_chatgpt.models import EmbeddingClaim
from django_chatgpt.storage.primary import primary, retried

BATCH = 500


def take(keys: Collection[str], holder: UUID, lease: timedelta) -> set[str]:
    """Claim what nobody holds; the keys that are `holder`'s now. Every statement commits by itself."""
    taken: set[str] = set()
    # In one order everywhere: of two who want the same, one waits for the other and neither for both.
    ordered = sorted(keys)
    for start in range(0, len(ordered), BATCH):
        taken |= retried(partial(_take, ordered[start : start + BATCH], holder, lease))
    return taken


def _take(keys: Sequence[str], holder: UUID, lease: timedelta) -> set[str]:
    rows, now = EmbeddingClaim.objects.using(primary()), timezone.now()
    known = dict(rows.filter(key__in=keys).values_list("key", "expires_at"))
    expired = [key for key, expires_at in known.items() if expires_at <= now]
    if expired:
        rows.filter(key__in=expired, expires_at__lte=now).delete()
    free = [key for key in keys if key not in known or key in expired]
    if not free:
        return set()
    rows.bulk_create(
        [EmbeddingClaim(key=key, holder=holder, expires_at=now + lease) for key in free],
        ignore_conflicts=True,
    )
    return set(rows.filter(key__in=free, holder=holder).values_list("key", flat=True))


def renew(holder: UUID, lease: timedelta) -> None:
    """Hold what is held a `lease` from now."""
    now = timezone.now()
    EmbeddingClaim.objects.using(primary()).filter(holder=holder).update(
        expires_at=now + lease, updated_at=now
    )


def release(holder: UUID, keys: Collection[str] | None = None) -> None:
    """Let go of some, or of everything that `holder` holds."""
    rows = EmbeddingClaim.objects.using(primary()).filter(holder=holder)
    if keys is None:
        rows.delete()
        return
    ordered = sorted(keys)
    for start in range(0, len(ordered), BATCH):
        rows.filter(key__in=ordered[start : start + BATCH]).delete()


def delete_expired() -> int:
    """Delete what dead processes have left; how many there were."""
    rows = EmbeddingClaim.objects.using(primary()).filter(expires_at__lte=timezone.now())
    return retried(lambda: rows.delete()[0])
