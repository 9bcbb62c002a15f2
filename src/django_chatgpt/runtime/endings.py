"""What is logged of a turn that ended: ids, codes and numbers, never text."""

from __future__ import annotations

import logging
import traceback
from typing import Any

from django_chatgpt.core.spec import Ending, TurnSpec

logger = logging.getLogger("django_chatgpt.turns")


def log_ending(spec: TurnSpec, ending: Ending) -> None:
    """Write one record; for an error nobody foresaw, also where it came from, but not what it said.

    The text of an unforeseen exception may quote a message or a key, so only its class and the places it
    passed are written.
    """
    error = ending.error
    cause = error.__cause__ if error is not None else None
    level = logging.INFO if error is None else logging.WARNING if cause is None else logging.ERROR
    if not logger.isEnabledFor(level):
        return
    facts = _facts(spec, ending)
    if error is None:
        logger.info("turn %s %s (%s)", spec.turn_id, ending.status, ending.reason, extra=facts)
    elif cause is None:
        logger.warning("turn %s %s: %s", spec.turn_id, ending.status, error.code, extra=facts)
    else:
        places = "".join(traceback.format_tb(cause.__traceback__))
        kind = type(cause).__qualname__
        logger.error("turn %s %s: %s in\n%s", spec.turn_id, ending.status, kind, places, extra=facts)


def _facts(spec: TurnSpec, ending: Ending) -> dict[str, Any]:
    """The fields of the record; tokens and cost are None where the ending could not be stored."""
    settled = ending.settled
    return {
        "turn_id": spec.turn_id,
        "conversation_id": spec.conversation_id,
        "status": ending.status,
        "reason": ending.reason,
        "error_code": ending.error.code if ending.error else "",
        "model": ending.model,
        "prompt_tokens": settled.usage.prompt_tokens if settled else None,
        "completion_tokens": settled.usage.completion_tokens if settled else None,
        "total_tokens": settled.usage.total_tokens if settled else None,
        "cost": settled.cost if settled else None,
        "latency_ms": round(ending.seconds * 1000),
    }
