"""Calls of functions in the admin; those that wait for a person are the queue of approvals."""

from __future__ import annotations

from django.contrib import admin
from django.contrib.auth import get_user_model
from django.http import HttpRequest
from django.utils.text import Truncator
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from django_chatgpt.admin.base import RecordAdmin
from django_chatgpt.functions import function_registry
from django_chatgpt.models import AIFunctionCall


@admin.register(AIFunctionCall)
class AIFunctionCallAdmin(RecordAdmin[AIFunctionCall]):
    """Read here, decided at turns/<id>/approve/: a decision sets a turn going, which a form can't."""

    list_display = (
        "name",
        "status",
        "arguments_in_short",
        "asked_by",
        "may_decide",
        "expires_at",
        "decided_by",
        "created_at",
    )
    list_filter = ("status", "name", "created_at")
    list_select_related = ("turn__user", "decided_by")
    search_fields = ("name", "call_id", "error_code")
    key_fields = ("pk", "turn", "turn__conversation")
    ordering = ("-id",)
    fieldsets = (
        (None, {"fields": ("name", "arguments", "status", "error_code", "duration_ms")}),
        (_("Approval"), {"fields": ("may_decide", "expires_at", "decided_by", "decided_at")}),
        (
            _("Record"),
            {"fields": ("turn", "asked_by", "call_id", "fingerprint", "id", "created_at", "updated_at")},
        ),
    )
    readonly_fields = ("may_decide", "asked_by")

    def get_search_fields(self, request: HttpRequest) -> list[str]:
        fields = super().get_search_fields(request)
        return [*fields, f"turn__user__{get_user_model().USERNAME_FIELD}"]

    @admin.display(description=_("arguments"))
    def arguments_in_short(self, call: AIFunctionCall) -> str:
        return Truncator(call.arguments).chars(80)

    @admin.display(description=_("asked by"), empty_value="-")
    def asked_by(self, call: AIFunctionCall) -> object:
        return call.turn.user

    @admin.display(description=_("may decide"), empty_value="-")
    def may_decide(self, call: AIFunctionCall) -> str | None:
        """Who can still do something about it, in the words of the function's definition."""
        if call.status != AIFunctionCall.Status.AWAITING_APPROVAL:
            return None
        function = function_registry.get_function(call.name)
        if function is None:
            return gettext("nobody: the function is gone")
        if function.approval_permission is None:
            return gettext("the asker")
        words = (
            gettext("whoever has %s")
            if function.self_approval
            else gettext("whoever has %s, but not the asker")
        )
        return words % function.approval_permission
