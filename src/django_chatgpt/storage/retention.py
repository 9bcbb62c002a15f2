"""Old rows, found and taken away some at a time.

Each batch is one transaction of a few statements; nothing is kept in memory but the keys of one batch.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db.models import Exists, OuterRef, Q, QuerySet

from django_chatgpt.models import (
    AIBudget,
    AIConversation,
    AIFunctionCall,
    AIMessage,
    AITurn,
    AITurnEvent,
    EmbeddingJob,
    EmbeddingJobText,
    EmbeddingVector,
    IndexedPassage,
)
from django_chatgpt.models.embedding import EmbeddingVectorQuerySet
from django_chatgpt.storage.conversations import hold_whole
from django_chatgpt.storage.indexes import MADE_FOR_INDEX
from django_chatgpt.storage.primary import atomic, primary, retried

ROWS_AT_ONCE = 1000


def pages(rows: QuerySet[Any], size: int) -> Iterator[list[Any]]:
    """The keys of `rows`, so many at a time, in their order; what is added behind meanwhile comes too."""
    rows = rows.order_by("pk").values_list("pk", flat=True)
    keys = list(rows[:size])
    while keys:
        yield keys
        if len(keys) < size:
            return
        keys = list(rows.filter(pk__gt=keys[-1])[:size])


def delete_rows(rows: QuerySet[Any], size: int = ROWS_AT_ONCE) -> int:
    """Delete rows, so many in a statement; how many they were."""
    deleted = 0
    for keys in pages(rows, size):
        deleted += (
            rows.model._default_manager.using(primary())
            .filter(pk__in=keys)
            .delete()[1]
            .get(rows.model._meta.label, 0)
        )
    return deleted


def resting() -> QuerySet[AIConversation]:
    """Conversations that no turn holds."""
    active = AITurn.objects.using(primary()).active().filter(conversation_id=OuterRef("pk"))
    return AIConversation.objects.using(primary()).filter(~Exists(active))


def archive(keys: Sequence[UUID], unused: Q) -> int:
    """Archive those of some conversations that are still `unused`; the time of their last use stays."""
    rows = resting().filter(unused, pk__in=keys, is_active=True)
    return retried(lambda: rows.update(is_active=False))


def delete_conversations(keys: Sequence[UUID], unused: Q | None = None) -> int:
    """Delete those of some conversations that no turn holds and that are still `unused`, with all that they
    have; how many they were. Rows of the ledger and alerts stay, without them.
    """
    return retried(lambda: _delete_conversations(keys, unused or Q()))


def _delete_conversations(keys: Sequence[UUID], unused: Q) -> int:
    rows = AIConversation.objects.using(primary()).filter(unused, pk__in=keys)
    with atomic():
        held = hold_whole(rows)
        active = AITurn.objects.using(primary()).active().filter(conversation_id__in=held)
        busy = set(active.values_list("conversation_id", flat=True))
        free = [key for key in held if key not in busy]
        if not free:
            return 0
        of_turns = Q(turn__conversation_id__in=free)
        # What hangs on them goes first, so many rows at a time: a conversation may have any number.
        delete_rows(AITurnEvent.objects.using(primary()).filter(of_turns))
        delete_rows(AIFunctionCall.objects.using(primary()).filter(of_turns))
        delete_rows(AIMessage.objects.using(primary()).filter(conversation_id__in=free))
        delete_rows(AITurn.objects.using(primary()).filter(conversation_id__in=free))
        AIConversation.objects.using(primary()).filter(pk__in=free).delete()
    return len(free)


def embeddings_before(moment: datetime) -> EmbeddingVectorQuerySet:
    """Vectors that nobody has written since, and that are no passage of an index."""
    passage = IndexedPassage.objects.using(primary()).filter(content_hash=OuterRef("content_hash"))
    rows = EmbeddingVector.objects.using(primary()).filter(updated_at__lt=moment)
    return rows.filter(~Q(owner_key="") | (~Exists(passage) & ~Q(metadata=MADE_FOR_INDEX)))


def delete_embeddings(keys: Sequence[UUID], before: datetime) -> int:
    """Delete those of some vectors that are as old as they were, and no passage of an index; how many."""
    return retried(lambda: _delete_embeddings(keys, before))


def _delete_embeddings(keys: Sequence[UUID], before: datetime) -> int:
    rows = EmbeddingVector.objects.using(primary()).filter(pk__in=keys, updated_at__lt=before)
    with atomic():
        # Held first and looked at then: an index that has begun to use one of them meanwhile, is seen.
        list(rows.order_by("pk").select_for_update().values_list("pk"))
        old = list(embeddings_before(before).filter(pk__in=keys).values_list("pk", flat=True))
        if old:
            EmbeddingVector.objects.using(primary()).filter(pk__in=old).delete()
    return len(old)


def jobs_before(moment: datetime) -> QuerySet[EmbeddingJob]:
    """Jobs of embeddings that were over by then."""
    rows = EmbeddingJob.objects.using(primary()).filter(updated_at__lt=moment)
    return rows.exclude(status__in=sorted(EmbeddingJob.OPEN))


def delete_jobs(keys: Sequence[UUID]) -> int:
    """Delete jobs and the texts that they could not embed; how many jobs."""
    texts = EmbeddingJobText.objects.using(primary()).filter(job_id__in=keys)

    def write() -> int:
        with atomic():
            delete_rows(texts)
            EmbeddingJob.objects.using(primary()).filter(pk__in=keys).delete()
        return len(keys)

    return retried(write)


def budgets_before(day: datetime, month: datetime) -> QuerySet[AIBudget]:
    """Memos of days that began before `day`, and of months and days that began before `month`."""
    rows = AIBudget.objects.using(primary())
    return rows.filter(Q(key__contains=":day:", starts_at__lt=day) | Q(starts_at__lt=month))
