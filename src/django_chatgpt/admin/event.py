"""The logs of turns in the admin."""

from __future__ import annotations

from django.contrib import admin

from django_chatgpt.admin.base import RecordAdmin
from django_chatgpt.models import AITurnEvent


@admin.register(AITurnEvent)
class AITurnEventAdmin(RecordAdmin[AITurnEvent]):
    list_display = ("id", "turn", "first", "last", "created_at")
    list_select_related = ("turn",)
    search_fields = ("turn__error_code",)
    key_fields = ("pk", "turn", "turn__conversation")
    sortable_by = ()
    ordering = ("-id",)
    text_fields = ("data",)
