"""The last events of a turn that no process runs, written by whoever ends it."""

from __future__ import annotations

from functools import partial
from uuid import UUID

from django.db import transaction

from django_chatgpt.core.events import Done, Failed, Finished, TurnEvent
from django_chatgpt.core.log import Piece
from django_chatgpt.core.messages import TokenUsage
from django_chatgpt.exceptions import AIServiceError
from django_chatgpt.models import AITurn, AIUsage
from django_chatgpt.runtime import wakes
from django_chatgpt.services import billing, observed
from django_chatgpt.storage import calls, events, ledger, queue
from django_chatgpt.storage.ledger import Bill
from django_chatgpt.storage.primary import atomic, primary

#: So many numbers are left out before these events. A process that died may have shown as many that it had no
#: time to write; whoever has seen them goes on after the last, and must not miss the end.
GAP = 1_000_000


def close(turn: AITurn, *, retryable: bool = False) -> None:
    """Write how a turn ended, as its row tells; in the transaction that ends it."""
    ending: TurnEvent
    if turn.status == AITurn.Status.CANCELLED:
        usage, cost = ledger.turn_totals(turn.pk)
        model = str(turn.options.get("model", ""))
        ending = Finished(reason="cancelled", usage=usage, cost=cost, model=model)
    else:
        ending = Failed(code=turn.error_code, message=turn.error_message, retryable=retryable)
    first = events.last_number(turn.pk) + GAP
    ending.seq = first
    events.add(turn.pk, Piece((ending, Done(seq=first + 1))))
    transaction.on_commit(partial(wakes.wake, turn.pk), using=primary())


def never_asked(outcome: str, error_code: str = "") -> Bill:
    """What an attempt took that was announced and never made."""
    return Bill(
        outcome=outcome,
        usage=TokenUsage(),
        usage_source=AIUsage.Source.ESTIMATED,
        cost=billing.FREE,
        error_code=error_code,
    )


def fail(turn_id: UUID, status: str, error: AIServiceError) -> bool:
    """End a turn of that status that has asked nobody anything. False: it has another status by now."""
    attempts = ledger.open_attempts(turn_id)
    with atomic():
        if not queue.give_up(turn_id, status, error.code, error.public_message):
            return False
        for attempt in attempts:
            ledger.settle(attempt.pk, never_asked(AIUsage.Outcome.FAILED, error.code))
        ledger.release_turn(turn_id)
        calls.give_up(turn_id)
        turn = AITurn.objects.using(primary()).get(pk=turn_id)
        close(turn, retryable=error.retryable)
        observed.swept(turn)
    return True
