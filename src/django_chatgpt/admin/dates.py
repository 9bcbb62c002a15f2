"""Years, months and days to go through a table by; no database has to know time zones for it."""

from __future__ import annotations

from calendar import monthrange
from collections.abc import Iterator, Mapping
from datetime import date
from typing import Any

from django.contrib.admin.views.main import ChangeList
from django.utils.formats import date_format
from django.utils.translation import gettext

from django_chatgpt.services.periods import local


def choices(found: ChangeList, chosen: Mapping[str, str]) -> dict[str, Any]:
    """What `admin/date_hierarchy.html` shows: the way back, and the next smaller parts of what is chosen.

    The first and the last row of the table say where to begin and to end, by the index on its times.
    """
    field = str(found.date_hierarchy)
    times = found.model._default_manager.values_list(field, flat=True)
    # One at a time: SQLite reads the whole index where it is asked for both at once.
    ends = [*times.order_by(field)[:1], *times.order_by(f"-{field}")[:1]]
    if not ends:
        return {"show": False}
    first, last = (local(end).date() for end in ends)
    year, month, day = (_number(chosen.get(f"{field}__{part}")) for part in ("year", "month", "day"))

    def link(**parts: int) -> str:
        lookups = {f"{field}__{part}": str(number) for part, number in parts.items()}
        return str(found.get_query_string(lookups, [f"{field}__", "period"]))

    if year and month and day:
        back = {"link": link(year=year, month=month), "title": _month(date(year, month, 1))}
        return _shown(found, back, [{"title": date_format(date(year, month, day), "MONTH_DAY_FORMAT")}])
    if year and month:
        days = [date(year, month, number + 1) for number in range(monthrange(year, month)[1])]
        options = [
            {
                "link": link(year=year, month=month, day=each.day),
                "title": date_format(each, "MONTH_DAY_FORMAT"),
            }
            for each in days
            if first <= each <= last
        ]
        return _shown(found, {"link": link(year=year), "title": str(year)}, options)
    if year or first.year == last.year:
        shown = year or first.year
        options = [
            {"link": link(year=each.year, month=each.month), "title": _month(each)}
            for each in _months(shown, first, last)
        ]
        up = {"link": link(), "title": gettext("All dates")} if year else None
        return _shown(found, up, options)
    years = [{"link": link(year=each), "title": str(each)} for each in range(first.year, last.year + 1)]
    return _shown(found, None, years)


def _shown(found: ChangeList, back: Any, options: list[dict[str, str]]) -> dict[str, Any]:
    name = getattr(found.model._meta.get_field(str(found.date_hierarchy)), "verbose_name", "")
    return {"show": True, "back": back, "choices": options, "field_name": name}


def _months(year: int, first: date, last: date) -> Iterator[date]:
    for number in range(1, 13):
        each = date(year, number, 1)
        if first.replace(day=1) <= each <= last:
            yield each


def _month(each: date) -> str:
    return date_format(each, "YEAR_MONTH_FORMAT")


def _number(text: str | None) -> int | None:
    """A year, a month or a day; None for what is none, of which the list itself says that it is wrong."""
    return int(text) if text is not None and text.isascii() and text.isdigit() else None
