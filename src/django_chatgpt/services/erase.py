"""Take away every word of a user, and keep what it cost.

erase_user(user)   conversations with their messages, turns, calls and events; embeddings and jobs; cached
                   replies; what alerts say. Rows of the ledger stay, with their numbers
what_there_is(user)    how many rows of each that would be

It may be stopped at any time, and run again: what is gone is gone, and the rest goes then. What cannot be
reached from here: texts that the provider was sent, the site's own tables and logs, copies of the database.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, Final
from uuid import UUID

from django.db.models import QuerySet

from django_chatgpt.exceptions import ConflictError, NotFoundError
from django_chatgpt.models import AIAlert, AIConversation
from django_chatgpt.services import caching
from django_chatgpt.services.cancel import cancel
from django_chatgpt.services.sweeper import sweep
from django_chatgpt.storage import erasure as storage
from django_chatgpt.storage import function_jobs, personal
from django_chatgpt.storage.retention import delete_conversations, delete_rows, pages

PATIENCE_SECONDS: Final = 5.0
LOOK_SECONDS: Final = 0.1
ROUNDS: Final = 10
ROWS_AT_ONCE: Final = 100

#: Told how many rows were taken away, each time some were.
Progress = Callable[[int], object]


def what_there_is(user: Any) -> dict[str, int]:
    """How many rows there are of a user, by what they are."""
    return {table.name: table.rows(user.pk).count() for table in personal.TABLES}


def erase_user(
    user: Any,
    *,
    forget: bool = False,
    patience: float = PATIENCE_SECONDS,
    progress: Progress | None = None,
) -> dict[str, int]:
    """Take away all that a user has said and was told; how many conversations, embeddings, jobs and alerts.

    Turns that run are cancelled first; those that do not end within `patience` seconds are ended over the
    head of their process, which then can't write any more. `forget` takes the user's key out of the ledger,
    too. Raises ConflictError where the user goes on asking: have them signed out first.
    """
    user_id = user.pk

    def each(rows: QuerySet[Any], work: Callable[[Sequence[UUID]], int]) -> int:
        done = 0
        for keys in pages(rows, ROWS_AT_ONCE):
            number = work(keys)
            done += number
            if progress is not None:
                progress(number)
        return done

    done: dict[str, int] = {}
    _stop(user_id, patience)
    # While they still say which conversation they are about.
    done["alerts"] = each(storage.alerts_of(user_id), _blank_alerts)
    # Before the vectors: who takes in what came of a job finds no texts, or has stored them by then.
    done["embedding_jobs"] = each(storage.jobs_of(user_id), storage.blank_jobs)
    done["embeddings"] = each(
        storage.vectors_of(user_id),
        lambda keys: delete_rows(storage.vectors_of(user_id).filter(pk__in=keys)),
    )
    function_jobs.delete(function_jobs.of_user(user_id))
    done["conversations"] = 0
    for _ in range(ROUNDS):
        done["conversations"] += each(storage.conversations_of(user_id), _delete_conversations)
        each(storage.strays_of(user_id), storage.delete_turns)
        if not storage.turns_of(user_id).exists() and not storage.conversations_of(user_id).exists():
            break
        _stop(user_id, patience)
    else:
        raise ConflictError("The user goes on asking; have them signed out first.", code="turn_running")
    caching.forget(user_id)
    if forget:
        done["usage"] = storage.forget_user(user_id)
    storage.compact()
    return done


def _stop(user_id: Any, patience: float) -> None:
    """End all turns of a user, in peace if they will, and in any case."""
    active = storage.turns_of(user_id).active()
    for turn_id, asker in list(active.values_list("pk", "user_id")):
        try:
            cancel(turn_id, asker)
        except NotFoundError:
            continue  # it is gone
    until = time.monotonic() + patience
    while active.exists() and time.monotonic() < until:
        time.sleep(LOOK_SECONDS)
    for turn in active:
        sweep(turn, alive=True)


def _blank_alerts(keys: Sequence[UUID]) -> int:
    storage.blank_admin_log(AIAlert, keys)
    return storage.blank_alerts(keys)


def _delete_conversations(keys: Sequence[UUID]) -> int:
    storage.blank_admin_log(AIConversation, keys)
    return delete_conversations(keys)
