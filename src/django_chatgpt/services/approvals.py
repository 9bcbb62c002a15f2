"""Calls that wait for a person: decided once, by somebody who may, and then the turn goes on."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any
from uuid import UUID

from django_chatgpt.core.messages import FunctionCall
from django_chatgpt.exceptions import (
    ConflictError,
    InvalidRequestError,
    NotFoundError,
    PermissionDeniedError,
)
from django_chatgpt.functions import function_registry
from django_chatgpt.functions.calls import FunctionBox
from django_chatgpt.models import AIFunctionCall, AIMessage, AITurn
from django_chatgpt.services import access, chat, runners, stored
from django_chatgpt.services.budgets import guarded
from django_chatgpt.services.functions import as_text
from django_chatgpt.services.sweeper import sweep
from django_chatgpt.storage import calls as storage
from django_chatgpt.storage import primary
from django_chatgpt.storage import turns as turn_storage

Status = AIFunctionCall.Status


@dataclass(frozen=True, slots=True)
class Decision:
    """What a person has decided of a call. `arguments` go in place of the model's, and are checked again."""

    approve: bool
    call_id: str | None = None
    arguments: dict[str, Any] | None = None


def decide(user: Any, turn_id: UUID, decision: Decision) -> chat.Prepared | AITurn:
    """Write a decision down. When it was the last one that was missing, the turn is ready to go on.

    Returns the turn as it is where other calls still wait, or where it waits for a worker, its status then
    being queued. Raises NotFoundError, also where the turn is
    none of this user's business; PermissionDeniedError, ConflictError if the call is decided already or the
    time is over, InvalidRequestError for edited arguments that don't fit, QuotaExceededError if the answer
    can't be paid for.
    """
    return guarded(partial(_decide, user, turn_id, decision))


def _decide(user: Any, turn_id: UUID, decision: Decision) -> chat.Prepared | AITurn:
    turn = (
        AITurn.objects.using(primary.primary())
        .select_related("user", "conversation__configuration")
        .filter(pk=turn_id)
        .first()
    )
    calls = [] if turn is None else _meant_calls(turn, decision.call_id)
    if turn is None or not _may_know(user, turn, calls):
        raise NotFoundError(f"turn_id: you have no turn {turn_id} with such a call.")
    if len(calls) > 1:
        raise InvalidRequestError(fields={"call_id": "several calls wait; name one."})
    call = calls[0] if calls else None
    if turn_storage.is_expired(turn):
        sweep(turn)
    if call is None or turn.status != AITurn.Status.AWAITING_APPROVAL:
        raise ConflictError("No call of this turn waits for a decision.", code="decided")
    function = function_registry.get_function(call.name)
    if function is not None and not function.may_decide(user, turn.user):
        raise PermissionDeniedError("You may not decide about this call.")
    try:
        # The turn goes on in their name, whatever is decided.
        access.require(turn.user)
    except PermissionDeniedError:
        raise PermissionDeniedError("Whoever has asked this may not ask any more.") from None
    arguments, fingerprint = call.arguments, call.fingerprint
    if decision.approve and decision.arguments is not None:
        arguments, fingerprint = _edited(turn, call, decision.arguments)
    box = stored.box_of(turn)
    with primary.atomic():
        storage.lock(turn.pk)
        status = Status.APPROVED if decision.approve else Status.DENIED
        if not storage.decide(call, status, user.pk, arguments, fingerprint):
            raise ConflictError("This call is decided already.", code="decided")
        if arguments != call.arguments:
            _rewrite(turn, call, arguments)
        agreed = [stored.as_call(each) for each in storage.of_turn(turn.pk, Status.APPROVED)]
        rules = chat.Rules.of_the_site()
        # While functions run nothing renews the lease.
        lease = rules.lease + timedelta(seconds=box.patience(agreed))
        waits = runners.queues()
        resumed = storage.resume(turn.pk, runners.patience() if waits else lease, waits=waits)
        turn.refresh_from_db()
        if not resumed:
            return turn
        # Whatever fails here takes the decision back: nobody would drive the turn.
        if not waits:
            return stored.again(turn, box, rules)
        stored.reserve(turn, box, rules)
        runners.enqueue_again(turn.pk)
        return turn


def _meant_calls(turn: AITurn, call_id: str | None) -> list[AIFunctionCall]:
    """The calls that may be meant: the one with that id, or all that wait."""
    if call_id is not None:
        return list(storage.of_turn(turn.pk, *Status.values).filter(call_id=call_id))
    return list(storage.of_turn(turn.pk, Status.AWAITING_APPROVAL))


def _may_know(user: Any, turn: AITurn, calls: Iterable[AIFunctionCall]) -> bool:
    """The asker knows the turn; so does whoever may decide about all these calls."""
    if turn.user_id == user.pk:
        return True
    functions = [function_registry.get_function(call.name) for call in calls]
    return bool(functions) and all(each is not None and each.decides_for_others(user) for each in functions)


def _edited(turn: AITurn, call: AIFunctionCall, arguments: dict[str, Any]) -> tuple[str, str]:
    """Arguments of a person's, checked as the model's are, and what they stand for."""
    text = as_text(arguments)
    box = FunctionBox.for_user(turn.user, conversation_id=turn.conversation_id, turn_id=turn.pk)
    [examined] = box.examine([FunctionCall(id=call.call_id, name=call.name, arguments=text)])
    if examined.refused is not None:
        raise InvalidRequestError(fields={"arguments": examined.refused.output})
    return text, examined.fingerprint


def _rewrite(turn: AITurn, call: AIFunctionCall, arguments: str) -> None:
    """Have the transcript say what is really called, and keep what the model had written."""
    for message in AIMessage.objects.using(primary.primary()).filter(
        turn=turn, role=AIMessage.Role.ASSISTANT
    ):
        changed = False
        for made in message.tool_calls:
            if made["id"] == call.call_id:
                edits = message.metadata.setdefault("edited_arguments", {})
                edits[call.call_id] = made["function"]["arguments"]
                made["function"]["arguments"] = arguments
                changed = True
        if changed:
            # The provider's own items say what the model wrote; they can't be replayed any more.
            message.metadata.pop("items", None)
            message.save(update_fields=["tool_calls", "metadata", "updated_at"])
