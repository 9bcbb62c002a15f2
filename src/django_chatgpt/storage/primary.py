"""The database that the site's routers send the app's writes to: the engine reads and writes there alone.

A copy of it may be behind; who decides by what a copy says decides wrongly.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, TypeVar

from django.db import OperationalError, connections, router, transaction
from django.db.models import F, Q, QuerySet

from django_chatgpt.models import AITurn

Answer = TypeVar("Answer")

TRIES = 8
PAUSE_SECONDS = 0.02  # times the number of tries: those who met shall not meet again
BATCH = 500


def primary() -> str:
    """The alias of that database."""
    alias: str = router.db_for_write(AITurn)
    return alias


def atomic() -> AbstractContextManager[None]:
    """A transaction there, whole or not at all."""
    return transaction.atomic(using=primary())


def in_transaction() -> bool:
    """Whether this thread has a transaction open there."""
    return bool(transaction.get_connection(primary()).in_atomic_block)


def retried(work: Callable[[], Answer]) -> Answer:
    """Do `work`, and again if the database gave it up, as MariaDB and PostgreSQL do with a deadlock's loser.

    Within a caller's transaction it is done once: the database has taken that one back as a whole.
    """
    for tried in range(1, TRIES):
        try:
            return work()
        except OperationalError:
            if in_transaction():
                raise
            pause(tried)
    return work()


def pause(tried: int) -> None:
    """Wait by chance, and longer the more often was tried."""
    time.sleep(random.uniform(0, PAUSE_SECONDS * tried))


def update_found(rows: QuerySet[Any], still: Q, **values: Any) -> int:
    """Change what `rows` are at a look that locks nothing, where it is `still` so; how many they were.

    An update by what other tables say has MariaDB lock all that it reads there, in whatever order.
    """
    changed = 0
    while keys := list(rows.values_list("pk", flat=True)[:BATCH]):
        named = rows.model._base_manager.using(primary()).filter(still, pk__in=sorted(keys))
        some = retried(lambda named=named: named.update(**values))  # type: ignore[misc]
        changed += some
        if not some or len(keys) < BATCH:
            break
    return changed


def hold(rows: QuerySet[Any], by: str = "pk") -> None:
    """Lock `rows` for writing until the end of the transaction, in the order of the column `by`.

    Rows that refer to them may be written meanwhile: PostgreSQL looks at foreign keys when a transaction
    commits, and whoever then had to wait for these rows would hold everything else.

    On SQLite, where any write locks everything, it is one: a transaction that begins by reading can't wait
    there for another writer.
    """
    features = connections[primary()].features
    if features.has_select_for_update:
        locked = rows.order_by(by).select_for_update(no_key=features.has_select_for_no_key_update)
        list(locked.values_list("pk"))
    else:
        rows.order_by().update(updated_at=F("updated_at"))
