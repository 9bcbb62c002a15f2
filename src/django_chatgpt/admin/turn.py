"""Turns in the admin: where each stands, and how to stop it."""

from __future__ import annotations

from contextlib import suppress

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext

from django_chatgpt.admin.base import RecordAdmin, Tool
from django_chatgpt.admin.filters import CreatedFilter, StuckFilter, UserFilter
from django_chatgpt.exceptions import NotFoundError
from django_chatgpt.models import AITurn
from django_chatgpt.services.cancel import cancel

MOST_STOPPED = 100


@admin.register(AITurn)
class AITurnAdmin(RecordAdmin[AITurn]):
    list_display = (
        "id",
        "status",
        "user",
        "conversation",
        "error_code",
        "created_at",
        "finished_at",
        "lease_expires_at",
    )
    list_filter = (StuckFilter, "status", CreatedFilter, UserFilter)
    list_select_related = ("user", "conversation")
    search_fields = ("error_code", "idempotency_key")
    user_field = "user_id"
    key_fields = ("pk", "conversation")
    sortable_by = ("id",)
    ordering = ("-id",)
    text_fields = ("partial_text",)
    actions = ("stop",)

    def has_stop_permission(self, request: HttpRequest) -> bool:
        """Turns are written by nobody; whoever has the permission to change them may stop them."""
        return bool(request.user.has_perm("django_chatgpt.change_aiturn"))

    def row_tools(self, request: HttpRequest, row: AITurn) -> list[Tool]:
        address = self.transcript_address(request, row.conversation_id)
        return [Tool(address, _("Transcript"))] if address else []

    @admin.action(description=_("Stop"), permissions=["stop"])
    def stop(self, request: HttpRequest, queryset: QuerySet[AITurn]) -> None:
        """Stop those that are not over, in whichever process they run; one whose process is gone is ended."""
        wanted = list(
            queryset.filter(status__in=sorted(AITurn.ACTIVE)).values_list("pk", "user_id")[: MOST_STOPPED + 1]
        )
        for pk, user_id in wanted[:MOST_STOPPED]:
            with suppress(NotFoundError):  # deleted meanwhile
                cancel(pk, user_id)
        number = len(wanted[:MOST_STOPPED])
        text = ngettext("%d turn was told to stop.", "%d turns were told to stop.", number) % number
        self.message_user(request, text, messages.SUCCESS if number else messages.INFO)
        if len(wanted) > MOST_STOPPED:
            self.message_user(request, _("There are more; stop them with another go."), messages.WARNING)
