"""Counters of requests in Django's cache, as the rate limiting library wants them.

Memcached, Redis and the memory of one process count atomically themselves. A cache in files or in a
table reads and writes in two steps, so those two are taken under a lock that all processes share.
"""

from __future__ import annotations

import math
import time
from collections.abc import Generator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

from django.core.cache.backends.base import BaseCache
from django.core.cache.backends.db import DatabaseCache
from django.core.cache.backends.filebased import FileBasedCache
from django.core.files import locks
from django.db import connections, router, transaction
from limits import RateLimitItem
from limits.storage import SlidingWindowCounterSupport, Storage
from limits.storage.base import TimestampedSlidingWindow
from limits.strategies import SlidingWindowCounterRateLimiter
from limits.util import WindowStats

LOCK_FILE = "django-chatgpt-rates.lock"


class CacheStorage(Storage, SlidingWindowCounterSupport, TimestampedSlidingWindow):
    """A sliding window of two counters: this window's, and the one before it by the share still in sight."""

    STORAGE_SCHEME = None

    def __init__(self, cache: BaseCache) -> None:
        super().__init__()
        self.cache = cache

    @property
    def base_exceptions(self) -> type[Exception]:
        return Exception

    def acquire_sliding_window_entry(self, key: str, limit: int, expiry: int, amount: int = 1) -> bool:
        now = time.time()
        previous_key, current_key = self.sliding_window_keys(key, expiry, now)
        in_sight = 1 - now % expiry / expiry
        allowed = limit - math.ceil(min(self.get(previous_key), limit) * in_sight)
        if self.incr(current_key, 2 * expiry, amount) <= allowed:
            return True
        # Whoever was refused does not count: else somebody who keeps asking would never get in again.
        self.incr(current_key, 2 * expiry, -amount)
        return False

    def get_sliding_window(self, key: str, expiry: int) -> tuple[int, float, int, float]:
        now = time.time()
        previous_key, current_key = self.sliding_window_keys(key, expiry, now)
        left = expiry - now % expiry
        return self.get(previous_key), left, self.get(current_key), left + expiry

    def clear_sliding_window(self, key: str, expiry: int) -> None:
        self.cache.delete_many(self.sliding_window_keys(key, expiry, time.time()))

    def incr(self, key: str, expiry: int, amount: int = 1) -> int:
        lock = shared_lock(self.cache, key, expiry)
        if lock is not None:
            with lock:
                count = max(0, self.get(key) + amount)
                self.cache.set(key, count, expiry)
                return count
        while amount < 0 or not self.cache.add(key, amount, expiry):
            try:
                return int(self.cache.incr(key, amount))
            except ValueError:
                # It has just expired.
                if amount < 0:
                    return 0
        return amount

    def get(self, key: str) -> int:
        return int(self.cache.get(key, 0))

    def get_expiry(self, key: str) -> float:
        return time.time()

    def check(self) -> bool:
        return True

    def reset(self) -> int | None:
        return None

    def clear(self, key: str) -> None:
        self.cache.delete(key)


class SlidingWindow(SlidingWindowCounterRateLimiter):
    """The library's, with the moment from which one more request is really let in."""

    def get_window_stats(self, item: RateLimitItem, *identifiers: str) -> WindowStats:
        expiry = item.get_expiry()
        storage: Any = self.storage
        previous, left, current, _ = storage.get_sliding_window(item.key_for(*identifiers), expiry)
        previous = min(previous, item.amount)
        spare = item.amount - 1 - current
        if spare < 0:
            wait = left + expiry / item.amount
        elif previous > spare:
            wait = max(0.0, left - expiry * spare / previous)
        else:
            wait = 0.0
        used = current + math.ceil(previous * left / expiry)
        return WindowStats(time.time() + wait, max(0, item.amount - used))


def shared_lock(cache: BaseCache, key: str, expiry: int) -> AbstractContextManager[None] | None:
    """What keeps other processes from a counter while it is read and written; None where it needs nothing."""
    # Where such a cache lies, only attributes tell that Django keeps for itself.
    inside: Any = cache
    if isinstance(cache, FileBasedCache):
        return _file_lock(Path(inside._dir))
    if isinstance(cache, DatabaseCache):
        return _row_lock(cache, inside._table, key, expiry)
    return None


@contextmanager
def _file_lock(folder: Path) -> Generator[None]:
    folder.mkdir(0o700, parents=True, exist_ok=True)
    with (folder / LOCK_FILE).open("ab") as file:
        locks.lock(file, locks.LOCK_EX)
        try:
            yield
        finally:
            locks.unlock(file)


@contextmanager
def _row_lock(cache: DatabaseCache, table: str, key: str, expiry: int) -> Generator[None]:
    """A transaction that holds the counter's row; it begins with a write, as SQLite wants it."""
    cache.add(key, 0, expiry)
    alias = router.db_for_write(cache.cache_model_class)
    name = connections[alias].ops.quote_name(table)
    hold = f"UPDATE {name} SET expires = expires WHERE cache_key = %s"
    with transaction.atomic(using=alias):
        with connections[alias].cursor() as cursor:
            cursor.execute(hold, [cache.make_and_validate_key(key)])
        yield
