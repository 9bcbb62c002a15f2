"""Filters for long tables: none of them reads the table to know its own choices."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import date, timedelta
from typing import Any

from django.contrib import admin
from django.contrib.admin.views.main import ChangeList
from django.contrib.auth import get_user_model
from django.core.exceptions import ValidationError
from django.db import connections
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from django_chatgpt.functions import function_registry
from django_chatgpt.indexes import index_registry
from django_chatgpt.models import AIFunction, AITurn, AIUsage, EmbeddingScope
from django_chatgpt.services.periods import local, midnight


class ValueFilter(admin.SimpleListFilter):
    """A column that has one of few values; they are found without reading every row."""

    field_name: str

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(value, value) for value in self.values()]

    def values(self) -> Iterable[str]:
        raise NotImplementedError

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        value = self.value()
        return queryset if value is None else queryset.filter(**{str(self.parameter_name): value})


class UsedModelFilter(ValueFilter):
    """The models in the ledger, by jumping from one to the next in the index on them."""

    title = _("model")
    parameter_name = "model"

    def values(self) -> Iterable[str]:
        connection = connections[AIUsage.objects.db]
        table, model = map(connection.ops.quote_name, (AIUsage._meta.db_table, "model"))
        with connection.cursor() as cursor:
            cursor.execute(
                f"WITH RECURSIVE seen(one) AS (SELECT MIN({model}) FROM {table} UNION ALL"
                f" SELECT (SELECT MIN({model}) FROM {table} WHERE {model} > seen.one) FROM seen"
                " WHERE seen.one IS NOT NULL) SELECT one FROM seen WHERE one IS NOT NULL"
            )
            return [one for (one,) in cursor.fetchall()]


class EmbeddingModelFilter(ValueFilter):
    """The models of the scopes, of which there is one for each owner and not for each text."""

    title = _("model")
    parameter_name = "model"

    def values(self) -> Iterable[str]:
        return EmbeddingScope.objects.order_by("model").values_list("model", flat=True).distinct()


class CalledFunctionFilter(ValueFilter):
    title = _("function")
    parameter_name = "name"

    def values(self) -> Iterable[str]:
        known = {each.name for each in function_registry.functions}
        return sorted(known | set(AIFunction.objects.values_list("name", flat=True)))


class IndexFilter(ValueFilter):
    title = _("index")
    parameter_name = "index"

    def values(self) -> Iterable[str]:
        return [each.name for each in index_registry.indexes]


class PassageIndexFilter(IndexFilter):
    parameter_name = "indexed__index"


class PeriodFilter(admin.SimpleListFilter):
    """Days of the site, whatever zone is active for whoever looks."""

    title = _("period")
    parameter_name = "period"
    field = "timestamp"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return [
            ("today", _("Today")),
            ("7", _("Last 7 days")),
            ("30", _("Last 30 days")),
            ("90", _("Last 90 days")),
            ("month", _("This month")),
            ("last-month", _("Last month")),
            ("year", _("This year")),
        ]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        value = self.value()
        if value not in dict(self.lookup_choices):
            return queryset
        first, last = days_of(value, local(timezone.now()).date())
        start, end = midnight(first), midnight(last + timedelta(days=1))
        return queryset.filter(**{f"{self.field}__gte": start, f"{self.field}__lt": end})


class CreatedFilter(PeriodFilter):
    title = _("created")
    field = "created_at"


def days_of(period: str, today: date) -> tuple[date, date]:
    """The first and the last day of a period of PeriodFilter."""
    month = today.replace(day=1)
    match period:
        case "today":
            return today, today
        case "month":
            return month, today
        case "last-month":
            last = month - timedelta(days=1)
            return last.replace(day=1), last
        case "year":
            return today.replace(month=1, day=1), today
        case _:
            return today - timedelta(days=int(period) - 1), today


class UserFilter(admin.SimpleListFilter):
    """One user, chosen by a link or by a search: nobody looks through a list of all of them."""

    title = _("user")
    parameter_name = "user"

    def has_output(self) -> bool:
        return self.value() is not None

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return []

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        value = self.value()
        if value is None:
            return queryset
        if value == "-":
            return queryset.filter(user=None)
        try:
            return queryset.filter(user_id=value)
        except (ValueError, ValidationError):
            return queryset.none()

    def choices(self, changelist: ChangeList) -> Iterator[Any]:
        yield {
            "selected": False,
            "query_string": changelist.get_query_string(remove=[self.parameter_name]),
            "display": _("All"),
        }
        yield {"selected": True, "query_string": changelist.get_query_string(), "display": self._name()}

    def _name(self) -> Any:
        key: Any = self.value()
        if key == "-":
            return _("the site itself")
        try:
            user = get_user_model()._default_manager.filter(pk=key).first()
        except (ValueError, ValidationError):
            user = None
        return _("nobody") if user is None else str(user)


class StuckFilter(admin.SimpleListFilter):
    title = _("state")
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return [("active", _("Not over")), ("stuck", _("Stuck: its process is gone"))]

    def queryset(self, request: HttpRequest, queryset: QuerySet[AITurn]) -> QuerySet[AITurn]:
        match self.value():
            case "active":
                return queryset.filter(status__in=sorted(AITurn.ACTIVE))
            case "stuck":
                return queryset.filter(status__in=sorted(AITurn.ACTIVE), lease_expires_at__lt=timezone.now())
        return queryset
