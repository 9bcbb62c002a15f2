"""Alerts in the admin: what a person should look at, and who has."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, cast

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.forms import ModelForm
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext

from django_chatgpt.admin.base import TableAdmin
from django_chatgpt.admin.filters import CreatedFilter
from django_chatgpt.admin.paging import COUNTED
from django_chatgpt.models import AIAlert

if TYPE_CHECKING:
    from django_chatgpt.models.alert import AIAlertQuerySet


@admin.register(AIAlert)
class AIAlertAdmin(TableAdmin[AIAlert]):
    list_display = ("title", "severity", "user", "is_resolved", "created_at", "resolved_by")
    list_filter = ("is_resolved", "severity", CreatedFilter)
    list_select_related = ("user", "resolved_by")
    search_fields = ("title",)
    user_field = "user_id"
    key_fields = ("pk", "conversation")
    sortable_by = ("is_resolved",)
    ordering = ("is_resolved", "-created_at")
    raw_id_fields = ("user", "conversation")
    readonly_fields = ("resolved_at", "resolved_by", "id", "created_at", "updated_at")
    actions = ("mark_resolved", "mark_unresolved")
    fieldsets = (
        (None, {"fields": ("title", "severity", "description", "user", "conversation")}),
        (_("Resolution"), {"fields": ("is_resolved", "resolved_at", "resolved_by")}),
        (_("Record"), {"fields": ("metadata", "id", "created_at", "updated_at")}),
    )

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> Any:
        number = AIAlert.objects.unresolved().order_by()[: COUNTED + 1].count()
        text = ngettext("%d unresolved", "%d unresolved", number) % min(number, COUNTED)
        if number > COUNTED:
            text = _("more than %s") % text
        return super().changelist_view(request, {"subtitle": text, **(extra_context or {})})

    def save_model(self, request: HttpRequest, obj: AIAlert, form: ModelForm[AIAlert], change: bool) -> None:
        if "is_resolved" in form.changed_data:
            obj.mark(resolved=obj.is_resolved, by=request.user)
        super().save_model(request, obj, form, change)

    def written_with(self, changed: Iterable[str]) -> list[str]:
        names = list(changed)
        return [*names, "resolved_at", "resolved_by"] if "is_resolved" in names else names

    @admin.action(description=_("Mark as resolved"), permissions=["change"])
    def mark_resolved(self, request: HttpRequest, queryset: QuerySet[AIAlert]) -> None:
        number = cast("AIAlertQuerySet", queryset).resolve(by=request.user)
        text = ngettext("%d alert resolved.", "%d alerts resolved.", number) % number
        self.message_user(request, text, messages.SUCCESS)

    @admin.action(description=_("Mark as not resolved"), permissions=["change"])
    def mark_unresolved(self, request: HttpRequest, queryset: QuerySet[AIAlert]) -> None:
        number = cast("AIAlertQuerySet", queryset).reopen()
        text = ngettext("%d alert opened again.", "%d alerts opened again.", number) % number
        self.message_user(request, text, messages.SUCCESS)
