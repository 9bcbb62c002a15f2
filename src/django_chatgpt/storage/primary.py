"""The database that the site's routers send the app's writes to: the engine reads and writes there alone.

A copy of it may be behind; who decides by what a copy says decides wrongly.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, TypeVar

from django.db import OperationalError, connections, router, transaction
from django.db.models import F, QuerySet

from django_chatgpt.models import AITurn

Answer = TypeVar("Answer")

TRIES = 3


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
    for _ in range(TRIES - 1):
        try:
            return work()
        except OperationalError:
            if in_transaction():
                raise
    return work()


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
