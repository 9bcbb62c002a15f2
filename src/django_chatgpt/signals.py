"""What a site may watch: observers are told afterwards and can change nothing.

Each is sent once what it tells of is committed, in the thread that has the database, and whatever a receiver
raises is logged by Django and goes no further. Arguments are ids, numbers and names of states; never the text
of a message, never a key. Where nobody listens, nothing is computed.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from django.db import transaction
from django.dispatch import Signal

__all__ = [
    "Observation",
    "alert_raised",
    "attempt_settled",
    "breaker_changed",
    "function_called",
    "turn_ended",
    "turn_started",
]


class Observation(Signal):
    """A signal for observers; `arguments` names what it carries."""

    def __init__(self, *arguments: str) -> None:
        super().__init__()
        self.arguments = arguments

    def tell(self, sender: Any, *, using: str, **values: Any) -> None:
        """Send it once the transaction that is open on the database `using` is committed; else now."""
        if not self.receivers:
            return
        if values.keys() != set(self.arguments):
            raise TypeError(f"The arguments are {', '.join(self.arguments)}; not {', '.join(values)}.")
        send = partial(self.send_robust, sender, **values)
        transaction.on_commit(send, using=using, robust=True)


turn_started = Observation("turn_id", "conversation_id", "user_id", "model", "resumed")
turn_ended = Observation(
    "turn_id", "conversation_id", "user_id", "status", "reason", "error_code", "model", "usage", "cost"
)
attempt_settled = Observation(
    "attempt_id",
    "turn_id",
    "conversation_id",
    "user_id",
    "kind",
    "base_url",
    "requested_model",
    "model",
    "outcome",
    "error_code",
    "usage",
    "usage_source",
    "cost",
    "started_at",
    "latency_ms",
    "time_to_first_token_ms",
)
function_called = Observation(
    "call_id", "turn_id", "conversation_id", "user_id", "name", "status", "error_code", "duration_ms"
)
alert_raised = Observation("alert_id", "kind", "severity", "user_id", "conversation_id")
breaker_changed = Observation("base_url", "model", "state", "previous", "failures", "retry_after")
