"""The day and the month of the site: when they began, when they end, what they are called."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta

from django.utils import timezone


@dataclass(frozen=True, slots=True)
class Period:
    """A day ("2026-11-22") or a month ("2026-11") in TIME_ZONE; `end` is the first moment after it."""

    label: str
    start: datetime
    end: datetime


def period_of(kind: str, now: datetime) -> Period:
    """The day or month of the site that `now` lies in.

    A day has 23 or 25 hours where the clocks change; where they skip midnight, it begins when they do.
    """
    today = local(now).date()
    if kind == "day":
        return Period(today.isoformat(), midnight(today), midnight(today + timedelta(days=1)))
    first = today.replace(day=1)
    following = (first + timedelta(days=32)).replace(day=1)
    return Period(f"{first:%Y-%m}", midnight(first), midnight(following))


def aware(moment: datetime) -> datetime:
    """The same moment with a zone, the site's where it has none."""
    return moment if timezone.is_aware(moment) else timezone.make_aware(moment)


def local(moment: datetime) -> datetime:
    """The same moment on the site's clocks, whatever zone is active for a user; a naive one already is."""
    return (
        timezone.localtime(moment, timezone.get_default_timezone()) if timezone.is_aware(moment) else moment
    )


def midnight(day: date) -> datetime:
    """The beginning of a day of the site; naive where the site's times are."""
    start = datetime.combine(day, time.min)
    if timezone.is_naive(timezone.now()):
        return start
    # In UTC a midnight that the clocks skip is the moment they do, and of two the first.
    return start.replace(tzinfo=timezone.get_default_timezone()).astimezone(UTC)
