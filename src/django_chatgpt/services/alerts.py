"""What the people who run the site are told: as a row in the admin, a signal, and an e-mail if they like.

One thing is told once a day at most, whatever the number of processes. An alert that can't be raised is
logged; no turn fails for it.
"""

from __future__ import annotations

import logging
import threading
from functools import partial
from typing import Any
from uuid import UUID

from django.core.mail import send_mail
from django.db import transaction
from django.utils import timezone

from django_chatgpt.adapter import get_adapter
from django_chatgpt.models import AIAlert
from django_chatgpt.services.notifications import notify
from django_chatgpt.services.periods import period_of
from django_chatgpt.signals import alert_raised
from django_chatgpt.storage import alerts as storage
from django_chatgpt.storage.budgets import Standing
from django_chatgpt.storage.primary import atomic, primary

logger = logging.getLogger("django_chatgpt.alerts")

Severity = AIAlert.Severity
WARN_AT = (100, 80)  # per cent of a budget
REMEMBERED = 1000


class Told:
    """The keys that this process need not ask the database about again."""

    def __init__(self) -> None:
        self._keys: set[str] = set()
        self._lock = threading.Lock()

    def __contains__(self, key: str) -> bool:
        return key in self._keys

    def add(self, key: str) -> None:
        with self._lock:
            if len(self._keys) >= REMEMBERED:
                self._keys.clear()
            self._keys.add(key)

    def clear(self) -> None:
        self._keys.clear()


told = Told()


def raise_alert(
    kind: str,
    key: str,
    *,
    severity: str,
    title: str,
    description: str,
    user_id: Any = None,
    conversation_id: UUID | None = None,
    metadata: dict[str, Any] | None = None,
) -> bool:
    """Raise an alert unless one of this key exists; True if this call did.

    `kind` is the word the signal carries: "budget", "cost", "price", "breaker", "report". `key` names what it
    is about and when, such as "cost:day:2026-11-22".
    """
    if key in told:
        return False
    alert = storage.make(
        key,
        severity=severity,
        title=title,
        description=description,
        user_id=user_id,
        conversation_id=conversation_id,
        metadata=metadata,
    )
    try:
        with atomic():
            added = storage.add(alert)
            if added:
                _tell(kind, alert)
            _remember(key)
    except Exception as error:
        logger.error("The alert %s can't be raised: %s", key, type(error).__name__)
        return False
    return added


def _tell(kind: str, alert: AIAlert) -> None:
    using = primary()
    alert_raised.tell(
        AIAlert,
        using=using,
        alert_id=alert.pk,
        kind=kind,
        severity=str(alert.severity),
        user_id=alert.user_id,
        conversation_id=alert.conversation_id,
    )
    if alert.user_id is not None:
        notify(alert.user_id, _notice(kind, alert))
    recipients = get_adapter().alert_recipients(alert)
    if recipients:
        transaction.on_commit(
            lambda: _mail(alert, [str(address) for address in recipients]), using=using, robust=True
        )


def _notice(kind: str, alert: AIAlert) -> dict[str, Any]:
    """What the user is told of an alert about them: that there is one, and of their own budget which.

    What else it says is for those who run the site.
    """
    notice = {"event": "alert", "alert_id": alert.pk, "kind": kind, "severity": str(alert.severity)}
    return notice | {"title": alert.title} if kind == "budget" else notice


def _remember(key: str) -> None:
    """Not before it is committed: a transaction that is taken back takes the alert with it."""
    transaction.on_commit(partial(told.add, key), using=primary())


def _mail(alert: AIAlert, recipients: list[str]) -> None:
    send_mail(alert.title, alert.description, None, recipients)


def unknown_price(model: str) -> None:
    """The price of a model that is used is not known: one alert that somebody has to deal with."""
    prefix = f"price:{model}:"
    key = prefix + period_of("day", timezone.now()).label
    if key in told:
        return
    try:
        if storage.is_open(prefix):
            _remember(key)
            return
    except Exception as error:
        logger.error("Alerts can't be read: %s", type(error).__name__)
        return
    raise_alert(
        "price",
        key,
        severity=Severity.WARNING,
        title=f"The price of {model} is not known",
        description=(
            f"Calls of {model} are in the ledger with their tokens and without a cost; budgets refuse them. "
            "Set its price in OPENAI_PRICES; then chatgpt_reprice gives the calls already made their cost."
        ),
        metadata={"model": model},
    )


def budget(standing: Standing, *, refused: bool = False) -> None:
    """Tell of a budget that is used up, or by four fifths: each once in its period."""
    window = standing.window
    spent = standing.used if refused else standing.spent
    reached = next((level for level in WARN_AT if spent * 100 >= window.limit * level), None)
    if refused:
        reached = WARN_AT[0]
    if reached is None:
        return
    owner = {"user": f"user {window.owner}", "group": f"the group {window.name}"}.get(window.kind, "the site")
    what = "is used up" if spent >= window.limit else f"is used by {reached} %"
    if refused and spent < window.limit:
        what = "has too little left for a question"
    raise_alert(
        "budget",
        f"budget:{window.key}:{reached}",
        severity=Severity.ERROR if reached == WARN_AT[0] else Severity.WARNING,
        title=f"The budget of {owner} for the {window.period} {what}",
        description=(
            f"{standing.spent:f} of {window.limit:f} USD are spent and {standing.reserved:f} USD reserved in "
            f"{window.label}." + (" A question was refused." if refused else "")
        ),
        user_id=window.owner if window.kind == "user" else None,
        metadata={"window": window.key, "limit": str(window.limit), "percent": reached},
    )


def threshold(standing: Standing) -> bool:
    """Tell of a day or month that has cost more than OPENAI_DAILY_ or MONTHLY_COST_THRESHOLD, once.

    True if this call did.
    """
    window = standing.window
    if standing.spent <= window.limit:
        return False
    return raise_alert(
        "cost",
        f"cost:{window.period}:{window.label}",
        severity=Severity.WARNING,
        title=f"This {window.period} has cost more than {window.limit.normalize():f} USD",
        description=f"{standing.spent:f} USD in {window.label}.",
        metadata={"limit": str(window.limit)},
    )


def breaker_open(name: str, *, base_url: str, model: str, failures: int) -> None:
    """Tell of a model that is not asked any more, once a day; `name` stands for it and its address."""
    raise_alert(
        "breaker",
        f"breaker:{name}:{period_of('day', timezone.now()).label}",
        severity=Severity.ERROR,
        title=f"{model} can't be reached",
        description=(
            f"{failures} calls of {model} at {base_url} have failed in a row. While its circuit breaker is "
            "open it is not asked; other models are, where OPENAI_FALLBACK_MODELS names any."
        ),
        metadata={"base_url": base_url, "model": model},
    )
