"""The database that the site's routers send the app's writes to: the engine reads and writes there alone.

A copy of it may be behind; who decides by what a copy says decides wrongly.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TypeVar

from django.db import OperationalError, router, transaction

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
