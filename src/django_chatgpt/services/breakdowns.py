"""What some rows of the ledger took, whichever they are, as somebody has filtered them.

`reports` is about days that are counted from today; both add up in the same way. Leave out the attempts
that are still being made.
"""

from __future__ import annotations

from datetime import date
from typing import Any

from django.db.models import F, Max, Min, QuerySet

from django_chatgpt.models import AIUsage
from django_chatgpt.services.periods import local
from django_chatgpt.services.reports import NOTHING, TOTALS, Span, Used, groups, used_of


def total(rows: QuerySet[AIUsage]) -> Used:
    """What these attempts took altogether."""
    return used_of(rows.aggregate(**TOTALS))


def by_day(rows: QuerySet[AIUsage]) -> dict[date, Used]:
    """What these attempts took on each day from the first of them to the last, in two queries."""
    ends = rows.aggregate(first=Min("timestamp"), last=Max("timestamp"))
    if ends["first"] is None:
        return {}
    span = Span.between(local(ends["first"]).date(), local(ends["last"]).date())
    used = {day: used for [day], used in groups(rows.annotate(day=span.day), "day")}
    return {day: used.get(day, Used()) for day in span.days}


def by_model(rows: QuerySet[AIUsage]) -> dict[str, Used]:
    """What these attempts took of each model, the dearest first."""
    models = {model: used for [model], used in groups(rows, "model")}
    return dict(sorted(models.items(), key=lambda item: (-(item[1].cost or NOTHING), item[0])))


def by_user(rows: QuerySet[AIUsage], most: int) -> dict[Any, Used]:
    """What these attempts took of the `most` users who spent most, by their ids; None is the site itself."""
    dearest = F("cost").desc(nulls_last=True)
    found: QuerySet[Any, Any] = rows.values("user_id").annotate(**TOTALS)
    sums: list[dict[str, Any]] = list(found.order_by(dearest, "-requests", "user_id")[:most])
    return {each["user_id"]: used_of(each) for each in sums}


def of_turns(rows: QuerySet[AIUsage]) -> dict[Any, Used]:
    """What these attempts took in each turn, by its id."""
    return {turn: used for [turn], used in groups(rows, "turn_id")}
