"""The last events of a turn that no process runs, written by whoever ends it."""

from __future__ import annotations

from functools import partial

from django.db import transaction

from django_chatgpt.core.events import Done, Failed, Finished, TurnEvent
from django_chatgpt.core.log import Piece
from django_chatgpt.models import AITurn
from django_chatgpt.runtime import wakes
from django_chatgpt.storage import events, ledger
from django_chatgpt.storage.primary import primary

#: So many numbers are left out before these events. A process that died may have shown as many that it had no
#: time to write; whoever has seen them goes on after the last, and must not miss the end.
GAP = 1_000_000


def close(turn: AITurn) -> None:
    """Write how a turn ended, as its row tells; in the transaction that ends it."""
    ending: TurnEvent
    if turn.status == AITurn.Status.CANCELLED:
        usage, cost = ledger.turn_totals(turn.pk)
        model = str(turn.options.get("model", ""))
        ending = Finished(reason="cancelled", usage=usage, cost=cost, model=model)
    else:
        ending = Failed(code=turn.error_code, message=turn.error_message)
    first = events.last_number(turn.pk) + GAP
    ending.seq = first
    events.add(turn.pk, Piece((ending, Done(seq=first + 1))))
    transaction.on_commit(partial(wakes.wake, turn.pk), using=primary())
