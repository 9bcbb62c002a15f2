"""What the rows of a list add up to: altogether, by day or month, by model, by user."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from functools import cached_property
from typing import Any

from django.contrib.auth import get_user_model
from django.db.models import QuerySet
from django.utils.formats import date_format
from django.utils.translation import gettext

from django_chatgpt.admin.charts import Bar, by_cost
from django_chatgpt.models import AIUsage
from django_chatgpt.services import breakdowns
from django_chatgpt.services.reports import Used

SECTIONS = ("time", "model", "user")
MOST_DAYS = 92
MOST_USERS = 20
MOST_MODELS = 20


@dataclass(frozen=True, slots=True)
class Row(Bar):
    """A bar and a line of the table under it; `choice` is what the list is filtered by for it alone."""

    choice: str = ""


@dataclass(frozen=True, slots=True)
class Section:
    """A chart, and the same as a table."""

    name: str
    title: str
    head: str
    bars: Sequence[Row]
    lying: bool

    @property
    def measure(self) -> str:
        return gettext("cost") if by_cost(self.bars) else gettext("tokens")


class Report:
    """Each figure is asked for once, when it is wanted."""

    def __init__(self, rows: QuerySet[AIUsage]) -> None:
        self._over = rows.exclude(outcome=AIUsage.Outcome.RUNNING)
        self._running = rows.filter(outcome=AIUsage.Outcome.RUNNING)

    @cached_property
    def total(self) -> Used:
        return breakdowns.total(self._over)

    @cached_property
    def running(self) -> int:
        """How many attempts are still being made; they are in no sum."""
        return self._running.count()

    def sections(self) -> list[Section]:
        return [self.section(name) for name in SECTIONS]

    def section(self, name: str) -> Section:
        match name:
            case "time":
                days = breakdowns.by_day(self._over)
                monthly = len(days) > MOST_DAYS
                rows = (
                    _months(days)
                    if monthly
                    else [Row(date_format(day, "Y-m-d"), used) for day, used in days.items()]
                )
                title, head = (
                    (gettext("By month"), gettext("Month"))
                    if monthly
                    else (gettext("By day"), gettext("Day"))
                )
                return Section(name, title, head, rows, lying=False)
            case "model":
                models = breakdowns.by_model(self._over)
                rows = [Row(model or "-", used, model) for model, used in models.items()]
                shown = _with_rest(rows[:MOST_MODELS], _sum(row.used for row in rows[MOST_MODELS:]))
                return Section(name, gettext("By model"), gettext("Model"), shown, lying=True)
            case _:
                return Section(name, gettext("By user"), gettext("User"), self._users(), lying=True)

    def _users(self) -> list[Row]:
        dearest = breakdowns.by_user(self._over, MOST_USERS)
        users = get_user_model()._base_manager.in_bulk([pk for pk in dearest if pk is not None])
        rows = [
            Row(gettext("the site itself"), used, "-")
            if pk is None
            else Row(str(users.get(pk, pk)), used, str(pk))
            for pk, used in dearest.items()
        ]
        return (
            _with_rest(rows, _less(self.total, _sum(dearest.values()))) if len(rows) == MOST_USERS else rows
        )


def _months(days: dict[date, Used]) -> list[Row]:
    months: dict[str, list[Used]] = defaultdict(list)
    for day, used in days.items():
        months[f"{day:%Y-%m}"].append(used)
    return [Row(month, _sum(used)) for month, used in months.items()]


def _with_rest(rows: list[Row], rest: Used) -> list[Row]:
    return [*rows, Row(gettext("all others"), rest)] if rest.requests else rows


def _sum(several: Iterable[Used]) -> Used:
    total: Any = Used()
    for used in several:
        total = Used(
            total.tokens + used.tokens,
            (total.cost or Decimal(0)) + (used.cost or Decimal(0)),
            total.requests + used.requests,
            total.unpriced + used.unpriced,
        )
    return _known(total)


def _less(whole: Used, part: Used) -> Used:
    return _known(
        Used(
            whole.tokens - part.tokens,
            (whole.cost or Decimal(0)) - (part.cost or Decimal(0)),
            whole.requests - part.requests,
            whole.unpriced - part.unpriced,
        )
    )


def _known(used: Used) -> Used:
    """The same, its cost unknown where that of no attempt is known."""
    if used.requests and used.requests == used.unpriced:
        return Used(used.tokens, None, used.requests, used.unpriced)
    return used
