"""Whether what repeats the ledger says the same: totals of conversations, reservations, memos of budgets."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from django.db import connections
from django.db.models import OuterRef, Q, QuerySet, Subquery, Sum

from django_chatgpt.models import AIBudget, AIConversation, AITurn, AIUsage
from django_chatgpt.storage import budgets
from django_chatgpt.storage.primary import atomic, hold, primary, retried, update_found

BATCH = 500
NOTHING = Decimal(0)
# SQLite adds floats: its last digits depend on the order of the additions.
FLOATING = Decimal("1E-11")


@dataclass(frozen=True, slots=True)
class Totals:
    """What a conversation says that it took, and what the ledger says. Costs in USD."""

    conversation_id: UUID
    tokens: int
    cost: Decimal
    ledger_tokens: int
    ledger_cost: Decimal


def conversations() -> QuerySet[AIConversation]:
    return AIConversation.objects.using(primary())


def differing(after: UUID | None) -> tuple[list[Totals], int, UUID | None]:
    """Look at the next conversations behind `after`, in one query.

    Those whose totals are not the ledger's, how many were looked at, and the key of the last one; None if
    there was none.
    """
    rows = conversations().order_by("pk")
    found = _totals(rows if after is None else rows.filter(pk__gt=after))
    return [each for each in found if _differ(each)], len(found), found[-1].conversation_id if found else None


def rebuild(keys: Sequence[UUID]) -> list[Totals]:
    """Have the totals of conversations say what the ledger says; those that did not."""

    def write() -> list[Totals]:
        rows = conversations().filter(pk__in=keys)
        with atomic():
            # What others settle meanwhile waits here, and is added to the new totals.
            hold(rows)
            wrong = [each for each in _totals(rows) if _differ(each)]
            for each in wrong:
                own = conversations().filter(pk=each.conversation_id)
                own.update(total_tokens=each.ledger_tokens, total_cost=each.ledger_cost)
        return wrong

    return retried(write)


def _totals(rows: QuerySet[AIConversation]) -> list[Totals]:
    found = rows.annotate(used=_sum("total_tokens"), spent=_sum("estimated_cost"))
    names = ("pk", "total_tokens", "total_cost", "used", "spent")
    return [
        Totals(pk, tokens, cost, used or 0, (spent or NOTHING).quantize(budgets.CENTS))
        for pk, tokens, cost, used, spent in found.values_list(*names)[:BATCH]
    ]


def _sum(column: str) -> Subquery:
    rows = AIUsage.objects.filter(conversation=OuterRef("pk")).order_by().values("conversation")
    return Subquery(rows.annotate(sum=Sum(column)).values("sum"))


def _differ(totals: Totals) -> bool:
    exact = connections[primary()].vendor != "sqlite"
    tolerance = NOTHING if exact else FLOATING * max(Decimal(1), totals.ledger_cost)
    return totals.tokens != totals.ledger_tokens or abs(totals.cost - totals.ledger_cost) > tolerance


def strays(now: datetime) -> QuerySet[AIUsage]:
    """Rows that hold something of a budget though no attempt stands behind it any more."""
    running = Q(outcome=AIUsage.Outcome.RUNNING)
    no_turn = Q(turn=None) & (~running | Q(reserved_until=None) | Q(reserved_until__lt=now))
    over = Q(turn__status__in=sorted(AITurn.OVER)) | Q(turn__status=AITurn.Status.AWAITING_APPROVAL)
    dead = Q(turn__status=AITurn.Status.RUNNING, turn__lease_expires_at__lt=now)
    rows = AIUsage.objects.using(primary()).filter(reserved_cost__isnull=False)
    return rows.filter(no_turn | over | dead)


def release_strays(now: datetime) -> int:
    """Release what they hold; how many they were."""
    still = Q(reserved_cost__isnull=False)
    return update_found(strays(now), still, reserved_cost=None, reserved_until=None)


def forget_memos() -> None:
    """Throw away what budgets need not add up again; they do so once more."""
    for keys in _pages_of_memos():
        retried(lambda keys=keys: _forget(keys))  # type: ignore[misc]


def _forget(keys: Sequence[str]) -> None:
    with atomic():
        budgets.forget(keys)


def _pages_of_memos() -> Iterator[list[str]]:
    last: Any = ""
    rows = AIBudget.objects.using(primary()).order_by("key").values_list("key", flat=True)
    while keys := list(rows.filter(key__gt=last)[:BATCH]):
        yield keys
        last = keys[-1]
