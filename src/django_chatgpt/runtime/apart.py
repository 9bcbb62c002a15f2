"""Drive a turn in a thread of its own, and let the thread that waits be broken off.

Signals reach the main thread alone, anywhere in what it does: the time limit of a worker, or the word to
end now, would come between two statements of a transaction. Here it comes while nothing is done but waiting.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from concurrent.futures import Future, wait
from contextlib import suppress
from uuid import UUID

from django_chatgpt.runtime import stops
from django_chatgpt.runtime.inline import in_a_thread

TELL_SECONDS = 2.0
#: How long a turn may take to end that has been interrupted: to write its text down, and no more.
END_SECONDS = 20.0
LOOK_SECONDS = 0.1

logger = logging.getLogger("django_chatgpt.turns")


def run(turn_id: UUID, drive: Callable[[], None], tell: Callable[[], object] | None = None) -> None:
    """Do `drive` and wait for it; `tell` is called meanwhile, and what it raises goes into the log.

    What is raised in the thread that waits interrupts the turn. An exception ends here, as the turn has
    ended in peace; the end of the process, which is more than that, is passed on.
    """
    driving = in_a_thread(drive)
    try:
        while not wait({driving}, timeout=TELL_SECONDS).done:
            if tell is not None:
                _tell(tell)
    except BaseException as error:
        _interrupt(turn_id, driving)
        logger.warning("turn %s was interrupted: %s", turn_id, type(error).__qualname__)
        if not isinstance(error, Exception):
            raise
        return
    driving.result()


def _tell(tell: Callable[[], object]) -> None:
    # A time limit, which may come here too, has to go on.
    try:
        tell()
    except (OSError, RuntimeError) as error:
        logger.warning("progress can't be told: %s", type(error).__qualname__)


def _interrupt(turn_id: UUID, driving: Future[None]) -> None:
    for _ in range(round(END_SECONDS / LOOK_SECONDS)):
        # Again and again: it may be about to begin, and not hear anything yet.
        stops.stop(turn_id, "interrupted")
        with suppress(Exception):
            if wait({driving}, timeout=LOOK_SECONDS).done:
                return
