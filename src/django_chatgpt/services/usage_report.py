"""A report of what was used in a period, whose numbers are those of the ledger.

generate_usage_report(days=30)   the last days, today included
generate_usage_report(start=date(2026, 11, 1), end=date(2026, 11, 30), send=True)

    {"start": "2026-11-01", "end": "2026-11-30", "user_id": null,
     "total": {"tokens", "cost", "requests", "unpriced"},
     "by_model": [{"model", ...}], "by_kind": [{"kind", ...}], "by_user": [{"user_id", ...}],
     "other_users": {...}, "daily": [{"date", ...}], "monthly": [{"month", ...}]}

All of it is what JSON can say. `cost` is USD as text, null where that of none of the requests is known;
`unpriced` is how many have no known cost. The lists add up to the total, `by_user` together with
`other_users`.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, timedelta
from decimal import Decimal
from typing import Any, Final

from django.db.models import DecimalField, QuerySet, Sum, Value
from django.db.models.functions import Coalesce

from django_chatgpt.exceptions import InvalidRequestError
from django_chatgpt.models import AIAlert, AIUsage
from django_chatgpt.services import alerts, reports
from django_chatgpt.services.reports import MAX_DAYS, NOTHING, Span, Used
from django_chatgpt.services.shown import money

MOST_USERS: Final = 100
KNOWN: Final = Coalesce(Sum("estimated_cost"), Value(NOTHING), output_field=DecimalField())


def generate_usage_report(
    days: int | None = None,
    *,
    start: date | None = None,
    end: date | None = None,
    user: Any = None,
    send: bool = False,
) -> dict[str, Any]:
    """What was used from `start` to `end`, both included, or in the last `days` days; of one user, or of all.

    `send` raises it as an alert of severity info, which the adapter's `alert_recipients` get by e-mail; a
    report of the same days and user is sent once. Raises InvalidRequestError.
    """
    span = _span(days, start, end)
    rows = reports.of_site() if user is None else reports.of_user(user.pk)
    found = reports.usage_within(rows, span)
    rows = span.within(rows)
    months: dict[str, Used] = {}
    for day, used in found.daily.items():
        month = f"{day:%Y-%m}"
        months[month] = added(months.get(month), used)
    first, others = _users(rows, found.total)
    report = {
        "start": span.first.isoformat(),
        "end": span.last.isoformat(),
        "user_id": None if user is None else _plain(user.pk),
        "total": told(found.total),
        "by_model": [{"model": model, **told(used)} for model, used in found.by_model.items()],
        "by_kind": [{"kind": kind, **told(used)} for [kind], used in reports.groups(rows, "kind")],
        "by_user": [{"user_id": _plain(user_id), **told(used)} for user_id, used in first],
        "other_users": told(others),
        "daily": [{"date": day.isoformat(), **told(used)} for day, used in found.daily.items()],
        "monthly": [{"month": month, **told(used)} for month, used in months.items()],
    }
    if send:
        _send(report, user)
    return report


def _span(days: int | None, start: date | None, end: date | None) -> Span:
    if start is not None or end is not None:
        if start is None or end is None or days is not None:
            raise InvalidRequestError(fields={"start": "must be given with end, and without days."})
        span = Span.between(start, end)
    else:
        days = 30 if days is None else days
        if not 1 <= days <= MAX_DAYS:
            raise InvalidRequestError(fields={"days": f"must be between 1 and {MAX_DAYS}."})
        span = Span.of_last(days)
    if not timedelta(0) <= span.last - span.first < timedelta(days=MAX_DAYS):
        raise InvalidRequestError(
            fields={"end": f"must be on or after start, and at most {MAX_DAYS} days make a report."}
        )
    return span


def _users(rows: QuerySet[AIUsage], total: Used) -> tuple[list[tuple[Any, Used]], Used]:
    """Those who used most, the dearest first, and what all others used together."""
    # Databases differ in where they put NULL, so that "known" has none.
    found: Any = rows.values("user_id").annotate(**reports.TOTALS, known=KNOWN)
    dearest = found.order_by("-known", "-tokens", "user_id")[:MOST_USERS]
    most = [(each["user_id"], reports.used_of(each)) for each in dearest]
    told = Used()
    for _, used in most:
        told = added(told, used)
    requests, unpriced = total.requests - told.requests, total.unpriced - told.unpriced
    cost = None if requests and requests == unpriced else (total.cost or NOTHING) - (told.cost or NOTHING)
    return most, Used(total.tokens - told.tokens, cost if requests else NOTHING, requests, unpriced)


def added(one: Used | None, other: Used) -> Used:
    """Both together; the cost is None only where that of no request in them is known."""
    if one is None or not one.requests:
        return other
    if not other.requests:
        return one
    costs = [each.cost for each in (one, other) if each.cost is not None]
    return Used(
        one.tokens + other.tokens,
        sum(costs, NOTHING) if costs else None,
        one.requests + other.requests,
        one.unpriced + other.unpriced,
    )


def told(used: Used) -> dict[str, Any]:
    """As JSON has it."""
    return {
        "tokens": used.tokens,
        "cost": None if used.cost is None else f"{used.cost:f}",
        "requests": used.requests,
        "unpriced": used.unpriced,
    }


def _plain(user_id: Any) -> Any:
    return user_id if user_id is None or isinstance(user_id, int | str) else str(user_id)


def _send(report: dict[str, Any], user: Any) -> None:
    period = f"{report['start']} to {report['end']}"
    whose = "" if user is None else f" of user {user.pk}"
    alerts.raise_alert(
        "report",
        f"report:{report['start']}:{report['end']}:{'' if user is None else user.pk}",
        severity=AIAlert.Severity.INFO,
        title=f"AI usage{whose}, {period}",
        description="\n".join(as_lines(report)),
        user_id=None if user is None else user.pk,
        metadata={"total": report["total"]},
    )


def as_lines(report: dict[str, Any]) -> Iterable[str]:
    """The report as people read it."""
    yield f"From {report['start']} to {report['end']}: {_sentence(report['total'])}"
    for title, part, name in (
        ("By model", "by_model", "model"),
        ("By kind", "by_kind", "kind"),
        ("By user", "by_user", "user_id"),
        ("By month", "monthly", "month"),
    ):
        rows = report[part]
        if rows:
            yield ""
            yield f"{title}:"
        for row in rows:
            named = (
                "the site" if row[name] is None else f"user {row[name]}" if name == "user_id" else row[name]
            )
            yield f"  {named}: {_sentence(row)}"
    if report["other_users"]["requests"]:
        yield f"  others: {_sentence(report['other_users'])}"


def _sentence(used: dict[str, Any]) -> str:
    cost = "unknown cost" if used["cost"] is None else f"{money(Decimal(used['cost']))} USD"
    requests = "1 request" if used["requests"] == 1 else f"{used['requests']} requests"
    text = f"{requests}, {used['tokens']} tokens, {cost}"
    return f"{text}, {used['unpriced']} of them unpriced" if used["unpriced"] else text
