"""Conversations in the admin."""

from __future__ import annotations

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from django_chatgpt.admin.base import TableAdmin
from django_chatgpt.models import AIConversation


@admin.register(AIConversation)
class AIConversationAdmin(TableAdmin[AIConversation]):
    list_display = (
        "__str__",
        "user",
        "is_active",
        "messages_in_it",
        "total_tokens",
        "total_cost",
        "updated_at",
    )
    list_filter = ("is_active", "updated_at")
    list_select_related = ("user",)
    search_fields = ("title", "session_id")
    searches_user = True
    ordering = ("-updated_at", "-id")
    raw_id_fields = ("user",)
    autocomplete_fields = ("configuration",)
    readonly_fields = ("id", "total_tokens", "total_cost", "created_at", "updated_at")
    fieldsets = (
        (None, {"fields": ("title", "user", "configuration", "is_active", "session_id")}),
        (_("Totals"), {"fields": ("total_tokens", "total_cost")}),
        (_("Record"), {"fields": ("metadata", "id", "created_at", "updated_at")}),
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[AIConversation]:
        return AIConversation.objects.with_message_count().order_by(*self.get_ordering(request))

    @admin.display(description=_("messages"), ordering="counted_messages")
    def messages_in_it(self, conversation: AIConversation) -> int:
        return conversation.message_count
