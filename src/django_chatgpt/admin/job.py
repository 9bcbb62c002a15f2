"""Texts that are embedded later, at half price."""

from __future__ import annotations

from django.contrib import admin

from django_chatgpt.admin.base import RecordAdmin
from django_chatgpt.admin.filters import CreatedFilter
from django_chatgpt.models import EmbeddingJob, EmbeddingJobText


@admin.register(EmbeddingJob)
class EmbeddingJobAdmin(RecordAdmin[EmbeddingJob]):
    """Deleted here, a job is not stopped at the provider: `manage.py chatgpt_batch cancel` does that."""

    list_display = ("id", "user", "model", "status", "total", "done", "failed", "created_at", "updated_at")
    list_filter = ("status", "model", CreatedFilter)
    list_select_related = ("user",)
    search_fields = ("provider_id", "input_file")
    user_field = "user_id"
    sortable_by = ()
    ordering = ("-id",)
    fields = (
        "user",
        "model",
        "dimensions",
        "metadata",
        "status",
        "input_file",
        "provider_id",
        "total",
        "done",
        "failed",
        "holder",
        "held_until",
        "id",
        "created_at",
        "updated_at",
    )


@admin.register(EmbeddingJobText)
class EmbeddingJobTextAdmin(RecordAdmin[EmbeddingJobText]):
    list_display = ("id", "job", "content_hash", "error", "created_at")
    list_filter = (("error", admin.EmptyFieldListFilter), CreatedFilter)
    list_select_related = ("job",)
    search_fields = ("content_hash",)
    key_fields = ("pk", "job")
    sortable_by = ()
    ordering = ("-id",)
    fields = ("job", "content", "content_hash", "error", "id", "created_at", "updated_at")
