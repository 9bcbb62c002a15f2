"""The ledger: one row per attempt, written before the provider is called and settled once after."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from django.db.models import Count, Q, Sum
from django.utils import timezone

from django_chatgpt.core.messages import TokenUsage
from django_chatgpt.models import AIConversation, AITurn, AIUsage
from django_chatgpt.storage.primary import primary, update_found
from django_chatgpt.storage.statements import insert, update


@dataclass(frozen=True, slots=True)
class Bill:
    """What an attempt took. `cost` is in USD, None where the price or the usage is not known."""

    outcome: str
    usage: TokenUsage
    usage_source: str
    cost: Decimal | None
    price_source: str = ""
    model: str = ""
    service_tier: str = ""
    request_id: str = ""
    error_code: str = ""
    latency_ms: int | None = None
    time_to_first_token_ms: int | None = None
    metadata: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Hold:
    """What a row of the ledger has reserved of the budgets: `cost` USD in `windows`, from `at` to `until`.

    `groups` are those of the user that have a budget: ",3,17,". `calm` says that not even all of it would
    bring a budget near its limit.
    """

    cost: Decimal
    at: datetime
    until: datetime
    windows: tuple[str, ...]
    groups: str = ""
    calm: bool = False


def announce(
    attempt_id: UUID,
    *,
    user_id: Any,
    model: str,
    conversation_id: UUID | None = None,
    turn_id: UUID | None = None,
    kind: str = AIUsage.Kind.CHAT,
    hold: Hold | None = None,
) -> None:
    """Write that an attempt is about to be made, and what it may cost where there are budgets."""
    row = AIUsage(
        pk=attempt_id,
        user_id=user_id,
        conversation_id=conversation_id,
        turn_id=turn_id,
        kind=kind,
        model=model,
    )
    if hold is not None:
        row.reserved_cost, row.reserved_until = hold.cost, hold.until
        row.timestamp, row.budget_groups = hold.at, hold.groups
    insert(row)


def hold(attempt_id: UUID, hold: Hold) -> None:
    """Have an attempt that is announced already hold that."""
    values = {
        "reserved_cost": hold.cost,
        "reserved_until": hold.until,
        "timestamp": hold.at,
        "budget_groups": hold.groups,
    }
    update(AIUsage, {"pk": attempt_id, "outcome": AIUsage.Outcome.RUNNING}, values)


def note_cached(*, user_id: Any, model: str, latency_ms: int) -> None:
    """Write that an answer came from the cache: nobody was called, and it cost nothing."""
    insert(
        AIUsage(
            user_id=user_id,
            model=model,
            outcome=AIUsage.Outcome.COMPLETED,
            usage_source=AIUsage.Source.PROVIDER,
            estimated_cost=Decimal(0),
            latency_ms=latency_ms,
            metadata={"cached": True},
        )
    )


def record(rows: Sequence[AIUsage]) -> None:
    """Write attempts that are over already."""
    AIUsage.objects.using(primary()).bulk_create(rows)


def settle(attempt_id: UUID, bill: Bill, keep: Hold | None = None) -> bool:
    """Write what an attempt took. Only the first settling counts: False, and no change, afterwards.

    Its reservation is released, but for what is to be kept for the attempts that follow.
    """
    now = timezone.now()
    values: dict[str, Any] = {
        "outcome": bill.outcome,
        "prompt_tokens": bill.usage.prompt_tokens,
        "completion_tokens": bill.usage.completion_tokens,
        "total_tokens": bill.usage.total_tokens,
        "cached_tokens": bill.usage.cached_tokens,
        "cache_write_tokens": bill.usage.cache_write_tokens,
        "reasoning_tokens": bill.usage.reasoning_tokens,
        "estimated_cost": bill.cost,
        "price_source": bill.price_source,
        "priced_at": now if bill.price_source else None,
        "reserved_cost": keep.cost if keep else None,
        "reserved_until": keep.until if keep else None,
        "usage_source": bill.usage_source,
        "service_tier": bill.service_tier,
        "request_id": bill.request_id,
        "error_code": bill.error_code,
        "latency_ms": bill.latency_ms,
        "time_to_first_token_ms": bill.time_to_first_token_ms,
    }
    if bill.model:
        values["model"] = bill.model
    if bill.metadata:
        values["metadata"] = bill.metadata
    return bool(update(AIUsage, {"pk": attempt_id, "outcome": AIUsage.Outcome.RUNNING}, values))


def release(attempt_id: UUID) -> None:
    """Release what a settled attempt still keeps."""
    AIUsage.objects.using(primary()).filter(pk=attempt_id).update(reserved_cost=None, reserved_until=None)


def release_turn(turn_id: UUID) -> None:
    """Release whatever any attempt of a turn holds."""
    rows = AIUsage.objects.using(primary()).filter(turn_id=turn_id, reserved_cost__isnull=False)
    rows.update(reserved_cost=None, reserved_until=None)


def add_to_conversation(conversation_id: UUID, tokens: int, cost: Decimal | None) -> None:
    """Add what was settled to a conversation's totals, and mark the conversation as used now."""
    add = {"total_tokens": tokens, "total_cost": cost or 0}
    update(AIConversation, {"pk": conversation_id}, {}, add=add)


def turn_totals(turn_id: UUID) -> tuple[TokenUsage, Decimal | None]:
    """Usage and cost of all attempts of a turn; the cost is None if that of any is not known."""
    names = list(TokenUsage.model_fields)
    rows = AIUsage.objects.using(primary()).filter(turn_id=turn_id, kind=AIUsage.Kind.CHAT)
    sums = rows.aggregate(cost=Sum("estimated_cost"), **{name: Sum(name) for name in names})
    known = not rows.filter(estimated_cost=None).exists()
    usage = TokenUsage(**{name: sums[name] or 0 for name in names})
    return usage, (sums["cost"] or Decimal(0)) if known else None


def totals_by_turn(conversation_id: UUID) -> dict[Any, tuple[int, Decimal | None]]:
    """Tokens and cost of each turn of a conversation, as `turn_totals` has them. One query."""
    rows = AIUsage.objects.using(primary()).filter(
        conversation_id=conversation_id, kind=AIUsage.Kind.CHAT, turn__isnull=False
    )
    sums = (
        rows.order_by()
        .values("turn")
        .annotate(
            tokens=Sum("total_tokens"),
            cost=Sum("estimated_cost"),
            unknown=Count("pk", filter=Q(estimated_cost=None)),
        )
    )
    return {
        row["turn"]: (row["tokens"] or 0, None if row["unknown"] else row["cost"] or Decimal(0))
        for row in sums
    }


def abandon(before: datetime) -> int:
    """Write off attempts that were begun before then and whose turn is over, or that have none.

    How they ended nobody knows.
    """
    nobody_waits = Q(turn=None) | Q(turn__status__in=sorted(AITurn.OVER))
    lost = AIUsage.objects.using(primary()).filter(
        nobody_waits, outcome=AIUsage.Outcome.RUNNING, timestamp__lt=before
    )
    return update_found(
        lost,
        Q(outcome=AIUsage.Outcome.RUNNING),
        outcome=AIUsage.Outcome.INTERRUPTED,
        error_code="interrupted",
        reserved_cost=None,
        reserved_until=None,
        updated_at=timezone.now(),
    )


def open_attempts(turn_id: UUID) -> list[AIUsage]:
    """Attempts of a turn that nobody has settled."""
    return list(AIUsage.objects.using(primary()).filter(turn_id=turn_id, outcome=AIUsage.Outcome.RUNNING))
