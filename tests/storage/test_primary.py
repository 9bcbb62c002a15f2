"""What several processes write at once: by keys looked up before, and again where a database gave up."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any
from unittest import mock

import pytest
from django.db import OperationalError, connection
from django.db.models import Q
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from django_chatgpt.models import AIUsage
from django_chatgpt.storage import budgets, ledger, primary

pytestmark = pytest.mark.django_db

HELD = Decimal(1)


def row(**values: Any) -> AIUsage:
    return AIUsage.objects.create(kind=AIUsage.Kind.CHAT, model="gpt-6-luna", **values)


def test_who_looks_for_what_the_dead_hold_locks_nothing_of_the_living() -> None:
    """Everybody whom a budget refuses looks, at once; MariaDB gave up all but one of them."""
    now = timezone.now()
    living = row(outcome="running", reserved_cost=HELD, reserved_until=now + timedelta(minutes=1))
    with CaptureQueriesContext(
        connection,
    ) as asked:
        assert budgets.release_expired(now) == 0
        assert ledger.abandon(now - timedelta(hours=1)) == 0
    assert [each["sql"].split()[0] for each in asked] == ["SELECT", "SELECT"]
    living.refresh_from_db()
    assert living.reserved_cost == HELD


def test_what_the_dead_hold_is_released_page_by_page(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(primary, "BATCH", 2)
    now = timezone.now()
    for _ in range(5):
        row(outcome="running", reserved_cost=HELD, reserved_until=now - timedelta(minutes=1))
    assert budgets.release_expired(now) == 5
    assert budgets.release_expired(now) == 0
    assert not AIUsage.objects.exclude(reserved_cost=None).exists()


def test_what_somebody_else_changed_after_the_look_stays_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where the look goes on seeing what was, as in a snapshot: it does not look for ever."""
    monkeypatch.setattr(primary, "BATCH", 1)
    settled = row(outcome="completed", estimated_cost=HELD)
    everything = AIUsage.objects.all()
    assert primary.update_found(everything, Q(outcome="running"), error_code="interrupted") == 0
    settled.refresh_from_db()
    assert settled.error_code == ""


@pytest.mark.django_db(transaction=True)
def test_those_who_met_wait_by_chance_and_longer_each_time() -> None:
    losses = primary.TRIES - 1
    waits: list[tuple[float, float]] = []

    def work() -> bool:
        if len(waits) < losses:
            raise OperationalError
        return True

    def wait(least: float, most: float) -> float:
        waits.append((least, most))
        return 0.0

    with mock.patch("random.uniform", wait):
        assert primary.retried(work)
    assert waits == [(0, primary.PAUSE_SECONDS * tried) for tried in range(1, primary.TRIES)]


@pytest.mark.django_db(transaction=True)
def test_what_is_given_up_for_good_is_told() -> None:
    work = mock.Mock(side_effect=OperationalError("deadlock"))
    with mock.patch("random.uniform", return_value=0.0), pytest.raises(OperationalError, match="deadlock"):
        primary.retried(work)
    assert work.call_count == primary.TRIES
