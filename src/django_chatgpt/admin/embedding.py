"""Embedded texts in the admin, those that are being embedded, and which of them changed."""

from __future__ import annotations

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest

from django_chatgpt.admin.base import RecordAdmin
from django_chatgpt.admin.filters import CreatedFilter, EmbeddingModelFilter
from django_chatgpt.models import EmbeddingChange, EmbeddingClaim, EmbeddingScope, EmbeddingVector


@admin.register(EmbeddingVector)
class EmbeddingVectorAdmin(RecordAdmin[EmbeddingVector]):
    list_display = ("id", "user", "model", "dimensions", "created_at")
    list_filter = (EmbeddingModelFilter, CreatedFilter)
    list_select_related = ("user",)
    search_fields = ("content_hash",)
    user_field = "user_id"
    sortable_by = ()
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
    sortable_by = ()
    ordering = ("-id",)
    fields = ("key", "holder", "expires_at", "id", "created_at", "updated_at")


@admin.register(EmbeddingScope)
class EmbeddingScopeAdmin(RecordAdmin[EmbeddingScope]):
    list_display = ("id", "user", "model", "dimensions", "version", "created_at")
    list_filter = (EmbeddingModelFilter, CreatedFilter)
    list_select_related = ("user",)
    user_field = "user_id"
    search_fields = ("model",)
    sortable_by = ()
    ordering = ("-id",)
    fields = ("user", "model", "dimensions", "version", "head", "id", "created_at", "updated_at")


@admin.register(EmbeddingChange)
class EmbeddingChangeAdmin(RecordAdmin[EmbeddingChange]):
    list_display = ("id", "scope", "version", "created_at")
    list_filter = (CreatedFilter,)
    list_select_related = ("scope",)
    search_fields = ("scope__model",)
    key_fields = ("pk", "scope")
    sortable_by = ()
    ordering = ("-id",)
    fields = ("scope", "version", "id", "created_at", "updated_at")

    def get_queryset(self, request: HttpRequest) -> QuerySet[EmbeddingChange]:
        return super().get_queryset(request).defer("touched")
