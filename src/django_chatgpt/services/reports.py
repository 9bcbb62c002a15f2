"""What was used, as the ledger has it: the doors, the admin and the commands all take it from here.

of_user(pk), of_site()     the rows that count
usage(rows, days)          totals, by model, by day
by_day_and_model(rows, days)
statement(rows, by, span)  totals and groups of any days: by day, model, user or kind
spreadsheet_cell(text)     a text as a spreadsheet may have it

Days are the site's (TIME_ZONE). An attempt that is still being made is in none of these.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, tzinfo
from decimal import Decimal
from itertools import pairwise
from typing import Any, Literal

from django.db.models import (
    Case,
    Count,
    DateField,
    DateTimeField,
    DurationField,
    Expression,
    ExpressionWrapper,
    F,
    Q,
    QuerySet,
    Sum,
    Value,
    When,
)
from django.db.models.functions import TruncDate
from django.utils import timezone

from django_chatgpt.models import AIUsage
from django_chatgpt.models.fields import MONEY_PLACES
from django_chatgpt.services.periods import local, midnight

MAX_DAYS = 366
#: Where a spreadsheet sees a formula begin; in half of Europe a semicolon parts the cells.
FORMULA = re.compile(
    r"^(?=[=+\-@\uff1d\uff0b\uff0d\uff20\t\r\n])|(?<=;)(?=\s*[=+\-@\uff1d\uff0b\uff0d\uff20])"
)
Grouping = Literal["day", "model", "user", "kind"]
NOTHING = Decimal(0)
SMALLEST = Decimal(1).scaleb(-MONEY_PLACES)
TOTALS: dict[str, Any] = {
    "tokens": Sum("total_tokens"),
    "cost": Sum("estimated_cost"),
    "requests": Count("pk"),
    "unpriced": Count("pk", filter=Q(estimated_cost=None)),
}


@dataclass(frozen=True, slots=True)
class Used:
    """What some attempts took.

    `cost` is in USD, of the attempts whose cost is known; None if that of none is. `unpriced` is how many
    have no known cost: they are in no `cost`.
    """

    tokens: int = 0
    cost: Decimal | None = NOTHING
    requests: int = 0
    unpriced: int = 0

    @property
    def avg_tokens_per_request(self) -> float:
        """To two places; 0 where nothing was asked."""
        return round(self.tokens / self.requests, 2) if self.requests else 0.0


@dataclass(frozen=True, slots=True)
class Usage:
    """The last days, today included. `by_model` has the dearest first; `daily` one entry for each day."""

    total: Used
    by_model: dict[str, Used]
    daily: dict[date, Used]


def of_site() -> QuerySet[AIUsage]:
    """What everybody has used, and the site itself."""
    return AIUsage.objects.exclude(outcome=AIUsage.Outcome.RUNNING)


def of_user(user_id: Any) -> QuerySet[AIUsage]:
    """What one user has used."""
    return of_site().filter(user_id=user_id)


def usage(rows: QuerySet[AIUsage], days: int) -> Usage:
    """What was used in the last `days` days (1 to MAX_DAYS), today included, in three queries."""
    return usage_within(rows, Span.of_last(days))


def usage_within(rows: QuerySet[AIUsage], span: Span) -> Usage:
    """What was used on some days, in three queries."""
    rows = span.within(rows)
    models = {model: used for [model], used in groups(rows, "model")}
    daily = {day: used for [day], used in groups(rows.annotate(day=span.day), "day")}
    return Usage(
        total=used_of(rows.aggregate(**TOTALS)),
        by_model=dict(sorted(models.items(), key=lambda item: (-(item[1].cost or NOTHING), item[0]))),
        daily={day: daily.get(day, Used()) for day in span.days},
    )


def by_day_and_model(rows: QuerySet[AIUsage], days: int) -> Iterator[tuple[date, str, Used]]:
    """What was used of each model on each of the last `days` days, in one query.

    Days and models without use are left out.
    """
    span = Span.of_last(days)
    for (day, model), used in groups(span.within(rows).annotate(day=span.day), "day", "model"):
        yield day, model, used


def statement(rows: QuerySet[AIUsage], by: Grouping, span: Span) -> tuple[Used, list[tuple[Any, Used]]]:
    """What was used in some days: altogether, and for each day, model, user (primary key) or kind.

    Each day of the span is there, of the others what was used; the dearest comes first.
    """
    rows = span.within(rows)
    total = used_of(rows.aggregate(**TOTALS))
    if by == "day":
        found = {day: used for [day], used in groups(rows.annotate(day=span.day), "day")}
        return total, [(day, found.get(day, Used())) for day in span.days]
    parts = [(value, used) for [value], used in groups(rows, "user_id" if by == "user" else by)]
    return total, sorted(parts, key=lambda each: (-(each[1].cost or NOTHING), -each[1].tokens, str(each[0])))


def spreadsheet_cell(text: str) -> str:
    """A text that no spreadsheet calculates: anybody may have asked for a model with such a name."""
    return FORMULA.sub("'", text)


def groups(rows: QuerySet[AIUsage], *names: str) -> Iterator[tuple[list[Any], Used]]:
    """The rows taken together that have the same values, with these values, in their order."""
    for found in rows.values(*names).annotate(**TOTALS).order_by(*names):
        sums: dict[str, Any] = dict(found)
        yield [sums[name] for name in names], used_of(sums)


def used_of(sums: dict[str, Any]) -> Used:
    """What TOTALS has found."""
    known = sums["requests"] > sums["unpriced"] or not sums["requests"]
    # SQLite adds up in floating point.
    cost = (sums["cost"] or NOTHING).quantize(SMALLEST) if known else None
    return Used(sums["tokens"] or 0, cost, sums["requests"], sums["unpriced"])


@dataclass(frozen=True, slots=True)
class Span:
    """Some days of the site, and which of them a row belongs to."""

    first: date
    last: date
    zone: tzinfo | None

    @classmethod
    def of_last(cls, days: int) -> Span:
        """The last days, today included."""
        today = local(timezone.now()).date()
        return cls.between(today - timedelta(days=days - 1), today)

    @classmethod
    def between(cls, first: date, last: date) -> Span:
        """From one day to another, both included."""
        zone = timezone.get_default_timezone() if timezone.is_aware(timezone.now()) else None
        return cls(first, last, zone)

    @property
    def days(self) -> list[date]:
        return [self.first + timedelta(days=number) for number in range((self.last - self.first).days + 1)]

    def within(self, rows: QuerySet[AIUsage]) -> QuerySet[AIUsage]:
        end = midnight(self.last + timedelta(days=1))
        return rows.filter(timestamp__gte=midnight(self.first), timestamp__lt=end)

    @property
    def day(self) -> Expression:
        """The day of a row, in SQL.

        Added to the time is what the site's clocks are ahead of UTC, which changes once or twice a year: a
        database need not know time zones, as MariaDB does only once somebody has filled its tables.
        """
        if self.zone is None:
            return TruncDate("timestamp")
        *before, (_, offset) = self._offsets()
        cases = [When(timestamp__lt=until, then=_date_ahead(each)) for until, each in before]
        return Case(*cases, default=_date_ahead(offset), output_field=DateField())

    def _offsets(self) -> list[tuple[datetime, timedelta]]:
        """What the clocks are ahead of UTC, and until when: one entry for each time between two changes."""
        found = []
        bounds = [midnight(day) for day in (*self.days, self.last + timedelta(days=1))]
        for start, end in pairwise(bounds):
            if self._offset(start) != self._offset(end):
                found.append((self._change(start, end), self._offset(start)))
        return [*found, (bounds[-1], self._offset(bounds[-1]))]

    def _change(self, start: datetime, end: datetime) -> datetime:
        """The second between two moments from which the clocks show something else."""
        before = self._offset(start)
        while end - start > timedelta(seconds=1):
            middle = start + (end - start) // 2
            if self._offset(middle) == before:
                start = middle
            else:
                end = middle
        return end.replace(microsecond=0)

    def _offset(self, moment: datetime) -> timedelta:
        return moment.astimezone(self.zone).utcoffset() or timedelta(0)


def _date_ahead(offset: timedelta) -> Expression:
    """The date of a row's time in UTC, and so much ahead."""
    ahead = ExpressionWrapper(F("timestamp") + Value(offset, DurationField()), DateTimeField())
    return TruncDate(ahead, tzinfo=UTC)
