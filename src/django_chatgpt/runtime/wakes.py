"""Who waits for news of a turn, and is woken when some of it has been written, in whichever process.

Whoever follows a turn looks at what is stored, and looks again after a while; being woken makes that prompt.
In the process that writes, everybody is woken; in others where there is a Redis to tell them by. Where that
works they need not look so often.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final
from uuid import UUID

from django_chatgpt.runtime import relay

#: Seconds after which somebody looks who is woken by other processes as well, but may have missed it.
SAFETY_SECONDS: Final = 5.0

Wake = Callable[[], object]

_lock = threading.Lock()
_waiting: dict[UUID, list[Wake]] = {}


@contextmanager
def waiting(turn_id: UUID, wake: Wake) -> Iterator[None]:
    """Have `wake` called, in whichever thread, as often as something has been written of the turn."""
    with _lock:
        _waiting.setdefault(turn_id, []).append(wake)
    try:
        relay.listen()
        yield
    finally:
        with _lock:
            _waiting[turn_id].remove(wake)
            if not _waiting[turn_id]:
                del _waiting[turn_id]


def wake(*turn_ids: UUID) -> None:
    """Something has been written of these turns. Returns at once, whatever becomes of Redis."""
    for turn_id in turn_ids:
        _wake_here(turn_id)
    relay.publish(turn_ids)


def patience(seconds: float) -> float:
    """How long to wait before one looks unwoken: `seconds`, or more while other processes wake this one."""
    return max(seconds, SAFETY_SECONDS) if relay.is_live() else seconds


def _wake_here(turn_id: UUID) -> None:
    # Most turns are followed by nobody, and a dict is read whole.
    for each in tuple(_waiting.get(turn_id, ())):
        each()


def _wake_all() -> None:
    for turn_id in tuple(_waiting):
        _wake_here(turn_id)


relay.join(relay.Ear(heard=_wake_here, roused=_wake_all, waits=lambda: bool(_waiting)))


def _new_process() -> None:
    """Nobody waits in a process that was forked just now; the lock may be held by a thread it has not."""
    global _lock
    _lock = threading.Lock()
    _waiting.clear()


if hasattr(os, "register_at_fork"):  # pragma: no branch
    os.register_at_fork(after_in_child=_new_process)
