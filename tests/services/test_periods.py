"""Days and months of the site: whole, without gaps, whatever the clocks do."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from django.utils import timezone
from pytest_django import Settings

from django_chatgpt.services.periods import local, midnight, period_of

HOUR = timedelta(hours=1)


def utc(*parts: int) -> datetime:
    return datetime(*parts, tzinfo=UTC)  # type: ignore[misc,arg-type]


@pytest.mark.parametrize(
    ("zone", "now", "label", "start", "hours"),
    [
        ("Europe/Paris", utc(2026, 11, 22, 12), "2026-11-22", utc(2026, 11, 21, 23), 24),
        ("Europe/Paris", utc(2026, 11, 22, 23, 30), "2026-11-23", utc(2026, 11, 22, 23), 24),
        ("Europe/Paris", utc(2026, 3, 29, 12), "2026-03-29", utc(2026, 3, 28, 23), 23),
        ("Europe/Paris", utc(2026, 10, 25, 12), "2026-10-25", utc(2026, 10, 24, 22), 25),
        # The clocks skip midnight, and go through it twice.
        ("America/Sao_Paulo", utc(2018, 11, 4, 12), "2018-11-04", utc(2018, 11, 4, 3), 23),
        ("America/Havana", utc(2026, 11, 1, 4, 30), "2026-11-01", utc(2026, 11, 1, 4), 25),
        ("America/Havana", utc(2026, 11, 1, 5, 30), "2026-11-01", utc(2026, 11, 1, 4), 25),
        ("Asia/Kathmandu", utc(2026, 1, 1), "2026-01-01", utc(2025, 12, 31, 18, 15), 24),
        # The 30th did not take place.
        ("Pacific/Apia", utc(2011, 12, 30, 9, 59), "2011-12-29", utc(2011, 12, 29, 10), 24),
        ("Pacific/Apia", utc(2011, 12, 30, 10), "2011-12-31", utc(2011, 12, 30, 10), 24),
    ],
)
def test_days(settings: Settings, zone: str, now: datetime, label: str, start: datetime, hours: int) -> None:
    settings.TIME_ZONE = zone
    period = period_of("day", now)
    assert (period.label, period.start, period.end) == (label, start, start + hours * HOUR)


@pytest.mark.parametrize(
    ("zone", "now", "label", "start", "end"),
    [
        ("UTC", utc(2026, 1, 31, 23, 59), "2026-01", utc(2026, 1, 1), utc(2026, 2, 1)),
        ("UTC", utc(2028, 2, 29), "2028-02", utc(2028, 2, 1), utc(2028, 3, 1)),
        ("UTC", utc(2026, 12, 31, 12), "2026-12", utc(2026, 12, 1), utc(2027, 1, 1)),
        ("Europe/Paris", utc(2026, 2, 28, 23), "2026-03", utc(2026, 2, 28, 23), utc(2026, 3, 31, 22)),
        ("Europe/Paris", utc(2026, 10, 31, 22, 59), "2026-10", utc(2026, 9, 30, 22), utc(2026, 10, 31, 23)),
        ("Pacific/Apia", utc(2011, 12, 30, 12), "2011-12", utc(2011, 12, 1, 10), utc(2011, 12, 31, 10)),
    ],
)
def test_months(
    settings: Settings, zone: str, now: datetime, label: str, start: datetime, end: datetime
) -> None:
    settings.TIME_ZONE = zone
    period = period_of("month", now)
    assert (period.label, period.start, period.end) == (label, start, end)


@pytest.mark.parametrize("kind", ["day", "month"])
@pytest.mark.parametrize(
    ("zone", "first"),
    [
        ("Europe/Paris", utc(2026, 1, 1)),
        ("America/Sao_Paulo", utc(2018, 1, 1)),
        ("America/Havana", utc(2026, 1, 1)),
        ("Australia/Lord_Howe", utc(2026, 1, 1)),
        ("Pacific/Apia", utc(2011, 1, 1)),
    ],
)
def test_every_moment_of_a_year_is_in_one(settings: Settings, zone: str, first: datetime, kind: str) -> None:
    settings.TIME_ZONE = zone
    before = period_of(kind, first)
    for half_hours in range(0, 2 * 24 * 366, 3):
        now = first + half_hours * HOUR / 2
        period = period_of(kind, now)
        assert period.start <= now < period.end
        assert now.astimezone(ZoneInfo(zone)).date().isoformat().startswith(period.label)
        assert period == before or period.start == before.end
        before = period


def test_a_users_zone_changes_nothing(settings: Settings) -> None:
    now = utc(2026, 11, 22, 12)
    with timezone.override("Pacific/Auckland"):
        assert period_of("day", now).start == utc(2026, 11, 21, 23)
        assert local(now).hour == 13


def test_naive_where_the_site_is(settings: Settings) -> None:
    settings.USE_TZ = False
    now = datetime(2026, 10, 25, 23, 59)  # noqa: DTZ001
    assert local(now) is now
    day, month = period_of("day", now), period_of("month", now)
    assert (day.start, day.end) == (now.replace(hour=0, minute=0), datetime(2026, 10, 26))  # noqa: DTZ001
    assert (month.start, month.end) == (datetime(2026, 10, 1), datetime(2026, 11, 1))  # noqa: DTZ001
    assert midnight(date(2026, 3, 29)).tzinfo is None
