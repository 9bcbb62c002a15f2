"""Costs in the ledger that are corrected afterwards, and everything that repeats them.

Only rows that are final: settled, holding nothing, their tokens known. Nobody else writes them any more.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from django.db.models import Case, DecimalField, F, Q, QuerySet, Value, When
from django.utils import timezone

from django_chatgpt.models import AIConversation, AIMessage, AIUsage
from django_chatgpt.models.fields import MONEY_DIGITS, MONEY_PLACES
from django_chatgpt.storage import budgets
from django_chatgpt.storage.primary import atomic, hold, primary, retried

NOTHING = Decimal(0)
# Calls that were refused or answered from a cache cost nothing, at any price.
FREE = Q(total_tokens=0, estimated_cost__isnull=False)
COLUMNS = (
    "user_id",
    "conversation_id",
    "turn_id",
    "model",
    "prompt_tokens",
    "completion_tokens",
    "total_tokens",
    "cached_tokens",
    "cache_write_tokens",
    "reasoning_tokens",
    "service_tier",
    "estimated_cost",
    "price_source",
    "priced_at",
    "budget_groups",
    "timestamp",
    "metadata",
)


@dataclass(frozen=True, slots=True)
class NewCost:
    """What an attempt costs by the prices of today, in USD, and who says so."""

    cost: Decimal
    source: str


def priceable(since: datetime, model: str | None = None) -> QuerySet[AIUsage]:
    """The rows that can be priced, of attempts begun at `since` or later; `model` as asked or answered."""
    rows = AIUsage.objects.using(primary()).filter(timestamp__gte=since)
    rows = rows.exclude(usage_source=AIUsage.Source.UNKNOWN).exclude(budgets.OPEN).exclude(FREE)
    return rows if model is None else rows.filter(Q(model=model) | Q(metadata__asked=model))


def page(rows: QuerySet[AIUsage], last: AIUsage | None, size: int) -> list[AIUsage]:
    """The next `size` of them behind `last`, oldest first."""
    if last is not None:
        passed = Q(timestamp=last.timestamp, pk__lte=last.pk)
        rows = rows.filter(timestamp__gte=last.timestamp).exclude(passed)
    return list(rows.order_by("timestamp", "pk").only(*COLUMNS)[:size])


def correct(
    rows: Sequence[AIUsage],
    price: Callable[[AIUsage], NewCost | None],
    memos: Callable[[AIUsage], Collection[str]],
) -> list[tuple[Decimal | None, Decimal]]:
    """Write what `price` says of `rows` as they are now: the old and the new cost of those that changed.

    The old one is kept in the row. The totals of their conversations, the messages they have written and the
    `memos` of the budgets they count in change with them or not at all.
    """
    changes, keys = retried(lambda: _correct(rows, price, memos))
    if keys:
        retried(lambda: _forget(keys))
    return changes


def _correct(
    rows: Sequence[AIUsage],
    price: Callable[[AIUsage], NewCost | None],
    memos: Callable[[AIUsage], Collection[str]],
) -> tuple[list[tuple[Decimal | None, Decimal]], set[str]]:
    changed: list[AIUsage] = []
    changes: list[tuple[Decimal | None, Decimal]] = []
    added: dict[UUID, Decimal] = {}
    now = timezone.now()
    with atomic():
        # The conversations first, as whoever settles or deletes.
        talks = {row.conversation_id for row in rows if row.conversation_id is not None}
        hold(AIConversation.objects.using(primary()).filter(pk__in=talks))
        present = AIUsage.objects.using(primary()).filter(pk__in=[row.pk for row in rows])
        hold(present)
        for row in present.only(*COLUMNS):
            new, old = price(row), row.estimated_cost
            if new is None or new.cost == old:
                continue
            changes.append((old, new.cost))
            _rewrite(row, new, now)
            changed.append(row)
            if row.conversation_id is not None:
                difference = new.cost - (old or NOTHING)
                added[row.conversation_id] = added.get(row.conversation_id, NOTHING) + difference
        keys = {key for row in changed for key in memos(row)}
        if changed:
            AIUsage.objects.using(primary()).bulk_update(
                changed, ["estimated_cost", "price_source", "priced_at", "metadata", "updated_at"]
            )
            _add_to_conversations(added)
            _correct_messages(changed)
            budgets.forget(keys)
    return changes, keys


def _forget(keys: Collection[str]) -> None:
    with atomic():
        budgets.forget(keys)


def _rewrite(row: AIUsage, new: NewCost, now: datetime) -> None:
    metadata: dict[str, Any] = row.metadata if isinstance(row.metadata, dict) else {}
    past = metadata.get("repriced")
    before = {
        "cost": None if row.estimated_cost is None else f"{row.estimated_cost:f}",
        "source": row.price_source,
        "priced_at": row.priced_at.isoformat() if row.priced_at else None,
    }
    row.metadata = {**metadata, "repriced": [*(past if isinstance(past, list) else []), before]}
    row.estimated_cost, row.price_source = new.cost, new.source
    row.priced_at = row.updated_at = now


def _add_to_conversations(added: dict[UUID, Decimal]) -> None:
    """Not a use of them, so `updated_at` stays."""
    money: DecimalField[Any, Any] = DecimalField(max_digits=MONEY_DIGITS, decimal_places=MONEY_PLACES)
    each = [When(pk=pk, then=Value(amount, output_field=money)) for pk, amount in added.items()]
    if each:
        rows = AIConversation.objects.using(primary()).filter(pk__in=list(added))
        rows.update(total_cost=F("total_cost") + Case(*each, output_field=money))


def _correct_messages(changed: Sequence[AIUsage]) -> None:
    costs = {str(row.pk): row.estimated_cost for row in changed}
    turns = {row.turn_id for row in changed if row.turn_id is not None}
    rows = AIMessage.objects.using(primary()).filter(turn_id__in=turns, role=AIMessage.Role.ASSISTANT)
    written = [
        AIMessage(pk=pk, estimated_cost=costs[attempt])
        for pk, attempt in rows.values_list("pk", "metadata__attempt")
        if attempt in costs
    ]
    AIMessage.objects.using(primary()).bulk_update(written, ["estimated_cost"])
