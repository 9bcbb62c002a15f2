"""What observers are told, in signals and in the log: ids, numbers, names of states; never text or a key."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from django.utils import timezone

from django_chatgpt.conf import DEFAULT_BASE_URL
from django_chatgpt.core.messages import FunctionResult, TokenUsage
from django_chatgpt.core.request import public_url
from django_chatgpt.models import AIFunction, AITurn, AIUsage
from django_chatgpt.signals import attempt_settled, function_called, turn_ended, turn_started
from django_chatgpt.storage import ledger
from django_chatgpt.storage.ledger import Bill
from django_chatgpt.storage.primary import primary

logger = logging.getLogger("django_chatgpt.attempts")


def begun(turn_id: UUID, conversation_id: UUID, user_id: Any, model: str, *, resumed: bool) -> None:
    """A turn is stored and about to run."""
    turn_started.tell(
        AITurn,
        using=primary(),
        turn_id=turn_id,
        conversation_id=conversation_id,
        user_id=user_id,
        model=model,
        resumed=resumed,
    )


def ended(
    turn_id: UUID,
    conversation_id: UUID,
    user_id: Any,
    *,
    status: str,
    reason: str,
    error_code: str,
    model: str,
    usage: TokenUsage,
    cost: Decimal | None,
) -> None:
    """A turn is over, or rests."""
    turn_ended.tell(
        AITurn,
        using=primary(),
        turn_id=turn_id,
        conversation_id=conversation_id,
        user_id=user_id,
        status=status,
        reason=reason,
        error_code=error_code,
        model=model,
        usage=usage,
        cost=cost,
    )


def swept(turn: AITurn) -> None:
    """A turn was ended that no process runs."""
    if not turn_ended.receivers:
        return
    usage, cost = ledger.turn_totals(turn.pk)
    ended(
        turn.pk,
        turn.conversation_id,
        turn.user_id,
        status=turn.status,
        reason="cancelled" if turn.status == AITurn.Status.CANCELLED else "error",
        error_code=turn.error_code,
        model=str(turn.options.get("model", "")),
        usage=usage,
        cost=cost,
    )


def settled(
    attempt_id: UUID,
    bill: Bill,
    *,
    requested_model: str,
    base_url: str | None,
    started: float | datetime,
    user_id: Any = None,
    turn_id: UUID | None = None,
    conversation_id: UUID | None = None,
    kind: str = AIUsage.Kind.CHAT,
) -> None:
    """An attempt stands in the ledger. `started`: when, on the monotonic clock or by the calendar."""
    if not attempt_settled.receivers and not logger.isEnabledFor(logging.INFO):
        return
    if not isinstance(started, datetime):
        started = timezone.now() - timedelta(seconds=time.monotonic() - started)
    values = {
        "attempt_id": attempt_id,
        "turn_id": turn_id,
        "conversation_id": conversation_id,
        "user_id": user_id,
        "kind": str(kind),
        "base_url": public_url(base_url or DEFAULT_BASE_URL),
        "requested_model": requested_model,
        "model": bill.model or requested_model,
        "outcome": bill.outcome,
        "error_code": bill.error_code,
        "usage_source": bill.usage_source,
        "cost": bill.cost,
        "latency_ms": bill.latency_ms,
        "time_to_first_token_ms": bill.time_to_first_token_ms,
    }
    tokens = bill.usage.model_dump()
    logger.info(
        "attempt %s of %s: %s",
        attempt_id,
        values["model"],
        bill.error_code or bill.outcome,
        extra=values | tokens,
    )
    attempt_settled.tell(AIUsage, using=primary(), usage=bill.usage, started_at=started, **values)


def recorded(rows: Iterable[AIUsage], base_url: str | None) -> None:
    """Attempts were written into the ledger when they were over; such as are told no tokens."""
    for row in rows:
        settled(
            row.pk,
            Bill(
                outcome=row.outcome,
                usage=TokenUsage(),
                usage_source=row.usage_source,
                cost=row.estimated_cost,
                model=row.model,
                error_code=row.error_code,
                latency_ms=row.latency_ms,
            ),
            kind=row.kind,
            requested_model=row.model,
            base_url=base_url,
            started=row.timestamp - timedelta(milliseconds=row.latency_ms or 0),
            user_id=row.user_id,
            turn_id=row.turn_id,
            conversation_id=row.conversation_id,
        )


def called(
    results: Iterable[FunctionResult],
    *,
    user_id: Any = None,
    turn_id: UUID | None = None,
    conversation_id: UUID | None = None,
) -> None:
    """Functions of the site have answered. A name that the model made up is its text, so it is left out."""
    if not function_called.receivers:
        return
    for result in results:
        function_called.tell(
            AIFunction,
            using=primary(),
            call_id=result.call.id,
            turn_id=turn_id,
            conversation_id=conversation_id,
            user_id=user_id,
            name="" if result.error_code == "unknown_function" else result.call.name,
            status=result.status,
            error_code=result.error_code,
            duration_ms=result.duration_ms,
        )
