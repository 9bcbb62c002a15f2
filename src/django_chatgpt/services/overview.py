"""The site at a glance, for those who run it. Each answer takes a fixed number of queries, whatever there is.

system_stats()             what runs, what was asked in a day, what nobody has dealt with
user_activity(days, most)  who has asked most
cost_analytics(days, most) what it cost: altogether, by model, by day, by user

Days are the site's, as in `reports`. Costs are decimal strings in USD, of the requests whose cost is known;
`system_stats` is also for those who may see none.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.contrib.auth import get_user_model
from django.db.models import Avg, Count, F, Max, QuerySet
from django.utils import timezone

from django_chatgpt.models import AIAlert, AIConversation, AITurn, AIUsage
from django_chatgpt.services import reports
from django_chatgpt.services.shown import money
from django_chatgpt.storage.primary import primary

MAX_DAYS = reports.MAX_DAYS
MOST_USERS = 100
A_DAY = timedelta(days=1)
DEAREST_FIRST = F("cost").desc(nulls_last=True)


def system_stats(*, with_costs: bool = True) -> dict[str, Any]:
    """How the site stands now. Five queries."""
    using = primary()
    since = timezone.now() - A_DAY
    recent = AIUsage.objects.using(using).filter(timestamp__gte=since)
    waiting = AIAlert.objects.using(using).unresolved()
    asked = recent.exclude(outcome=AIUsage.Outcome.RUNNING).aggregate(
        **reports.TOTALS, latency=Avg("latency_ms"), users=Count("user", distinct=True)
    )
    used = _shown(reports.used_of(asked))
    if not with_costs:
        del used["cost"]
    return {
        "turns": dict.fromkeys(sorted(AITurn.ACTIVE), 0)
        | _counts(AITurn.objects.using(using).active(), "status"),
        "conversations": AIConversation.objects.using(using).count(),
        "last_day": {
            **used,
            "users": asked["users"],
            "average_latency_ms": None if asked["latency"] is None else round(asked["latency"]),
            "outcomes": _counts(recent, "outcome"),
        },
        "open_alerts": dict.fromkeys(AIAlert.Severity.values, 0) | _counts(waiting, "severity"),
    }


def user_activity(days: int, most: int) -> dict[str, Any]:
    """Who has asked most in the last `days` days, at most so many users. Two queries."""
    rows: Any = reports.Span.of_last(days).within(reports.of_site()).exclude(user=None)
    found = list(
        rows.values("user_id")
        .annotate(**reports.TOTALS, last_active=Max("timestamp"))
        .order_by("-requests", "user_id")[:most]
    )
    names = _names(row["user_id"] for row in found)
    return {
        "days": days,
        "users": [
            {
                "user_id": row["user_id"],
                "name": names.get(row["user_id"], ""),
                **_shown(reports.used_of(row)),
                "last_active": row["last_active"],
            }
            for row in found
        ],
    }


def cost_analytics(days: int, most: int) -> dict[str, Any]:
    """What the last `days` days have cost. Five queries."""
    used = reports.usage(reports.of_site(), days)
    rows: Any = reports.Span.of_last(days).within(reports.of_site()).exclude(user=None)
    by_user = rows.values("user_id").annotate(**reports.TOTALS)
    dearest = list(by_user.order_by(DEAREST_FIRST, "user_id")[:most])
    names = _names(row["user_id"] for row in dearest)
    return {
        "days": days,
        "total": _shown(used.total),
        "by_model": {model: _shown(each) for model, each in used.by_model.items()},
        "daily": [{"date": day, **_shown(each)} for day, each in used.daily.items()],
        "by_user": [
            {
                "user_id": row["user_id"],
                "name": names.get(row["user_id"], ""),
                **_shown(reports.used_of(row)),
            }
            for row in dearest
        ],
    }


def _counts(rows: QuerySet[Any], name: str) -> dict[str, int]:
    return dict(rows.order_by(name).values_list(name).annotate(Count("pk")))


def _names(keys: Any) -> dict[Any, str]:
    users = get_user_model()._default_manager.using(primary()).filter(pk__in=list(keys))
    return {user.pk: user.get_username() for user in users}


def _shown(used: reports.Used) -> dict[str, Any]:
    return {
        "requests": used.requests,
        "tokens": used.tokens,
        "cost": money(used.cost),
        "unpriced_requests": used.unpriced,
    }
