"""What was used, as the ledger has it."""

from __future__ import annotations

import csv
import json
from argparse import ArgumentParser, ArgumentTypeError
from collections.abc import Iterator, Sequence
from datetime import date, timedelta
from decimal import Decimal
from itertools import dropwhile
from typing import Any

from django.contrib.auth import get_user_model
from django.core.management.base import BaseCommand, CommandError
from django.utils.dateparse import parse_date

from django_chatgpt.management.people import find_user
from django_chatgpt.management.terminal.text import one_line
from django_chatgpt.services import reports
from django_chatgpt.services.reports import Span, Used, spreadsheet_cell

GROUPINGS = ("day", "model", "user", "kind")
MOST_DAYS = 3660
UNKNOWN = "unknown"
NOBODY = "(the site)"

Line = tuple[str, Used]


def day(text: str) -> date:
    try:
        if (found := parse_date(text)) is not None:
            return found
    except ValueError:
        pass
    raise ArgumentTypeError(f"{text!r} is no date such as 2026-11-22.")


class Command(BaseCommand):
    help = (
        "Say what was used, by day, model, user or kind of call, with a row of totals. Days are those of "
        "TIME_ZONE. Costs are in USD, of the requests whose cost is known; how many are not is said, too."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--days", type=int, help="so many days, today included; 30 by default")
        parser.add_argument("--from", dest="first", type=day, metavar="DATE", help="the first day")
        parser.add_argument(
            "--to", dest="last", type=day, metavar="DATE", help="the last day; today by default"
        )
        parser.add_argument("--by", choices=GROUPINGS, default="day", help="one row for each; day by default")
        parser.add_argument("--user", metavar="NAME", help="only what this user has used: a name or a key")
        parser.add_argument("--format", choices=("table", "csv", "json"), default="table")

    def handle(self, *args: Any, by: reports.Grouping, user: str | None, format: str, **options: Any) -> None:
        span = self._span(options["days"], options["first"], options["last"])
        rows = reports.of_site() if user is None else reports.of_user(find_user(user).pk)
        total, groups = reports.statement(rows, by, span)
        lines = [*zip(_labels(by, [value for value, _ in groups]), [used for _, used in groups], strict=True)]
        getattr(self, f"_as_{format}")(by, span, lines, total)

    def _span(self, days: int | None, first: date | None, last: date | None) -> Span:
        if days is not None and first is not None:
            raise CommandError("Give --days or --from, not both.")
        until = last or Span.of_last(1).last
        since = first or until - timedelta(days=(30 if days is None else days) - 1)
        if since > until:
            raise CommandError("There is no day in that: --days must be 1 or more, --from not after --to.")
        if (until - since).days >= MOST_DAYS:
            raise CommandError(f"These are more than {MOST_DAYS} days.")
        return Span.between(since, until)

    def _as_table(self, by: str, span: Span, lines: Sequence[Line], total: Used) -> None:
        if by == "day":
            lines = [*dropwhile(lambda line: not line[1].requests, lines)]
        head = [by, "requests", "tokens", "cost (USD)"]
        body = [[one_line(name), *_figures(used)] for name, used in (*lines, ("total", total))]
        widths = [max(map(len, column)) for column in zip(head, *body, strict=True)]
        rule = "-" * (sum(widths) + 2 * (len(widths) - 1))
        shown = [_aligned(row, widths) for row in (head, *body)]
        self.stdout.write(f"{span.first} to {span.last}")
        for text in (shown[0], rule, *shown[1:-1], rule, shown[-1]):
            self.stdout.write(text)
        if total.unpriced:
            self.stdout.write(
                f"{total.unpriced} of {total.requests} requests have no known cost and are in no sum. "
                "Those that were answered get one by manage.py chatgpt_reprice, once OPENAI_PRICES has it."
            )

    def _as_csv(self, by: str, span: Span, lines: Sequence[Line], total: Used) -> None:
        writer = csv.writer(self.stdout, lineterminator="\n")
        writer.writerow([by, "requests", "tokens", "cost", "unpriced_requests"])
        for name, used in (*lines, ("total", total)):
            cost = "" if used.cost is None else _money(used.cost)
            writer.writerow([spreadsheet_cell(name), used.requests, used.tokens, cost, used.unpriced])

    def _as_json(self, by: str, span: Span, lines: Sequence[Line], total: Used) -> None:
        found = {
            "from": span.first.isoformat(),
            "to": span.last.isoformat(),
            "by": by,
            "rows": [{by: name, **_body(used)} for name, used in lines],
            "total": _body(total),
        }
        self.stdout.write(json.dumps(found, indent=2, ensure_ascii=False))


def _labels(by: str, values: Sequence[Any]) -> Iterator[str]:
    if by != "user":
        yield from (str(value) for value in values)
        return
    known = get_user_model()._default_manager.in_bulk([value for value in values if value is not None])
    for value in values:
        user = known.get(value)
        yield NOBODY if value is None else f"({value})" if user is None else str(user.get_username())


def _figures(used: Used) -> list[str]:
    return [f"{used.requests:,}", f"{used.tokens:,}", _cost(used)]


def _cost(used: Used) -> str:
    if used.cost is None:
        return UNKNOWN
    return _money(used.cost) + (f" + {used.unpriced} {UNKNOWN}" if used.unpriced else "")


def _body(used: Used) -> dict[str, Any]:
    cost = None if used.cost is None else _money(used.cost)
    return {
        "requests": used.requests,
        "tokens": used.tokens,
        "cost": cost,
        "unpriced_requests": used.unpriced,
    }


def _money(cost: Decimal) -> str:
    """Without the zeros at its end, and never as 1E-7."""
    return f"{cost.normalize():f}" if cost else "0"


def _aligned(row: Sequence[str], widths: Sequence[int]) -> str:
    first, *others = row
    cells = [
        first.ljust(widths[0]),
        *(cell.rjust(width) for cell, width in zip(others, widths[1:], strict=True)),
    ]
    return "  ".join(cells).rstrip()
