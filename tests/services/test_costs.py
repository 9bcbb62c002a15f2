"""What cost too much is told once in its period, whoever looks."""

from __future__ import annotations

import threading
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import connections
from django.utils import timezone
from pytest_django import Settings

from django_chatgpt.models import AIAlert
from django_chatgpt.services import alerts
from django_chatgpt.services.costs import monitor_costs
from tests.models import rows


@pytest.mark.django_db
def test_without_thresholds_nothing_is_said() -> None:
    rows.usage(outcome="completed", estimated_cost=Decimal(1000))
    assert monitor_costs() == {}


@pytest.mark.django_db
def test_today_and_this_month(settings: Settings) -> None:
    settings.OPENAI_DAILY_COST_THRESHOLD, settings.OPENAI_MONTHLY_COST_THRESHOLD = "2", "10"
    rows.usage(outcome="completed", estimated_cost=Decimal(2))
    found = monitor_costs()
    assert [(each["over"], each["alerted"]) for each in found.values()] == [(False, False)] * 2
    rows.usage(outcome="completed", estimated_cost=Decimal("0.5"))
    found = monitor_costs()
    assert found["day"] == {
        "period": timezone.localdate().isoformat(),
        "spent": "2.5",
        "threshold": "2",
        "over": True,
        "alerted": True,
    }
    assert (found["month"]["over"], found["month"]["alerted"]) == (False, False)
    alerts.told.clear()  # another process
    assert monitor_costs()["day"]["alerted"] is False
    assert AIAlert.objects.count() == 1


@pytest.mark.django_db
def test_the_next_day_is_told_anew(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.OPENAI_DAILY_COST_THRESHOLD = "2"
    now = timezone.now()
    for later in (timedelta(0), timedelta(days=1)):
        monkeypatch.setattr(timezone, "now", lambda later=later: now + later)
        rows.usage(outcome="completed", estimated_cost=Decimal(3), timestamp=now + later)
        assert monitor_costs()["day"]["alerted"] is True
    assert AIAlert.objects.count() == 2


@pytest.mark.django_db(transaction=True)
def test_several_who_look_at_once(settings: Settings) -> None:
    settings.OPENAI_DAILY_COST_THRESHOLD, settings.OPENAI_MONTHLY_COST_THRESHOLD = "2", "2"
    rows.usage(outcome="completed", estimated_cost=Decimal(3))
    start = threading.Barrier(6, timeout=20)
    found: list[dict[str, Any]] = []

    def look() -> None:
        try:
            start.wait()
            alerts.told.clear()
            found.append(monitor_costs())
        finally:
            connections.close_all()

    threads = [threading.Thread(target=look) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(found) == 6
    for period in ("day", "month"):
        assert [each[period]["alerted"] for each in found].count(True) == 1
    assert AIAlert.objects.count() == 2
