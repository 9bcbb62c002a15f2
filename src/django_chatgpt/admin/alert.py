"""Alerts in the admin."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.forms import ModelForm
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext

from django_chatgpt.admin.base import TableAdmin
from django_chatgpt.models import AIAlert

if TYPE_CHECKING:
    from django_chatgpt.models.alert import AIAlertQuerySet


@admin.register(AIAlert)
class AIAlertAdmin(TableAdmin[AIAlert]):
    list_display = ("title", "severity", "user", "is_resolved", "created_at", "resolved_by")
    list_filter = ("is_resolved", "severity", "created_at")
    list_select_related = ("user", "resolved_by")
    search_fields = ("title", "description")
    searches_user = True
    key_fields = ("pk", "conversation")
    ordering = ("is_resolved", "-created_at")
    raw_id_fields = ("user", "conversation")
    readonly_fields = ("resolved_at", "resolved_by", "id", "created_at", "updated_at")
    actions = ("mark_resolved",)
    fieldsets = (
        (None, {"fields": ("title", "severity", "description", "user", "conversation")}),
        (_("Resolution"), {"fields": ("is_resolved", "resolved_at", "resolved_by")}),
        (_("Record"), {"fields": ("metadata", "id", "created_at", "updated_at")}),
    )

    def save_model(self, request: HttpRequest, obj: AIAlert, form: ModelForm[AIAlert], change: bool) -> None:
        if "is_resolved" in form.changed_data:
            obj.mark(resolved=obj.is_resolved, by=request.user)
        super().save_model(request, obj, form, change)

    @admin.action(description=_("Mark as resolved"), permissions=["change"])
    def mark_resolved(self, request: HttpRequest, queryset: QuerySet[AIAlert]) -> None:
        number = cast("AIAlertQuerySet", queryset).resolve(by=request.user)
        text = ngettext("%d alert resolved.", "%d alerts resolved.", number) % number
        self.message_user(request, text, messages.SUCCESS)
