"""Budgets in the admin: how they stand now, and the memos that spare adding them up."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.contrib import admin
from django.contrib.auth import get_user_model
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.urls import URLPattern
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from django_chatgpt.admin.base import RecordAdmin, Tool
from django_chatgpt.conf import conf
from django_chatgpt.models import AIBudget
from django_chatgpt.services import standings

MOST_USERS = 50


@admin.register(AIBudget)
class AIBudgetAdmin(RecordAdmin[AIBudget]):
    """Read only: what is used of a budget is in the ledger, not here."""

    list_display = ("key", "settled_cost", "settled_before", "updated_at")
    search_fields = ("key",)
    sortable_by = ("key",)
    ordering = ("-starts_at", "key")

    def list_tools(self, request: HttpRequest) -> list[Tool]:
        return [Tool(self.address("now"), _("Budgets now"))]

    def own_urls(self) -> Iterable[URLPattern]:
        yield self.page("now/", self.now, "now")

    def now(self, request: HttpRequest) -> HttpResponse:
        """What of each budget is spent, reserved and left, and when it begins anew."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        name = request.GET.get("user", "").strip()
        user = _user_called(name) if name else None
        users = [] if name and user is None else standings.of_users(MOST_USERS, user.pk if user else None)
        return self.render_page(
            request,
            "budgets.html",
            gettext("Budgets now"),
            shared=[_shown(each) for each in standings.shared()],
            rules=[budget for budget in conf.budgets if budget.scope == "user"],
            users=[{"user": each.user, **_shown(each.standing)} for each in users],
            most=MOST_USERS,
            name=name,
            unknown=bool(name) and user is None,
        )


def _user_called(name: str) -> Any:
    return get_user_model()._default_manager.filter(**{get_user_model().USERNAME_FIELD: name}).first()


def _shown(standing: standings.Standing) -> dict[str, Any]:
    window = standing.window
    share = standings.share_of(standing)
    return {
        "kind": {"site": gettext("the whole site"), "group": gettext("group")}.get(window.kind, ""),
        "name": window.name,
        "period": gettext("day") if window.period == "day" else gettext("month"),
        "limit": window.limit,
        "spent": standing.spent,
        "reserved": standing.reserved,
        "left": window.limit - standing.used,
        "resets": window.end,
        "percent": round(share * 100),
        "state": "full" if share >= 1 else "near" if share * 100 >= 80 else "calm",
    }
