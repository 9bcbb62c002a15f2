"""The site's functions in the admin."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from django.contrib import admin
from django.contrib.admin.views.main import ChangeList
from django.db.models import Max
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from django_chatgpt.admin.base import TableAdmin
from django_chatgpt.functions import function_registry
from django_chatgpt.models import AIFunction, AIFunctionCall
from django_chatgpt.services.figures import milliseconds, per_cent


class FunctionList(ChangeList):
    """Functions with the time of their last call by a model, which one query finds for all of them."""

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        found = _last_uses([row.name for row in self.result_list])
        for row in self.result_list:
            row.found_last_use = found.get(row.name)


def _last_uses(names: Iterable[str]) -> dict[str, datetime]:
    calls = AIFunctionCall.objects.filter(name__in=names).order_by()
    return dict(calls.values_list("name").annotate(last=Max("created_at")))


@admin.register(AIFunction)
class AIFunctionAdmin(TableAdmin[AIFunction]):
    """Functions are written in code; here they are looked at and switched off."""

    list_display = ("name", "is_active", "in_code", "usage_count", "error_count", "rate", "time", "last_use")
    list_editable = ("is_active",)
    list_filter = ("is_active",)
    search_fields = ("name", "description")
    search_lookup = "icontains"
    ordering = ("name",)
    readonly_fields = (
        "name",
        "description",
        "parameters_schema",
        "implementation",
        "in_code",
        "usage_count",
        "success_count",
        "error_count",
        "rate",
        "time",
        "last_use",
        "id",
        "created_at",
        "updated_at",
    )
    fieldsets = (
        (
            None,
            {
                "fields": (
                    "name",
                    "is_active",
                    "description",
                    "parameters_schema",
                    "implementation",
                    "in_code",
                ),
                "description": _(
                    "What a function does is written in the site's own code, in an ai_functions.py, and not "
                    "in this row: nothing is imported or executed from here. Switched off, it is offered to "
                    "no model, and refused where one calls it all the same."
                ),
            },
        ),
        (
            _("Calls"),
            {"fields": ("usage_count", "success_count", "error_count", "rate", "time", "last_use")},
        ),
        (_("Record"), {"fields": ("metadata", "id", "created_at", "updated_at")}),
    )

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return FunctionList

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    @admin.display(description=_("in the code"), boolean=True)
    def in_code(self, function: AIFunction) -> bool:
        return function_registry.get_function(function.name) is not None

    @admin.display(description=_("success rate"), empty_value="-")
    def rate(self, function: AIFunction) -> str | None:
        return per_cent(function.success_rate)

    @admin.display(description=_("average time"), ordering="average_response_time_ms", empty_value="-")
    def time(self, function: AIFunction) -> str | None:
        return milliseconds(function.average_response_time_ms)

    @admin.display(description=_("last called by a model"), empty_value="-")
    def last_use(self, function: AIFunction) -> datetime | None:
        if hasattr(function, "found_last_use"):
            return function.found_last_use  # type: ignore[no-any-return]
        return _last_uses([function.name]).get(function.name)
