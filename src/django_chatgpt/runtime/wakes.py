"""Who waits for news of a turn in this process, and is woken when some of it has been written.

Whoever follows a turn looks at what is stored, and looks again after a while; being woken makes that prompt.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from uuid import UUID

Wake = Callable[[], object]

_lock = threading.Lock()
_waiting: dict[UUID, list[Wake]] = {}


@contextmanager
def waiting(turn_id: UUID, wake: Wake) -> Iterator[None]:
    """Have `wake` called, in whichever thread, as often as something has been written of the turn."""
    with _lock:
        _waiting.setdefault(turn_id, []).append(wake)
    try:
        yield
    finally:
        with _lock:
            _waiting[turn_id].remove(wake)
            if not _waiting[turn_id]:
                del _waiting[turn_id]


def wake(*turn_ids: UUID) -> None:
    """Something has been written of these turns."""
    for turn_id in turn_ids:
        # Most turns are followed by nobody, and a dict is read whole.
        for each in tuple(_waiting.get(turn_id, ())):
            each()
