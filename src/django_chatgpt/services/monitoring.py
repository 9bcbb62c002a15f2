"""What those who run the site see happening: what the signals tell, sent to the sockets of staff.

Ids, numbers and names of states; never the text of a message.
"""

from __future__ import annotations

from decimal import Decimal
from functools import partial
from typing import Any, Final

from django_chatgpt.core.messages import TokenUsage
from django_chatgpt.services.notifications import broadcast
from django_chatgpt.services.shown import money
from django_chatgpt.signals import Observation, alert_raised, breaker_changed, turn_ended, turn_started

GROUP = "ai_monitoring"

WATCHED: Final[dict[str, Observation]] = {
    "turn_started": turn_started,
    "turn_ended": turn_ended,
    "alert_raised": alert_raised,
    "breaker_changed": breaker_changed,
}


def subscribe() -> None:
    """Have everything that happens in this process sent; again changes nothing."""
    for name, signal in WATCHED.items():
        signal.connect(_RECEIVERS[name], dispatch_uid=_uid(name))


def unsubscribe() -> None:
    """Have nothing sent any more."""
    for name, signal in WATCHED.items():
        signal.disconnect(dispatch_uid=_uid(name))


def _uid(name: str) -> str:
    return f"django_chatgpt.monitoring.{name}"


def _tell(name: str, **values: Any) -> None:
    data = {argument: _plain(values[argument]) for argument in WATCHED[name].arguments}
    broadcast(GROUP, {"type": "ai_monitoring_event", "event": name, "data": data})


def _plain(value: Any) -> Any:
    if isinstance(value, Decimal):
        return money(value)
    return value.model_dump() if isinstance(value, TokenUsage) else value


#: Signals keep receivers weakly.
_RECEIVERS: Final = {name: partial(_tell, name) for name in WATCHED}
