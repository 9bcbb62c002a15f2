"""A budget's lock, and what it need not add up again."""

from __future__ import annotations

from decimal import Decimal

from django.db import models
from django.utils.translation import gettext_lazy as _

from django_chatgpt.models.base import TimeOrdered
from django_chatgpt.models.fields import MONEY_DIGITS, MONEY_PLACES, ExactCharField


class AIBudget(TimeOrdered):
    """One budget of one owner in one day or month: "user:7:month:2026-11", "site::day:2026-11-22".

    What of it is used is never kept: it is the sum over the ledger of what attempts have cost and what
    running ones have reserved. This row does two other things.

    It is the lock: who reserves holds it from looking at the sum until the reservation is committed.

    And it spares adding up the whole month each time. `settled_cost` (USD) is the sum over the rows of the
    ledger from the beginning of the period until `settled_before`, all of which are final: a row is settled
    once, and rows that are written later have later times. It may be thrown away at any moment, and is by
    whoever changes settled rows.
    """

    key = ExactCharField(_("key"), max_length=255, unique=True)
    settled_cost = models.DecimalField(
        _("settled cost"), max_digits=MONEY_DIGITS, decimal_places=MONEY_PLACES, default=Decimal(0)
    )
    starts_at = models.DateTimeField(_("starts at"))
    settled_before = models.DateTimeField(_("settled before"))

    class Meta:
        db_table = "ai_budget"
        verbose_name = _("AI budget")
        verbose_name_plural = _("AI budgets")

    def __str__(self) -> str:
        return self.key
