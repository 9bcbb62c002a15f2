"""Configurations in the admin."""

from __future__ import annotations

from django.contrib import admin
from django.utils.translation import gettext_lazy as _

from django_chatgpt.admin.base import TableAdmin
from django_chatgpt.models import AIConfiguration


@admin.register(AIConfiguration)
class AIConfigurationAdmin(TableAdmin[AIConfiguration]):
    list_display = ("name", "model", "temperature", "max_tokens", "is_active", "updated_at")
    list_filter = ("is_active",)
    search_fields = ("name", "model")
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
