"""What is in the indexes of the site's models."""

from __future__ import annotations

from django.contrib import admin

from django_chatgpt.admin.base import RecordAdmin
from django_chatgpt.admin.filters import CreatedFilter, IndexFilter, PassageIndexFilter
from django_chatgpt.models import IndexedObject, IndexedPassage


@admin.register(IndexedObject)
class IndexedObjectAdmin(RecordAdmin[IndexedObject]):
    """Deleted here, an object is found again after `manage.py chatgpt_index`."""

    list_display = ("index", "object_key", "stale", "error", "created_at", "updated_at")
    list_filter = (IndexFilter, ("error", admin.EmptyFieldListFilter), CreatedFilter)
    search_fields = ("object_key", "text_hash")
    sortable_by = ()
    ordering = ("-id",)
    fields = ("index", "object_key", "text_hash", "stale", "error", "id", "created_at", "updated_at")


@admin.register(IndexedPassage)
class IndexedPassageAdmin(RecordAdmin[IndexedPassage]):
    list_display = ("id", "indexed", "number", "created_at")
    list_filter = (PassageIndexFilter, CreatedFilter)
    list_select_related = ("indexed",)
    search_fields = ("content_hash",)
    key_fields = ("pk", "indexed")
    sortable_by = ()
    ordering = ("-id",)
    fields = ("indexed", "number", "content_hash", "id", "created_at", "updated_at")
