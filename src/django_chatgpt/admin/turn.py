"""Turns in the admin."""

from __future__ import annotations

from django.contrib import admin

from django_chatgpt.admin.base import RecordAdmin
from django_chatgpt.models import AITurn


@admin.register(AITurn)
class AITurnAdmin(RecordAdmin[AITurn]):
    list_display = ("id", "status", "user", "conversation", "error_code", "created_at", "finished_at")
    list_filter = ("status", "created_at")
    list_select_related = ("user", "conversation")
    search_fields = ("error_code", "idempotency_key")
    searches_user = True
    key_fields = ("pk", "conversation")
    ordering = ("-id",)
