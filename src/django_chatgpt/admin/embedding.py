"""Embedded texts in the admin, and those that are being embedded."""

from __future__ import annotations

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest

from django_chatgpt.admin.base import RecordAdmin
from django_chatgpt.models import EmbeddingClaim, EmbeddingVector


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


@admin.register(EmbeddingClaim)
class EmbeddingClaimAdmin(RecordAdmin[EmbeddingClaim]):
    """Deleted here, a text may be sent and paid for a second time."""

    list_display = ("id", "holder", "expires_at", "created_at")
    search_fields = ("key",)
    key_fields = ("pk", "holder")
    ordering = ("-id",)
    fields = ("key", "holder", "expires_at", "id", "created_at", "updated_at")
