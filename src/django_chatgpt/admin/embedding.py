"""Embedded texts in the admin."""

from __future__ import annotations

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest

from django_chatgpt.admin.base import RecordAdmin
from django_chatgpt.models import EmbeddingVector


@admin.register(EmbeddingVector)
class EmbeddingVectorAdmin(RecordAdmin[EmbeddingVector]):
    list_display = ("id", "user", "model", "dimensions", "created_at")
    list_filter = ("model", "created_at")
    list_select_related = ("user",)
    search_fields = ("content", "content_hash")
    searches_user = True
    ordering = ("-id",)
    fields = (
        "user",
        "content",
        "content_hash",
        "model",
        "dimensions",
        "metadata",
        "id",
        "created_at",
        "updated_at",
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[EmbeddingVector]:
        return super().get_queryset(request).defer("vector")
