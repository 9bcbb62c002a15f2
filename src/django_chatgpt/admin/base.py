"""What the pages of every table have in common."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Generic, NamedTuple, TypeVar
from uuid import UUID

from django import forms
from django.contrib import admin
from django.contrib.admin.utils import unquote
from django.contrib.auth import get_user_model
from django.core.exceptions import PermissionDenied, ValidationError
from django.db import connections, transaction
from django.db.models import JSONField, Model, Q, QuerySet
from django.forms import ModelForm
from django.http import Http404, HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.translation import gettext_lazy as _

from django_chatgpt.admin.paging import BoundedPaginator

Row = TypeVar("Row", bound=Model)

NAMES_FOUND = 100
READS = "django_chatgpt.view_aimessage"
SEES_CONVERSATIONS = "django_chatgpt.view_aiconversation"

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


def may_read(request: HttpRequest) -> bool:
    """Whether this member of the staff may read what people and the model have written."""
    return bool(request.user.has_perm(READS))


def knows_titles(request: HttpRequest) -> bool:
    """Whether this member of the staff may know how conversations are called: by a question's first words."""
    return bool(request.user.has_perm(SEES_CONVERSATIONS)) or may_read(request)


class Tool(NamedTuple):
    """A link above a list or a row."""

    address: str
    text: Any


class TableAdmin(_ModelAdmin[Row]):
    """Pages of a table with a time-ordered key, which may be long.

    A search for a UUID looks in `key_fields` alone, by their indexes. Anything else is compared with the
    beginning of `search_fields` (`search_lookup`) and, where `user_field` is named, with that of the name
    that users log in with, whatever the site's user model calls it.

    `text_fields` are shown to those alone who may read what people have written. Who may not know the titles
    of conversations sees their keys.
    """

    key_fields: ClassVar[Sequence[str]] = ("pk",)
    user_field: ClassVar[str] = ""
    search_lookup: ClassVar[str] = "startswith"
    text_fields: ClassVar[Sequence[str]] = ()
    formfield_overrides: ClassVar[dict[Any, Any]] = {
        # Whether it has changed is seen from the row, not from a copy of it that the browser sends along.
        JSONField: {"form_class": ObjectField, "show_hidden_initial": False}
    }
    paginator = BoundedPaginator
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER  # each would count the whole table once more
    list_per_page = 50
    list_max_show_all = 50

    class Media:
        css: ClassVar[dict[str, Any]] = {"all": ["django_chatgpt/admin.css"]}

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Row], search_term: str
    ) -> tuple[QuerySet[Row], bool]:
        term = search_term.strip()
        if not term:
            return queryset, False
        try:
            key = UUID(term)
        except ValueError:
            pairs: list[tuple[str, Any]] = [
                (f"{field}__{self.search_lookup}", term) for field in self.get_search_fields(request)
            ]
            if self.user_field:
                # Two steps, so that the index on the user is used.
                pairs.append((f"{self.user_field}__in", _users_called(term)))
        else:
            pairs = [(field, key) for field in self.key_fields]
        return queryset.filter(Q.create([*pairs], connector=Q.OR)), False

    def get_list_display(self, request: HttpRequest) -> Any:
        return _without_titles(super().get_list_display(request), request)

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        hidden = () if may_read(request) else self.text_fields
        return [
            (
                name,
                {
                    **options,
                    "fields": _without_titles(
                        [field for field in options["fields"] if field not in hidden], request
                    ),
                },
            )
            for name, options in super().get_fieldsets(request, obj)
        ]

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        fields = super().get_readonly_fields(request, obj)
        has_one = any(field.name == "conversation" for field in self.opts.fields)
        return [*fields, "conversation_key"] if has_one and not knows_titles(request) else fields

    @admin.display(description=_("conversation"), empty_value="-")
    def conversation_key(self, row: Any) -> str | None:
        return row.conversation_id and str(row.conversation_id)

    def save_model(self, request: HttpRequest, obj: Any, form: ModelForm[Any], change: bool) -> None:
        """Write what was changed in the form and nothing else: counters move while somebody looks at it."""
        if not change:
            super().save_model(request, obj, form, change)
        elif form.changed_data:
            obj.save(update_fields=[*self.written_with(form.changed_data), "updated_at"])

    def written_with(self, changed: Iterable[str]) -> list[str]:
        """The columns that are written where these fields of the form have changed."""
        return list(changed)

    def list_tools(self, request: HttpRequest) -> list[Tool]:
        """Links above the list."""
        return []

    def row_tools(self, request: HttpRequest, row: Row) -> list[Tool]:
        """Links above a row."""
        return []

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> Any:
        return super().changelist_view(request, {"tools": self.list_tools(request), **(extra_context or {})})

    def render_change_form(self, request: HttpRequest, context: Any, *args: Any, **kwargs: Any) -> Any:
        row = context.get("original")
        context["tools"] = [] if row is None else self.row_tools(request, row)
        return super().render_change_form(request, context, *args, **kwargs)

    # Pages of our own, beside Django's.

    def get_urls(self) -> list[URLPattern]:
        return [*self.own_urls(), *super().get_urls()]

    def own_urls(self) -> Iterable[URLPattern]:
        """The addresses of the pages that Django does not have."""
        return ()

    def page(self, route: str, view: Callable[..., HttpResponse], name: str) -> URLPattern:
        """One of them, outside ATOMIC_REQUESTS: a turn that it sets going has to see what it wrote."""
        guarded = self.admin_site.admin_view(view)
        for alias in connections:
            guarded = transaction.non_atomic_requests(using=alias)(guarded)
        return path(route, guarded, name=self.page_name(name))

    def page_name(self, name: str) -> str:
        return f"{self.opts.app_label}_{self.opts.model_name}_{name}"

    def address(self, name: str, *args: Any) -> str:
        """Where one of this table's pages is, Django's or ours."""
        return reverse(f"{self.admin_site.name}:{self.page_name(name)}", args=args)

    def transcript_address(self, request: HttpRequest, conversation_id: Any) -> str:
        """Where a conversation is read; "" for those who may not see it."""
        if not request.user.has_perm(SEES_CONVERSATIONS):
            return ""
        name = f"{self.admin_site.name}:django_chatgpt_aiconversation_transcript"
        return reverse(name, args=[conversation_id])

    def row(self, request: HttpRequest, key: str) -> Row:
        """A row that this member of the staff may see. Raises Http404 and PermissionDenied."""
        found = self.get_object(request, unquote(key))
        if not self.has_view_permission(request, found):
            raise PermissionDenied
        if found is None:
            raise Http404
        return found

    def render_page(
        self, request: HttpRequest, template: str, title: str, **context: Any
    ) -> TemplateResponse:
        """A page of ours in the dress of the admin."""
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "media": self.media,
            "title": title,
            "reads": may_read(request),
            "list_address": self.address("changelist"),
            **context,
        }
        request.current_app = self.admin_site.name
        return TemplateResponse(request, f"admin/django_chatgpt/{template}", context)


class RecordAdmin(TableAdmin[Row]):
    """Pages of what the app records by itself: nobody writes it by hand."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


def _without_titles(names: Sequence[Any], request: HttpRequest) -> list[Any]:
    """Names of columns or fields, with the key of a conversation in the place of its title."""
    if knows_titles(request) or "conversation" not in names:
        return list(names)
    others = [name for name in names if name != "conversation_key"]
    return ["conversation_key" if name == "conversation" else name for name in others]


def _users_called(term: str) -> list[Any]:
    """The users whose login name begins so, as many as anybody looks through."""
    model = get_user_model()
    name = {f"{model.USERNAME_FIELD}__startswith": term}
    return list(model._default_manager.filter(**name).order_by().values_list("pk", flat=True)[:NAMES_FOUND])
