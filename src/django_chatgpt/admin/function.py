"""The site's functions in the admin."""

from __future__ import annotations

from django.contrib import admin
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from django_chatgpt.admin.base import TableAdmin
from django_chatgpt.models import AIFunction


@admin.register(AIFunction)
class AIFunctionAdmin(TableAdmin[AIFunction]):
    """Functions are written in code; here they are looked at and switched off."""

    list_display = ("name", "is_active", "usage_count", "error_count", "rate", "average_response_time_ms")
    list_filter = ("is_active",)
    search_fields = ("name", "description")
    ordering = ("name",)
    readonly_fields = (
        "name",
        "description",
        "parameters_schema",
        "implementation",
        "usage_count",
        "success_count",
        "error_count",
        "rate",
        "average_response_time_ms",
        "id",
        "created_at",
        "updated_at",
    )
    fieldsets = (
        (None, {"fields": ("name", "is_active", "description", "parameters_schema", "implementation")}),
        (
            _("Calls"),
            {
                "fields": (
                    "usage_count",
                    "success_count",
                    "error_count",
                    "rate",
                    "average_response_time_ms",
                )
            },
        ),
        (_("Record"), {"fields": ("metadata", "id", "created_at", "updated_at")}),
    )

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    @admin.display(description=_("success rate"), empty_value="-")
    def rate(self, function: AIFunction) -> str | None:
        rate = function.success_rate
        return None if rate is None else f"{rate:.1f} %"
