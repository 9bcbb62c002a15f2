"""What pybreaker needs of us: its state in a cache of Django's, and what became of a call, told afterwards.

A call of a model may take minutes and be awaited on an event loop, so the library never wraps one; it is
told the outcome when the attempt is settled.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final

import pybreaker
from django.core.cache.backends.base import BaseCache

CLOSED: Final = pybreaker.STATE_CLOSED
OPEN: Final = pybreaker.STATE_OPEN

#: Failures in a row count together within this time; an open breaker that nobody asks is forgotten after it.
KEPT_SECONDS: Final = 600


class CacheStorage(pybreaker.CircuitBreakerStorage):
    """The state of one breaker under `key`; `seconds` is how long it stays open.

    A breaker at rest has no entries. `late` says that another process has opened it first.
    """

    def __init__(self, cache: BaseCache, key: str, seconds: float) -> None:
        super().__init__("cache")
        self.late = False
        self._cache = cache
        self._key = key
        self._kept = seconds + KEPT_SECONDS
        self._successes = 0

    @property
    def state(self) -> str:
        return str(self._cache.get(f"{self._key}.state", CLOSED))

    @state.setter
    def state(self, state: str) -> None:
        name = f"{self._key}.state"
        if state == CLOSED:
            self._cache.delete_many([name, f"{self._key}.opened", f"{self._key}.probe"])
        elif state == OPEN and self._cache.add(name, state, self._kept):
            self.late = False
        else:
            self.late = self._cache.get(name) == state
            self._cache.set(name, state, self._kept)

    @property
    def counter(self) -> int:
        return int(self._cache.get(f"{self._key}.failures", 0))

    def increment_counter(self) -> None:
        name = f"{self._key}.failures"
        if not self._cache.add(name, 1, KEPT_SECONDS):
            try:
                self._cache.incr(name)
            except ValueError:  # it has just expired
                self._cache.add(name, 1, KEPT_SECONDS)

    def reset_counter(self) -> None:
        self._cache.delete(f"{self._key}.failures")

    @property
    def success_counter(self) -> int:
        return self._successes

    def increment_success_counter(self) -> None:
        self._successes += 1

    def reset_success_counter(self) -> None:
        self._successes = 0

    @property
    def opened_at(self) -> datetime | None:
        opened = self._cache.get(f"{self._key}.opened")
        return None if opened is None else datetime.fromtimestamp(opened, UTC)

    @opened_at.setter
    def opened_at(self, opened: datetime) -> None:
        self._cache.set(f"{self._key}.opened", opened.timestamp(), self._kept)

    def claim(self, seconds: float) -> bool:
        """Take the one place of those who try, for so long; False if it is taken."""
        return bool(self._cache.add(f"{self._key}.probe", 1, seconds))

    def release(self) -> None:
        """Give the place back."""
        self._cache.delete(f"{self._key}.probe")


class Breaker(pybreaker.CircuitBreaker):
    """A breaker for one moment, with what it has changed: (state, the one before) each."""

    def __init__(self, storage: CacheStorage, failures: int, seconds: float) -> None:
        self.changes: list[tuple[str, str]] = []
        super().__init__(
            fail_max=failures,
            reset_timeout=seconds,
            state_storage=storage,
            listeners=[_Changes(storage, self.changes)],
        )

    def told(self, works: bool) -> None:
        """Count a call that somebody has made. An open breaker takes no notice of one that began before."""
        try:
            self.call(_succeed if works else _fail)
        except (_Failed, pybreaker.CircuitBreakerError):
            return


class _Changes(pybreaker.CircuitBreakerListener):
    def __init__(self, storage: CacheStorage, changes: list[tuple[str, str]]) -> None:
        self._storage = storage
        self._changes = changes

    def state_change(self, cb: Any, old_state: Any, new_state: Any) -> None:
        if not self._storage.late:
            self._changes.append((new_state.name, old_state.name))


class _Failed(Exception):
    pass


def _succeed() -> None:
    pass


def _fail() -> None:
    raise _Failed
