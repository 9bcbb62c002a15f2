"""What is logged of a turn that ended: ids and codes, never text."""

from __future__ import annotations

import logging
import traceback

from django_chatgpt.core.spec import Ending, TurnSpec

logger = logging.getLogger("django_chatgpt.turns")


def log_ending(spec: TurnSpec, ending: Ending) -> None:
    """Write one line; for an error nobody foresaw, also where it came from, but not what it said.

    The text of an unforeseen exception may quote a message or a key, so only its class and the places it
    passed are written.
    """
    error = ending.error
    if error is None:
        logger.info("turn %s %s (%s)", spec.turn_id, ending.status, ending.reason)
        return
    cause = error.__cause__
    if cause is None:
        logger.warning("turn %s %s: %s", spec.turn_id, ending.status, error.code)
        return
    logger.error(
        "turn %s %s: %s in\n%s",
        spec.turn_id,
        ending.status,
        type(cause).__qualname__,
        "".join(traceback.format_tb(cause.__traceback__)),
    )
