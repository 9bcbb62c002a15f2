"""Look whether the site has cost more than it should, and tell so once."""

from __future__ import annotations

from typing import Any

from django.utils import timezone

from django_chatgpt.services import alerts, budgets
from django_chatgpt.services.shown import money
from django_chatgpt.storage import budgets as storage


def monitor_costs() -> dict[str, dict[str, Any]]:
    """How today and this month stand to their COST_THRESHOLD; one that is over it raises an alert.

    {"day": {"period": "2026-11-22", "spent": "1.5", "threshold": "20", "over": False, "alerted": False}},
    "month" likewise, without those that have no threshold; money is USD as text. An alert is raised once in
    its period, whoever looks and however many at once: `alerted` is True for the call that did.

    Each answer that is paid for is looked at like this, too. To be called now and then for what is not: calls
    that were priced anew, a threshold that was lowered.
    """
    windows = budgets.threshold_windows(timezone.now())
    standings = storage.read(windows) if windows else []
    return {
        each.window.period: {
            "period": each.window.label,
            "spent": money(each.spent),
            "threshold": f"{each.window.limit:f}",
            "over": each.spent > each.window.limit,
            "alerted": alerts.threshold(each),
        }
        for each in standings
    }
