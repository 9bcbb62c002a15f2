"""Stop a turn, from whichever process; only ever the one that is named."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django_chatgpt.models import AITurn, AIUsage
from django_chatgpt.runtime import stops
from django_chatgpt.services import closing, observed
from django_chatgpt.services.results import Snapshot, find_turn, snapshot
from django_chatgpt.storage import calls, ledger
from django_chatgpt.storage import turns as storage
from django_chatgpt.storage.primary import atomic, primary


def cancel(turn_id: UUID, user_id: Any) -> Snapshot:
    """Stop the user's own turn; what has arrived of its answer is kept. Raises NotFoundError.

    One that runs is told so, wherever that is, and ends within a second; one that waits for a worker or a
    person ends here and now; with one that is over nothing happens.
    """
    seen = snapshot(turn_id, user_id)
    turn = seen.turn
    # It may begin or go on at this very moment: then the one is tried again that had no effect.
    while turn.is_active:
        if storage.ask_to_stop(turn.pk):
            stops.stop(turn.pk)
            break
        if _end(turn):
            break
        turn = find_turn(turn_id, user_id)
    return snapshot(turn_id, user_id)


def _end(turn: AITurn) -> bool:
    """End a turn that no process runs. False: one does by now, or it is over."""
    attempts = ledger.open_attempts(turn.pk)
    with atomic():
        if not storage.end_resting(turn.pk):
            return False
        for attempt in attempts:
            ledger.settle(attempt.pk, closing.never_asked(AIUsage.Outcome.CANCELLED))
        calls.give_up(turn.pk)
        turn.refresh_from_db(using=primary())
        closing.close(turn)
        observed.swept(turn)
    return True
