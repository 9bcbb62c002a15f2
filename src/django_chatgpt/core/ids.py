"""Identifiers that sort by the time they were made (RFC 9562, UUID version 7)."""

from __future__ import annotations

import os
import threading
import time
from uuid import UUID

__all__ = ["uuid7"]

_FRACTION_BITS = 12
_RANDOM_BITS = 62
_NS_PER_MS = 1_000_000

_lock = threading.Lock()
_last = 0


def uuid7() -> UUID:
    """Make a UUIDv7 that is greater than every other one made before in this process.

    Layout: 48 bits of Unix milliseconds, 12 bits of the fraction of that millisecond (244 ns each),
    62 random bits. When the clock stands still or goes back, the 60 bits of time count on by one.
    """
    global _last
    milliseconds, rest = divmod(time.time_ns(), _NS_PER_MS)
    now = milliseconds << _FRACTION_BITS | (rest << _FRACTION_BITS) // _NS_PER_MS
    with _lock:
        _last = now = max(now, _last + 1)
    tail = int.from_bytes(os.urandom(8), "big") >> 64 - _RANDOM_BITS
    milliseconds, fraction = now >> _FRACTION_BITS, now & (1 << _FRACTION_BITS) - 1
    return UUID(int=milliseconds << 80 | 0x7 << 76 | fraction << 64 | 0b10 << _RANDOM_BITS | tail)


def _renew_lock() -> None:
    """Give a forked child its own lock: the parent's may be held by a thread that the child has not."""
    global _lock
    _lock = threading.Lock()


if hasattr(os, "register_at_fork"):  # pragma: no branch - Windows has no fork
    os.register_at_fork(after_in_child=_renew_lock)
