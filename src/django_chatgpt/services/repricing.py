"""Give attempts of the past the cost that they have by the prices of today.

A price that was set late, or corrected, goes into the ledger with it: from the tokens stored there, at the
moment the attempt began. A known cost is never replaced by an unknown one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any

from django_chatgpt.core.messages import TokenUsage
from django_chatgpt.models import AIUsage
from django_chatgpt.services import prices
from django_chatgpt.services.budgets import keys_of
from django_chatgpt.services.periods import aware
from django_chatgpt.storage import repricing as storage
from django_chatgpt.storage.repricing import NewCost

BATCH = 200
NOTHING = Decimal(0)

Advance = Callable[[int], None]


@dataclass(slots=True)
class Repriced:
    """`changed` of `seen` attempts cost something else now, together `difference` USD more.

    `newly_known` of them had no known cost. `unknown` still have none, of the models `without_price`. `until`
    is the time of the last one that was seen.
    """

    seen: int = 0
    changed: int = 0
    newly_known: int = 0
    difference: Decimal = NOTHING
    unknown: int = 0
    without_price: set[str] = field(default_factory=set)
    until: datetime | None = None


def reprice(
    since: datetime, model: str | None = None, *, dry_run: bool = False, advance: Advance, result: Repriced
) -> None:
    """Price anew what was begun at `since` or later, oldest first, into `result` as far as it has come.

    May be stopped at any time and run again: what has its cost is left as it is.
    """
    rows = storage.priceable(since, model)
    last: AIUsage | None = None
    while batch := storage.page(rows, last, BATCH):
        last = batch[-1]
        changes: list[tuple[Decimal | None, Decimal]] = []
        wanted = []
        for row in batch:
            new, old = cost_of(row), row.estimated_cost
            if new is None:
                result.unknown += old is None
                result.without_price |= {row.model} if old is None else set()
            elif new.cost != old:
                wanted.append(row)
                changes.append((old, new.cost))
        if wanted and not dry_run:
            changes = storage.correct(wanted, cost_of, keys_of)
        result.seen += len(batch)
        result.changed += len(changes)
        result.newly_known += sum(old is None for old, _ in changes)
        result.difference += sum((new - (old or NOTHING) for old, new in changes), NOTHING)
        result.until = last.timestamp
        advance(len(batch))


def count(since: datetime, model: str | None = None) -> int:
    """How many attempts there are to look at."""
    return storage.priceable(since, model).count()


def cost_of(row: AIUsage) -> NewCost | None:
    """What an attempt costs by the prices of today; None where nobody knows."""
    notes: dict[str, Any] = row.metadata if isinstance(row.metadata, dict) else {}
    price = prices.price(
        row.model,
        TokenUsage(**{name: getattr(row, name) for name in TokenUsage.model_fields}),
        asked=str(notes.get("asked") or row.model),
        base_url=str(notes.get("base_url") or "") or None,
        service_tier=row.service_tier,
        at=aware(row.timestamp),
    )
    return None if price.cost is None else NewCost(price.cost, price.source)
