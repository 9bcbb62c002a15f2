"""Messages in the admin."""

from __future__ import annotations

from django.contrib import admin
from django.utils.translation import gettext_lazy as _

from django_chatgpt.admin.base import RecordAdmin
from django_chatgpt.admin.filters import CreatedFilter
from django_chatgpt.models import AIMessage
from django_chatgpt.services.figures import usd


@admin.register(AIMessage)
class AIMessageAdmin(RecordAdmin[AIMessage]):
    """Whoever may view these may read what people have written, here and in transcripts."""

    list_display = (
        "__str__",
        "conversation",
        "status",
        "token_count",
        "cost",
        "response_time_ms",
        "created_at",
    )
    list_filter = ("role", "status", CreatedFilter)
    list_select_related = ("conversation",)
    search_fields = ("request_id",)
    key_fields = ("pk", "conversation", "turn")
    sortable_by = ()
    ordering = ("-id",)

    @admin.display(description=_("cost"))
    def cost(self, message: AIMessage) -> str:
        return usd(message.estimated_cost) if message.role == AIMessage.Role.ASSISTANT else "-"
