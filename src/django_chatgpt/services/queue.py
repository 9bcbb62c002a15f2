"""What a worker does with a turn that waits: take it, once, and drive it to its end."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from uuid import UUID

from django.utils import timezone

from django_chatgpt.conf import conf
from django_chatgpt.database import only_here
from django_chatgpt.exceptions import AIServiceError, ConflictError, NotFoundError
from django_chatgpt.functions.calls import FunctionBox
from django_chatgpt.models import AIFunctionCall, AITurn
from django_chatgpt.runtime import apart
from django_chatgpt.services import access, chat, closing, stored
from django_chatgpt.services.budgets import guarded
from django_chatgpt.services.sweeper import sweep
from django_chatgpt.storage import calls, queue
from django_chatgpt.storage.primary import atomic
from django_chatgpt.storage.turns import is_expired

logger = logging.getLogger("django_chatgpt.turns")

Tell = Callable[[int], object]


def work(turn_id: UUID, tell: Tell | None = None) -> AITurn:
    """Drive a turn that waits to its end, and give it as it is then; one that is over stays as it is.

    One whose process died is ended. `tell` is called every few seconds with the number of events so far.
    Whatever breaks this off from outside (a time limit, the end of the process) interrupts the turn, whose
    text is kept. Raises NotFoundError, and ConflictError while another process drives it.
    """
    taken = take(turn_id)
    if isinstance(taken, AITurn):
        return taken
    _drive(taken, tell)
    return _find(turn_id)


def take(turn_id: UUID) -> chat.Prepared | AITurn:
    """Claim a turn that waits: ready to run, for whoever comes first. Otherwise the turn as it is.

    A turn that can't be made ready is ended. Raises what `work` raises.
    """
    turn = _find(turn_id)
    while True:
        if turn.status == AITurn.Status.RUNNING:
            if not is_expired(turn):
                raise _busy(turn)
            sweep(turn)
            return _find(turn_id)
        if turn.status != AITurn.Status.QUEUED:
            return turn
        box = stored.box_of(turn)
        rules = chat.Rules.of_the_site()
        if _claim(turn, box, rules):
            break
        turn = _find(turn_id)
    try:
        return guarded(partial(_prepare, turn, box, rules))
    except Exception as error:
        # Its name only: what it says may be what somebody said.
        logger.error("Turn %s can't be answered: %s", turn_id, type(error).__qualname__)
        known = error if isinstance(error, AIServiceError) else AIServiceError()
        closing.fail(turn_id, AITurn.Status.RUNNING, known)
        return _find(turn_id)


def _claim(turn: AITurn, box: FunctionBox, rules: chat.Rules) -> bool:
    agreed = [stored.as_call(row) for row in calls.of_turn(turn.pk, AIFunctionCall.Status.APPROVED)]
    # While functions run nothing renews the lease.
    lease = rules.lease + timedelta(seconds=box.patience(agreed) if agreed else 0)
    with atomic():
        if not queue.claim(turn, lease):
            return False
        calls.begin(turn.pk)
    return True


def _prepare(turn: AITurn, box: FunctionBox, rules: chat.Rules) -> chat.Prepared:
    access.require(turn.user)
    with atomic():
        prepare = stored.again if queue.answers_of(turn.pk) else stored.first
        return prepare(turn, box, rules)


def _drive(prepared: chat.Prepared, tell: Tell | None) -> None:
    spec = prepared.spec

    def run() -> None:
        for _ in chat.run(prepared, release=True):
            pass

    if only_here():
        run()
        return
    apart.run(spec.turn_id, run, (lambda: tell(spec.log.last)) if tell is not None else None)


def _find(turn_id: UUID) -> AITurn:
    turn = queue.find(turn_id)
    if turn is None:
        raise NotFoundError(f"turn_id: there is no turn {turn_id}.")
    return turn


def _busy(turn: AITurn) -> ConflictError:
    rest = conf.turn_lease
    if turn.lease_expires_at is not None:
        rest = max(1.0, (turn.lease_expires_at - timezone.now()).total_seconds())
    return ConflictError(
        f"Turn {turn.pk} runs in another process.", turn_id=turn.pk, code="turn_running", retry_after=rest
    )
