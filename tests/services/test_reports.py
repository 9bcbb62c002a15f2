"""What was used: every row once, on the day that the site's clocks showed, whatever the database."""

from __future__ import annotations

import random
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django.contrib.auth.models import User
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries, Settings

from django_chatgpt.models import AIUsage
from django_chatgpt.services import reports
from django_chatgpt.services.reports import Used
from tests.models import rows

pytestmark = pytest.mark.django_db


def at(monkeypatch: pytest.MonkeyPatch, now: datetime) -> None:
    """It is `now`."""
    monkeypatch.setattr(timezone, "now", lambda: now)


def used(**fields: Any) -> AIUsage:
    fields = {"outcome": "completed", "total_tokens": 10, "estimated_cost": Decimal("0.5"), **fields}
    return rows.usage(**fields)


def test_nothing_was_used() -> None:
    found = reports.usage(reports.of_site(), 3)
    assert found.total == Used(0, Decimal(0), 0, 0)
    assert found.total.avg_tokens_per_request == 0
    assert found.by_model == {}
    assert list(found.daily.values()) == [Used()] * 3


def test_totals_models_and_days(
    user: User, monkeypatch: pytest.MonkeyPatch, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    noon = datetime(2026, 11, 22, 12, tzinfo=UTC)
    at(monkeypatch, noon)
    used(user=user, timestamp=noon)
    used(user=user, timestamp=noon - timedelta(days=1), model="dear", estimated_cost=Decimal("3"))
    used(
        user=user,
        timestamp=noon - timedelta(days=1),
        total_tokens=3,
        estimated_cost=Decimal("0.000000000001"),
    )
    used(user=user, timestamp=noon - timedelta(days=3))
    with django_assert_num_queries(3):
        found = reports.usage(reports.of_user(user.pk), 3)
    assert found.total == Used(23, Decimal("3.500000000001"), 3, 0)
    assert found.total.avg_tokens_per_request == 7.67
    assert found.by_model == {
        "dear": Used(10, Decimal(3), 1),
        "gpt-6-luna": Used(13, Decimal("0.500000000001"), 2),
    }
    assert list(found.by_model) == ["dear", "gpt-6-luna"]
    assert found.daily == {
        date(2026, 11, 20): Used(),
        date(2026, 11, 21): Used(13, Decimal("3.000000000001"), 2),
        date(2026, 11, 22): Used(10, Decimal("0.5"), 1),
    }
    assert list(found.daily) == sorted(found.daily)


def test_whose(user: User, other_user: User) -> None:
    used(user=user)
    used(user=other_user)
    used()
    assert reports.usage(reports.of_user(user.pk), 1).total.requests == 1
    assert reports.usage(reports.of_site(), 1).total.requests == 3


def test_what_is_being_asked_is_not_used_yet() -> None:
    used(outcome="running", estimated_cost=None)
    used(outcome="failed")
    assert reports.usage(reports.of_site(), 1).total.requests == 1


def test_unknown_costs_are_counted_and_not_made_up(user: User) -> None:
    used(model="priced")
    used(model="priced", estimated_cost=None)
    used(model="unknown", estimated_cost=None)
    found = reports.usage(reports.of_site(), 1)
    assert found.total == Used(30, Decimal("0.5"), 3, 2)
    assert found.by_model["priced"] == Used(20, Decimal("0.5"), 2, 1)
    assert found.by_model["unknown"] == Used(10, None, 1, 1)
    assert [used for _, _, used in reports.by_day_and_model(reports.of_site(), 1)] == [
        found.by_model["priced"],
        found.by_model["unknown"],
    ]


def test_each_day_and_model_in_one_query(
    monkeypatch: pytest.MonkeyPatch, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    noon = datetime(2026, 11, 22, 12, tzinfo=UTC)
    at(monkeypatch, noon)
    for model, back in (("b", 0), ("a", 0), ("a", 0), ("a", 40), ("c", 1)):
        used(model=model, timestamp=noon - timedelta(days=back))
    with django_assert_num_queries(1):
        found = list(reports.by_day_and_model(reports.of_site(), 40))
    assert [(day.day, model, each.requests) for day, model, each in found] == [
        (21, "c", 1),
        (22, "a", 2),
        (22, "b", 1),
    ]


ZONES = {
    "an hour, by night": ("Europe/Paris", datetime(2026, 11, 1, 12, tzinfo=UTC)),
    "an hour, at midnight": ("America/Havana", datetime(2026, 11, 5, 12, tzinfo=UTC)),
    "half an hour": ("Australia/Lord_Howe", datetime(2026, 10, 9, 12, tzinfo=UTC)),
    "never": ("Asia/Kolkata", datetime(2026, 7, 1, 12, tzinfo=UTC)),
    "a day that there was not": ("Pacific/Apia", datetime(2012, 1, 5, 12, tzinfo=UTC)),
    "four times a year": ("Africa/Casablanca", datetime(2026, 11, 22, 12, tzinfo=UTC)),
}


@pytest.mark.parametrize(("zone", "now"), ZONES.values(), ids=ZONES.keys())
def test_days_are_those_of_the_sites_clocks(
    zone: str, now: datetime, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the clocks change, to the second."""
    settings.TIME_ZONE = zone
    at(monkeypatch, now)
    site = ZoneInfo(zone)
    last = now.astimezone(site).date()
    start = now - timedelta(days=366)
    moments = [start + timedelta(seconds=random.Random(7 + n).randrange(366 * 86_400)) for n in range(60)]
    changes = [
        moment
        for moment in (start + timedelta(hours=half / 2) for half in range(366 * 48))
        if moment.astimezone(site).utcoffset() != (moment + timedelta(hours=0.5)).astimezone(site).utcoffset()
    ]
    around = [timedelta(minutes=minutes) for minutes in (-90, -31, 29, 30, 60, 90)]
    second, none = timedelta(seconds=1), timedelta(0)
    moments += [change + each - late for change in changes for each in around for late in (second, none)]
    for day in range(0, 366, 30):
        midnight = datetime.combine(last - timedelta(days=day), datetime.min.time(), site).astimezone(UTC)
        moments += [midnight - timedelta(microseconds=1), midnight]
    AIUsage.objects.bulk_create(
        AIUsage(model="m", outcome="completed", total_tokens=1, timestamp=moment) for moment in moments
    )
    for days in (366, 30, 1):
        wanted: dict[date, int] = {last - timedelta(days=back): 0 for back in reversed(range(days))}
        for moment in moments:
            day_of_site = moment.astimezone(site).date()
            if day_of_site in wanted:
                wanted[day_of_site] += 1
        found = reports.usage(reports.of_site(), days)
        assert {day: each.requests for day, each in found.daily.items()} == wanted
        assert found.total.requests == sum(wanted.values())


@pytest.mark.sqlite_only
def test_a_site_without_time_zones(settings: Settings) -> None:
    settings.USE_TZ = False
    now = timezone.now()
    used(timestamp=now)
    used(timestamp=now - timedelta(days=1))
    found = reports.usage(reports.of_site(), 2)
    assert [each.requests for each in found.daily.values()] == [1, 1]
    assert list(found.daily)[-1] == now.date()


@pytest.mark.postgres
def test_the_rows_of_a_user_are_found_by_their_index(user: User) -> None:
    from django.db import connection

    now = timezone.now()
    AIUsage.objects.bulk_create(
        AIUsage(model="m", outcome="completed", timestamp=now - timedelta(hours=number), user=None)
        for number in range(3000)
    )
    used(user=user)
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE ai_usage")
    span = reports.Span.of_last(30)
    own = span.within(reports.of_user(user.pk)).annotate(day=span.day)
    assert "ai_usage_user_timestamp" in own.values("day").annotate(**reports.TOTALS).order_by().explain()
    everybody = reports.Span.of_last(2).within(reports.of_site())
    assert "ai_usage_timestamp" in everybody.values("model").annotate(**reports.TOTALS).order_by().explain()
