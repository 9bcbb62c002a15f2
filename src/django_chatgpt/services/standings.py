"""How the budgets stand now, for those who run the site."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group
from django.db.models import F, Q, QuerySet, Sum
from django.db.models.functions import Coalesce
from django.utils import timezone

from django_chatgpt.adapter import get_adapter
from django_chatgpt.conf import conf
from django_chatgpt.models import AIUsage
from django_chatgpt.services.budgets import window_of
from django_chatgpt.services.periods import period_of
from django_chatgpt.storage import budgets as storage
from django_chatgpt.storage.budgets import CENTS, NOTHING
from django_chatgpt.storage.budgets import Standing as Standing
from django_chatgpt.storage.primary import primary


@dataclass(frozen=True, slots=True)
class UserStanding:
    """How a user's own budget stands; `left` may be below 0 where a limit was lowered."""

    user: Any
    standing: Standing


def shared(now: datetime | None = None) -> list[Standing]:
    """The budgets of the site and of groups, as the settings have them, in one query each.

    A group that does not exist is left out: nobody can be in it.
    """
    now = now or timezone.now()
    budgets = conf.budgets
    names = {budget.group for budget in budgets if budget.group is not None}
    groups = dict(Group.objects.filter(name__in=names).values_list("name", "pk")) if names else {}
    windows = []
    for budget in budgets:
        if budget.group is not None:
            if budget.group in groups:
                windows.append(window_of(budget, "group", groups[budget.group], budget.group, now))
        elif budget.scope == "site":
            windows.append(window_of(budget, "site", None, "", now))
    return storage.read(windows) if windows else []


def of_users(most: int, user_id: Any = None, now: datetime | None = None) -> list[UserStanding]:
    """The users' own budgets, of the `most` who have used most in a period, the fullest first.

    With `user_id` those of this user alone. What each user's budgets are, the adapter says. Two queries for
    each period that a budget has, however many users there are.
    """
    now = now or timezone.now()
    users = get_user_model()._default_manager
    rules = get_adapter().budgets
    found = []
    for kind in ("day", "month"):
        period = period_of(kind, now)
        rows = AIUsage.objects.using(primary()).filter(
            timestamp__gte=period.start, timestamp__lt=period.end, user__isnull=False
        )
        if user_id is not None:
            rows = rows.filter(user_id=user_id)
        sums = {each["user_id"]: each for each in _sums(rows)[:most]}
        known = users.in_bulk([user_id] if user_id is not None else list(sums))
        for pk, user in known.items():
            spent, reserved = (sums.get(pk, {}).get(name) or NOTHING for name in ("spent", "reserved"))
            for budget in rules(user):
                if budget.scope == "user" and budget.period == kind:
                    window = window_of(budget, "user", pk, "", now)
                    standing = Standing(window, spent.quantize(CENTS), reserved.quantize(CENTS))
                    found.append(UserStanding(user, standing))
    return sorted(found, key=lambda each: -share_of(each.standing))


def _sums(rows: QuerySet[AIUsage]) -> QuerySet[Any, Any]:
    return (
        rows.values("user_id")
        .annotate(spent=Sum("estimated_cost"), reserved=Sum("reserved_cost"))
        .filter(Q(spent__gt=0) | Q(reserved__gt=0))
        .order_by((Coalesce(F("spent"), NOTHING) + Coalesce(F("reserved"), NOTHING)).desc(), "user_id")
    )


def share_of(standing: Standing) -> Decimal:
    """How much of a budget is spent or reserved, 1 being all of it."""
    limit = standing.window.limit
    return standing.used / limit if limit else Decimal(1)
