"""Messages in the admin."""

from __future__ import annotations

from django.contrib import admin

from django_chatgpt.admin.base import RecordAdmin
from django_chatgpt.models import AIMessage


@admin.register(AIMessage)
class AIMessageAdmin(RecordAdmin[AIMessage]):
    list_display = (
        "__str__",
        "conversation",
        "status",
        "token_count",
        "estimated_cost",
        "response_time_ms",
        "created_at",
    )
    list_filter = ("role", "status", "created_at")
    list_select_related = ("conversation",)
    search_fields = ("content", "request_id")
    key_fields = ("pk", "conversation", "turn")
    ordering = ("-id",)
