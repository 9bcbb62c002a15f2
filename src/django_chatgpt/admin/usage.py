"""The ledger in the admin."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.http import HttpRequest

from django_chatgpt.admin.base import RecordAdmin
from django_chatgpt.models import AIUsage


@admin.register(AIUsage)
class AIUsageAdmin(RecordAdmin[AIUsage]):
    """Read, never written or deleted: sums, budgets and bills rest on it."""

    list_display = (
        "timestamp",
        "kind",
        "model",
        "user",
        "outcome",
        "total_tokens",
        "estimated_cost",
        "usage_source",
        "latency_ms",
    )
    list_filter = ("kind", "outcome", "usage_source", "timestamp", "model")
    list_select_related = ("user",)
    search_fields = ("model", "request_id", "error_code")
    searches_user = True
    key_fields = ("pk", "turn", "conversation")
    ordering = ("-timestamp", "-id")

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False
