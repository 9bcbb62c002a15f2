"""The ledger as a table for a spreadsheet: as long as it is, a page of it in memory."""

from __future__ import annotations

import csv
from collections.abc import AsyncIterator, Iterator, Sequence
from functools import partial
from io import StringIO
from typing import Any

from django.db.models import Q, QuerySet
from django.http import HttpRequest, StreamingHttpResponse

from django_chatgpt.admin.running import is_async
from django_chatgpt.database import ahop, hop
from django_chatgpt.models import AIUsage
from django_chatgpt.services.periods import local
from django_chatgpt.services.reports import spreadsheet_cell as cell

PER_PAGE = 1_000
PLAIN = (
    "kind",
    "outcome",
    "prompt_tokens",
    "completion_tokens",
    "total_tokens",
    "cached_tokens",
    "cache_write_tokens",
    "reasoning_tokens",
    "usage_source",
    "latency_ms",
    "time_to_first_token_ms",
    "conversation_id",
    "turn_id",
)
FREE = ("model", "service_tier", "price_source", "error_code", "request_id")
COLUMNS = ("id", "time", "user_id", "user", "estimated_cost", *FREE, *PLAIN)


def table(rows: QuerySet[AIUsage], request: HttpRequest) -> StreamingHttpResponse:
    """The rows, newest first, as they come; no connection is held while the reader is slow."""
    lines = _alines(rows) if is_async(request) else _lines(rows)
    return StreamingHttpResponse(
        lines,
        content_type="text/csv; charset=utf-8",
        headers={"Content-Disposition": 'attachment; filename="ai-usage.csv"'},
    )


def _lines(rows: QuerySet[AIUsage]) -> Iterator[str]:
    yield _written([COLUMNS])
    page = hop(partial(_page, rows, None))
    while page:
        yield _written(map(_line, page))
        page = hop(partial(_page, rows, page[-1])) if len(page) == PER_PAGE else []


async def _alines(rows: QuerySet[AIUsage]) -> AsyncIterator[str]:
    yield _written([COLUMNS])
    page = await ahop(partial(_page, rows, None))
    while page:
        yield _written(map(_line, page))
        page = await ahop(partial(_page, rows, page[-1])) if len(page) == PER_PAGE else []


def _page(rows: QuerySet[AIUsage], last: AIUsage | None) -> list[AIUsage]:
    """The rows behind `last`: by its place and not by their number, so that none is left out or twice."""
    rows = rows.select_related("user").order_by("-timestamp", "-id")
    if last is not None:
        earlier = Q(timestamp__lt=last.timestamp) | Q(pk__lt=last.pk)
        rows = rows.filter(earlier, timestamp__lte=last.timestamp)
    return list(rows[:PER_PAGE])


def _line(row: AIUsage) -> Sequence[Any]:
    cost = "" if row.estimated_cost is None else f"{row.estimated_cost:f}"
    who = "" if row.user is None else cell(row.user.get_username())
    free = [cell(getattr(row, name)) for name in FREE]
    time = local(row.timestamp).isoformat()
    # Keys may be texts that users have chosen.
    user_id = cell(row.user_id) if isinstance(row.user_id, str) else row.user_id
    return [row.pk, time, user_id, who, cost, *free, *(getattr(row, name) for name in PLAIN)]


def _written(lines: Any) -> str:
    text = StringIO()
    csv.writer(text).writerows(lines)
    return text.getvalue()
