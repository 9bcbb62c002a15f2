"""The locks of budgets in the admin."""

from __future__ import annotations

from django.contrib import admin

from django_chatgpt.admin.base import RecordAdmin
from django_chatgpt.models import AIBudget


@admin.register(AIBudget)
class AIBudgetAdmin(RecordAdmin[AIBudget]):
    """Read only: what is used of a budget is in the ledger, not here."""

    list_display = ("key", "settled_cost", "settled_before", "updated_at")
    search_fields = ("key",)
    ordering = ("-starts_at", "key")
