"""What is archived or deleted when its time is over.

clean                       all of it, as the settings say: what a site runs once a day
cleanup_old_conversations   conversations that nobody has used for some days
cleanup_old_embeddings      vectors that nobody has written for some days, and jobs that are over

All of these may be stopped, and run again, at any time, and by several processes at once. Rows of the ledger
are never deleted.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any, Final, Literal

from django.db.models import Q, QuerySet
from django.utils import timezone

from django_chatgpt.conf import conf
from django_chatgpt.exceptions import InvalidRequestError
from django_chatgpt.models import AIBudget, AITurn, AITurnEvent
from django_chatgpt.services import function_jobs
from django_chatgpt.services.periods import period_of
from django_chatgpt.services.sweeper import sweep_expired
from django_chatgpt.storage import events
from django_chatgpt.storage import indexes as index_storage
from django_chatgpt.storage import retention as storage

Action = Literal["archive", "delete"]
#: Told how many were taken away, each time some were.
Progress = Callable[[int], object]

CONVERSATIONS_AT_ONCE: Final = 100
EMBEDDINGS_AT_ONCE: Final = 500
MOST_DAYS: Final = 36_500


def clean(
    *,
    archive_after: int | None = None,
    delete_after: int | None = None,
    embeddings_after: int | None = None,
    dry_run: bool = False,
    progress: Progress | None = None,
) -> dict[str, int]:
    """Do all that is due, by these days or else by the settings; how many of each there were, or would be.

    The keys: turns_ended, jobs_ended (calls left to workers that none has begun, or ended, in time),
    events_deleted, jobs_deleted, conversations_deleted, conversations_archived, embeddings_deleted,
    budgets_deleted.
    """
    told: dict[str, Any] = {"dry_run": dry_run, "progress": progress}
    return {
        "turns_ended": AITurn.objects.expired().count() if dry_run else sweep_expired(),
        "jobs_ended": function_jobs.overdue().count() if dry_run else function_jobs.give_up_overdue(),
        "events_deleted": old_events().count() if dry_run else delete_old_events(),
        "jobs_deleted": function_jobs.old().count() if dry_run else function_jobs.delete_old(),
        # Before others are archived: what is deleted need not be.
        "conversations_deleted": cleanup_old_conversations(delete_after, action="delete", **told),
        "conversations_archived": cleanup_old_conversations(archive_after, **told),
        "embeddings_deleted": cleanup_old_embeddings(embeddings_after, **told),
        "budgets_deleted": old_budgets().count() if dry_run else delete_old_budgets(),
    }


def delete_old_budgets() -> int:
    """Delete what `old_budgets` finds; how many rows that were."""
    return storage.delete_rows(old_budgets())


def old_events() -> QuerySet[AITurnEvent]:
    """The events of turns that ended OPENAI_EVENT_RETENTION seconds ago."""
    return events.ended_before(timezone.now() - timedelta(seconds=conf.event_retention))


def delete_old_events() -> int:
    """Delete them; how many rows that were. A turn without events is still told in short."""
    return events.delete(old_events())


def old_budgets() -> QuerySet[AIBudget]:
    """What budgets need not add up again of days and months that have been over for a day."""
    yesterday = timezone.now() - timedelta(days=1)
    return storage.budgets_before(period_of("day", yesterday).start, period_of("month", yesterday).start)


def cleanup_old_conversations(
    days: int | None = None,
    *,
    action: Action = "archive",
    older_than: int = 0,
    archived_only: bool = False,
    dry_run: bool = False,
    progress: Progress | None = None,
) -> int:
    """Archive or delete the conversations that nobody has used for `days` days; how many.

    `days` is OPENAI_ARCHIVE_AFTER or OPENAI_DELETE_AFTER if None; where that is None, too, nothing is done.
    `older_than`: only those that were begun so many days ago. `archived_only`: delete only what was archived
    before. One that a turn holds is left alone. What was deleted is gone with messages, turns, calls and
    events; its rows in the ledger stay, and name it no more.
    """
    if action not in ("archive", "delete"):
        raise InvalidRequestError(fields={"action": 'must be "archive" or "delete".'})
    if days is None:
        days = conf.archive_after if action == "archive" else conf.delete_after
    if days is None:
        return 0
    now = timezone.now()
    unused = Q(updated_at__lt=now - _span("days", days))
    if older_than:
        unused &= Q(created_at__lt=now - _span("older_than", older_than))
    if action == "archive":
        unused &= Q(is_active=True)
    elif archived_only:
        unused &= Q(is_active=False)
    rows = storage.resting().filter(unused)
    if dry_run:
        return rows.count()
    work = storage.archive if action == "archive" else storage.delete_conversations
    done = 0
    for keys in storage.pages(rows, CONVERSATIONS_AT_ONCE):
        number = work(keys, unused)
        done += number
        if progress is not None:
            progress(number)
    return done


def cleanup_old_embeddings(
    days: int | None = None,
    *,
    model: str | None = None,
    dry_run: bool = False,
    progress: Progress | None = None,
) -> int:
    """Delete the vectors that nobody has written for `days` days and no index needs; how many.

    `days` is OPENAI_EMBEDDING_RETENTION if None; where that is None, too, nothing is done. `model`: only
    those that this model has made. Jobs of embeddings that have been over so long go with them, and vectors
    that an index has made and lost.
    """
    days = conf.embedding_retention if days is None else days
    if days is None:
        return 0
    before = timezone.now() - _span("days", days)
    rows = storage.embeddings_before(before)
    jobs = storage.jobs_before(before)
    if model is not None:
        rows, jobs = rows.filter(model=model), jobs.filter(model=model)
    if dry_run:
        return rows.count()
    done = 0
    for keys in storage.pages(rows, EMBEDDINGS_AT_ONCE):
        number = storage.delete_embeddings(keys, before)
        done += number
        if progress is not None:
            progress(number)
    for keys in storage.pages(jobs, CONVERSATIONS_AT_ONCE):
        storage.delete_jobs(keys)
    index_storage.drop_orphans()
    return done


def _span(name: str, days: int) -> timedelta:
    if isinstance(days, bool) or not isinstance(days, int) or not 0 <= days <= MOST_DAYS:
        raise InvalidRequestError(fields={name: f"must be a whole number from 0 to {MOST_DAYS}."})
    return timedelta(days=days)
