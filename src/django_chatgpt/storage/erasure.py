"""The rows in which a user's words stand, and how they are taken away."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from django.apps import apps
from django.db import connections
from django.db.models import Model, Q, QuerySet
from django.utils import timezone

from django_chatgpt.models import (
    AIAlert,
    AIBudget,
    AIConversation,
    AIFunctionCall,
    AIMessage,
    AITurn,
    AITurnEvent,
    AIUsage,
    EmbeddingJob,
    EmbeddingJobText,
    EmbeddingScope,
    EmbeddingVector,
)
from django_chatgpt.models.turn import AITurnQuerySet
from django_chatgpt.storage.primary import atomic, in_transaction, primary, retried
from django_chatgpt.storage.retention import delete_rows, pages

ERASED = "Erased"


def turns_of(user_id: Any) -> AITurnQuerySet:
    """The turns that a user has asked, and those in the user's conversations."""
    whose = Q(user_id=user_id) | Q(conversation__user_id=user_id)
    return AITurn.objects.using(primary()).filter(whose)


def conversations_of(user_id: Any) -> QuerySet[AIConversation]:
    return AIConversation.objects.using(primary()).filter(user_id=user_id)


def strays_of(user_id: Any) -> QuerySet[AITurn]:
    """Turns of a user in conversations that are somebody else's."""
    return AITurn.objects.using(primary()).filter(user_id=user_id).exclude(conversation__user_id=user_id)


def vectors_of(user_id: Any) -> QuerySet[EmbeddingVector]:
    return EmbeddingVector.objects.using(primary()).of_owner(user_id)


def jobs_of(user_id: Any) -> QuerySet[EmbeddingJob]:
    return EmbeddingJob.objects.using(primary()).filter(user_id=user_id)


def alerts_of(user_id: Any) -> QuerySet[AIAlert]:
    """Alerts about a user, or about one of the user's conversations, that still say something."""
    rows = AIAlert.objects.using(primary())
    whose = Q(user_id=user_id) | Q(conversation__user_id=user_id)
    return rows.filter(whose).exclude(title=ERASED, description="", metadata={})


def usage_of(user_id: Any) -> QuerySet[AIUsage]:
    return AIUsage.objects.using(primary()).filter(user_id=user_id)


def blank_alerts(keys: Sequence[UUID]) -> int:
    """Leave of alerts when they were raised, how severe they are, and whom they are about."""
    rows = AIAlert.objects.using(primary()).filter(pk__in=keys)
    blank: dict[str, Any] = {"title": ERASED, "description": "", "metadata": {}}
    return retried(lambda: rows.update(**blank, updated_at=timezone.now()))


def blank_jobs(keys: Sequence[UUID]) -> int:
    """Take the texts of jobs away. Those that are over go; of the others what they cost has yet to come."""

    def write() -> int:
        rows = EmbeddingJob.objects.using(primary()).filter(pk__in=keys)
        with atomic():
            # A write first: whoever takes in what came of a job waits, and finds no texts any more.
            rows.update(metadata={}, updated_at=timezone.now())
            delete_rows(EmbeddingJobText.objects.using(primary()).filter(job_id__in=keys))
            rows.exclude(status__in=sorted(EmbeddingJob.OPEN)).delete()
        return len(keys)

    return retried(write)


def delete_turns(keys: Sequence[UUID]) -> int:
    """Delete turns with all that they have, and leave their conversations; those that are over alone."""

    def write() -> int:
        rows = AITurn.objects.using(primary()).filter(pk__in=keys, status__in=sorted(AITurn.OVER))
        with atomic():
            over = list(rows.select_for_update().values_list("pk", flat=True))
            for model in (AITurnEvent, AIFunctionCall, AIMessage):
                delete_rows(model._default_manager.using(primary()).filter(turn_id__in=over))
            AITurn.objects.using(primary()).filter(pk__in=over).delete()
        return len(over)

    return retried(write)


def forget_user(user_id: Any) -> int:
    """Take the user out of the ledger, and what is kept under the user's key; how many rows of it there were.

    What was spent stays, as spent by nobody.
    """
    number = 0
    for keys in pages(usage_of(user_id), 1000):
        rows = AIUsage.objects.using(primary()).filter(pk__in=keys)
        number += retried(lambda rows=rows: rows.update(user=None, updated_at=timezone.now()))  # type: ignore[misc]
    delete_rows(AIBudget.objects.using(primary()).filter(key__startswith=f"user:{user_id}:"))
    EmbeddingScope.objects.using(primary()).filter(user_id=user_id).delete()
    return number


def blank_admin_log(model: type[Model], keys: Sequence[UUID]) -> None:
    """The admin's own log repeats how an object was called."""
    if not apps.is_installed("django.contrib.admin"):
        return
    from django.contrib.admin.models import LogEntry
    from django.contrib.contenttypes.models import ContentType

    kind = ContentType.objects.get_for_model(model)
    names = [name for key in keys for name in (str(key), key.hex)]
    LogEntry.objects.filter(content_type=kind, object_id__in=names).update(object_repr=ERASED)


def compact() -> None:
    """Have SQLite leave nothing of what was deleted in its files; within a transaction it can't.

    Other databases do so by themselves, when they vacuum or purge.
    """
    connection = connections[primary()]
    if connection.vendor == "sqlite" and not in_transaction():
        with connection.cursor() as cursor:
            cursor.execute("VACUUM")
            cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)")
