"""How a turn is ended whose process died."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import timedelta
from uuid import UUID

from django.utils import timezone

from django_chatgpt.conf import conf
from django_chatgpt.core.messages import Message
from django_chatgpt.models import AIFunctionCall, AIMessage, AITurn, AIUsage
from django_chatgpt.services import billing, closing, context, observed, prices, runners, tokens
from django_chatgpt.services.periods import aware
from django_chatgpt.storage import budgets, calls, claims, ledger, queue
from django_chatgpt.storage import turns as storage
from django_chatgpt.storage.history import load_history
from django_chatgpt.storage.ledger import Bill
from django_chatgpt.storage.primary import atomic, primary

logger = logging.getLogger("django_chatgpt.turns")

ABANDONED_AFTER = timedelta(hours=6)
MOST_HAND_OVERS = 1


def sweep(turn: AITurn, *, alive: bool = False) -> bool:
    """End a turn whose process died: keep its text, estimate what it took. True if this call did it.

    One that no worker has begun in time is handed to another first, once. `alive`: end one that is still
    being run. Who runs it finds out at the next write, which is not made.
    """
    if not alive and _handed_over(turn):
        return False
    # Counting tokens may take long, so it is done before anything is locked. The claim fails if the turn
    # was written on meanwhile.
    model = str(turn.options.get("model") or conf.default_model)
    history = load_history(turn.conversation_id, context.whole_window(model), in_turn=True)
    attempts = ledger.open_attempts(turn.pk)
    # One that is announced while functions run, or a worker is waited for, has not been made.
    made = turn.status == AITurn.Status.RUNNING and not (
        attempts and calls.of_turn(turn.pk, AIFunctionCall.Status.RUNNING).exists()
    )
    bills = [(attempt, _bill(turn, attempt, history.messages if made else None)) for attempt in attempts]
    text = turn.partial_text
    token_count = tokens.count_text(text, tokens.ANY_MODEL)
    with atomic():
        if not (storage.claim_running(turn.pk) if alive else storage.claim_expired(turn)):
            return False
        turn.refresh_from_db(using=primary())
        for attempt, bill in bills:
            if ledger.settle(attempt.pk, bill):
                ledger.add_to_conversation(turn.conversation_id, bill.usage.total_tokens, bill.cost)
                observed.settled(
                    attempt.pk,
                    bill,
                    requested_model=attempt.model,
                    base_url=str(turn.options.get("base_url", "")),
                    started=attempt.timestamp,
                    user_id=turn.user_id,
                    turn_id=turn.pk,
                    conversation_id=turn.conversation_id,
                )
        ledger.release_turn(turn.pk)
        calls.give_up(turn.pk)
        if text:
            storage.add_messages(
                [
                    AIMessage(
                        conversation_id=turn.conversation_id,
                        turn_id=turn.pk,
                        sequence=history.last + 1,
                        role=AIMessage.Role.ASSISTANT,
                        content=text,
                        status=AIMessage.Status.INTERRUPTED,
                        token_count=token_count,
                        estimated_cost=bills[-1][1].cost if bills else None,
                        metadata={"attempt": str(bills[-1][0].pk)} if bills else {},
                    )
                ]
            )
        closing.close(turn)
        observed.swept(turn)
    return True


def _handed_over(turn: AITurn) -> bool:
    """Whether another worker has been told of a turn that waits, by this call or one that was quicker."""
    if turn.status != AITurn.Status.QUEUED or conf.turn_runner == "inline":
        return False
    if turn.options.get(queue.HANDED_OVER, 0) >= MOST_HAND_OVERS:
        return False
    if queue.hand_over(turn, runners.patience()):
        runners.enqueue_again(turn.pk)
    return True


def _bill(turn: AITurn, attempt: AIUsage, history: Sequence[Message] | None) -> Bill:
    """What an open attempt took, by estimate; `history` is what was sent, None if nothing was."""
    if history is None:
        return closing.never_asked(AIUsage.Outcome.INTERRUPTED, "interrupted")
    usage = billing.estimate(history, turn.partial_text, (), attempt.model)
    base_url = str(turn.options.get("base_url", "")) or None
    price = prices.price(attempt.model, usage, base_url=base_url, at=aware(attempt.timestamp))
    return Bill(
        outcome=AIUsage.Outcome.INTERRUPTED,
        usage=usage,
        usage_source=AIUsage.Source.ESTIMATED,
        cost=price.cost,
        price_source=price.source,
        error_code="interrupted",
        metadata=billing.origin(attempt.model, attempt.model, base_url),
    )


def sweep_expired(batch: int = 100) -> int:
    """End every turn whose process died; the number of those that this call ended.

    Attempts whose turn is over or that have none, and that nobody can be waiting for any more, are written
    off as unknown. A turn that can't be ended is logged and left to the next call; it stops no other.
    """
    now = timezone.now()
    ledger.abandon(now - ABANDONED_AFTER)
    budgets.release_expired(now)
    claims.delete_expired()
    ended = 0
    failed: set[UUID] = set()
    while expired := _expired(failed, batch):
        for turn in expired:
            try:
                ended += sweep(turn)
            except Exception as error:
                # Its name only: what it says may be what somebody said.
                failed.add(turn.pk)
                logger.error("Turn %s can't be ended: %s", turn.pk, type(error).__name__)
    return ended


def release_dead() -> int:
    """Release what dead processes hold of the budgets; how many turns and calls that were."""
    return budgets.release_expired(timezone.now()) + sweep_expired()


def _expired(without: set[UUID], batch: int) -> list[AITurn]:
    rows = AITurn.objects.using(primary()).expired().exclude(pk__in=without)
    return list(rows.order_by("lease_expires_at")[:batch])
