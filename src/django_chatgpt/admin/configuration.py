"""Configurations in the admin, and what the model answers with one."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django import forms
from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.urls import URLPattern
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from django_chatgpt.admin.base import TableAdmin, Tool
from django_chatgpt.conf import conf
from django_chatgpt.exceptions import AIServiceError
from django_chatgpt.models import AIConfiguration
from django_chatgpt.services.ai import AIService


class QuestionForm(forms.Form):
    """One question."""

    question = forms.CharField(
        label=_("Question"), widget=forms.Textarea(attrs={"rows": 4, "class": "vLargeTextField"})
    )


@admin.register(AIConfiguration)
class AIConfigurationAdmin(TableAdmin[AIConfiguration]):
    list_display = ("name", "model", "temperature", "max_tokens", "is_active", "updated_at")
    list_filter = ("is_active",)
    search_fields = ("name", "model")
    search_lookup = "icontains"
    ordering = ("name",)
    readonly_fields = ("id", "created_at", "updated_at")
    fieldsets = (
        (None, {"fields": ("name", "is_active", "model", "system_prompt")}),
        (
            _("Parameters"),
            {"fields": ("temperature", "max_tokens", "top_p", "frequency_penalty", "presence_penalty")},
        ),
        (_("Record"), {"fields": ("metadata", "id", "created_at", "updated_at")}),
    )

    def row_tools(self, request: HttpRequest, row: AIConfiguration) -> list[Tool]:
        may = self.has_change_permission(request, row)
        return [Tool(self.address("try", row.pk), _("Try it"))] if may else []

    def own_urls(self) -> Iterable[URLPattern]:
        yield self.page("<path:object_id>/try/", self.try_it, "try")

    def try_it(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Ask one question with this configuration, on the account of whoever tries it."""
        configuration = self.row(request, object_id)
        if not self.has_change_permission(request, configuration):
            raise PermissionDenied
        form = QuestionForm(request.POST if request.method == "POST" else None)
        found: dict[str, Any] = {}
        if form.is_valid():
            found = _answer(request, configuration, form.cleaned_data["question"])
            if "reply" in found:
                found["transcript"] = self.transcript_address(request, found["reply"].conversation_id)
        return self.render_page(
            request,
            "try.html",
            gettext("Try it"),
            subtitle=str(configuration),
            configuration=configuration,
            default_model=conf.default_model,
            form=form,
            **found,
        )


def _answer(request: HttpRequest, configuration: AIConfiguration, question: str) -> dict[str, Any]:
    """The reply, or the error in words for those who run the site. No function is called."""
    service = AIService(user=request.user, configuration=configuration)
    try:
        return {"reply": service.ask(question, use_functions=False)}
    except AIServiceError as error:
        return {"error": error}
