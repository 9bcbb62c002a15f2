"""Calls that were left to workers, in the admin."""

from __future__ import annotations

from django.contrib import admin

from django_chatgpt.admin.base import RecordAdmin
from django_chatgpt.admin.filters import CreatedFilter
from django_chatgpt.models import AIFunctionJob


@admin.register(AIFunctionJob)
class AIFunctionJobAdmin(RecordAdmin[AIFunctionJob]):
    list_display = ("id", "user", "name", "status", "error_code", "duration_ms", "created_at")
    list_filter = ("status", "name", CreatedFilter)
    list_select_related = ("user",)
    search_fields = ("name", "error_code")
    user_field = "user_id"
    sortable_by = ()
    text_fields = ("arguments", "result")
    ordering = ("-id",)
    fields = (
        "user",
        "name",
        "arguments",
        "status",
        "result",
        "error_code",
        "duration_ms",
        "held_until",
        "id",
        "created_at",
        "updated_at",
    )
