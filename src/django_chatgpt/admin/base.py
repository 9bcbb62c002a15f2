"""What the pages of every table have in common."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar
from uuid import UUID

from django import forms
from django.contrib import admin
from django.contrib.auth import get_user_model
from django.core.exceptions import ValidationError
from django.db.models import JSONField, Model, Q, QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

Row = TypeVar("Row", bound=Model)

if TYPE_CHECKING:

    class _ModelAdmin(admin.ModelAdmin[Row]): ...

else:

    class _ModelAdmin(admin.ModelAdmin, Generic[Row]): ...


class ObjectField(forms.JSONField):
    """A JSON object; left blank it is the empty one, where Django's own field would be NULL."""

    def clean(self, value: Any) -> Any:
        cleaned = super().clean(value)
        if cleaned is None:
            return {}
        if not isinstance(cleaned, dict):
            raise ValidationError(_("Enter a JSON object, such as {}."), code="invalid")
        return cleaned


class TableAdmin(_ModelAdmin[Row]):
    """Pages of a table with a time-ordered key.

    A search for a UUID looks in `key_fields` alone, by their indexes. With `searches_user` the name that
    users log in with is searched too, whatever the site's user model calls it.
    """

    key_fields: ClassVar[Sequence[str]] = ("pk",)
    searches_user: ClassVar[bool] = False
    formfield_overrides: ClassVar[dict[Any, Any]] = {JSONField: {"form_class": ObjectField}}
    show_full_result_count = False
    list_per_page = 50

    def get_search_fields(self, request: HttpRequest) -> list[str]:
        fields = list(super().get_search_fields(request))
        if self.searches_user:
            fields.append(f"user__{get_user_model().USERNAME_FIELD}")
        return fields

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Row], search_term: str
    ) -> tuple[QuerySet[Row], bool]:
        try:
            key = UUID(search_term.strip())
        except ValueError:
            return super().get_search_results(request, queryset, search_term)
        wanted = Q.create([(field, key) for field in self.key_fields], connector=Q.OR)
        return queryset.filter(wanted), False


class RecordAdmin(TableAdmin[Row]):
    """Pages of what the app records by itself: nobody writes it by hand."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False
