"""Hold everything that repeats the ledger against it, and mend what says something else."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from django.utils import timezone

from django_chatgpt.services.sweeper import release_dead
from django_chatgpt.storage import audit as storage
from django_chatgpt.storage.audit import Totals

Advance = Callable[[int], None]


def count() -> int:
    """How many conversations there are to look at."""
    return storage.conversations().count()


def check(advance: Advance) -> Iterator[Totals]:
    """The conversations whose totals are not the sums of their rows in the ledger."""
    last = None
    while True:
        wrong, looked, last = storage.differing(last)
        if last is None:
            return
        yield from wrong
        advance(looked)


def rebuild(advance: Advance) -> Iterator[Totals]:
    """Set such totals right; what they were. A settling at the same moment is not lost."""
    last = None
    while True:
        wrong, looked, last = storage.differing(last)
        if last is None:
            return
        if wrong:
            yield from storage.rebuild([each.conversation_id for each in wrong])
        advance(looked)


def stray_reservations() -> int:
    """How many rows hold something of a budget though no attempt stands behind it any more."""
    return storage.strays(timezone.now()).count()


def release_strays() -> int:
    """End what dead processes have left and release what is held for nobody; how many rows that were.

    Budgets add up their periods anew afterwards.
    """
    before = stray_reservations()
    release_dead()
    storage.release_strays(timezone.now())
    storage.forget_memos()
    return before
