"""Conversations in the admin, and what was said in them."""

from __future__ import annotations

from collections.abc import Iterable

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.urls import URLPattern
from django.utils.html import format_html
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from django_chatgpt.admin.base import TableAdmin, Tool
from django_chatgpt.admin.filters import PeriodFilter, UserFilter
from django_chatgpt.admin.transcript import pages_of, parts_of
from django_chatgpt.models import AIConversation
from django_chatgpt.services.figures import usd


class UsedFilter(PeriodFilter):
    title = _("last used")
    field = "updated_at"


@admin.register(AIConversation)
class AIConversationAdmin(TableAdmin[AIConversation]):
    list_display = (
        "__str__",
        "read",
        "user",
        "is_active",
        "messages_in_it",
        "total_tokens",
        "cost",
        "updated_at",
    )
    list_filter = (UsedFilter, "is_active", UserFilter)
    list_select_related = ("user",)
    search_fields = ("title", "session_id")
    user_field = "user_id"
    # A summary of what was said is there.
    text_fields = ("metadata",)
    sortable_by = ("updated_at",)
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

    def row_tools(self, request: HttpRequest, row: AIConversation) -> list[Tool]:
        return [Tool(self.address("transcript", row.pk), _("Transcript"))]

    @admin.display(description=_("messages"))
    def messages_in_it(self, conversation: AIConversation) -> int:
        return conversation.message_count

    @admin.display(description=_("cost"))
    def cost(self, conversation: AIConversation) -> str:
        return usd(conversation.total_cost)

    @admin.display(description=_("transcript"))
    def read(self, conversation: AIConversation) -> str:
        return format_html(
            '<a href="{}">{}</a>', self.address("transcript", conversation.pk), gettext("Read")
        )

    def own_urls(self) -> Iterable[URLPattern]:
        yield self.page("<path:object_id>/transcript/", self.transcript, "transcript")

    def transcript(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """What was said, called and answered, a page at a time; texts for those who may read them."""
        conversation = self.row(request, object_id)
        pages = pages_of(conversation)
        page = pages.get_page(request.GET.get("page", 1))
        return self.render_page(
            request,
            "transcript.html",
            gettext("Transcript"),
            subtitle=str(conversation),
            original=conversation,
            conversation=conversation,
            cost=usd(conversation.total_cost),
            parts=parts_of(page),
            page=page,
            page_range=pages.get_elided_page_range(page.number),
        )
