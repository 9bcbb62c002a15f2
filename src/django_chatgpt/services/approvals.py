"""Calls that wait for a person: decided once, by somebody who may, and then the turn goes on."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from typing import Any
from uuid import UUID

from django_chatgpt.core.ids import uuid7
from django_chatgpt.core.messages import FunctionCall, FunctionResult
from django_chatgpt.core.spec import Resumed
from django_chatgpt.exceptions import (
    ConflictError,
    InvalidRequestError,
    NotFoundError,
    PermissionDeniedError,
)
from django_chatgpt.functions import function_registry
from django_chatgpt.functions.calls import FunctionBox
from django_chatgpt.models import AIConfiguration, AIFunctionCall, AIMessage, AITurn
from django_chatgpt.services import access, chat, citations, context, moderation, summaries
from django_chatgpt.services.budgets import Purse, guarded
from django_chatgpt.services.functions import as_text
from django_chatgpt.services.sweeper import sweep
from django_chatgpt.storage import calls as storage
from django_chatgpt.storage import events, ledger, primary
from django_chatgpt.storage import turns as turn_storage
from django_chatgpt.storage.history import load_history

Status = AIFunctionCall.Status


@dataclass(frozen=True, slots=True)
class Decision:
    """What a person has decided of a call. `arguments` go in place of the model's, and are checked again."""

    approve: bool
    call_id: str | None = None
    arguments: dict[str, Any] | None = None


def decide(user: Any, turn_id: UUID, decision: Decision) -> chat.Prepared | AITurn:
    """Write a decision down. When it was the last one that was missing, the turn is ready to go on.

    Returns the turn as it is where other calls still wait. Raises NotFoundError, also where the turn is
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
    arguments, fingerprint = call.arguments, call.fingerprint
    if decision.approve and decision.arguments is not None:
        arguments, fingerprint = _edited(turn, call, decision.arguments)
    box = _box(turn)
    with primary.atomic():
        storage.lock(turn.pk)
        status = Status.APPROVED if decision.approve else Status.DENIED
        if not storage.decide(call, status, user.pk, arguments, fingerprint):
            raise ConflictError("This call is decided already.", code="decided")
        if arguments != call.arguments:
            _rewrite(turn, call, arguments)
        agreed = [_as_call(each) for each in storage.of_turn(turn.pk, Status.APPROVED)]
        rules = chat.Rules.of_the_site()
        # While functions run nothing renews the lease.
        lease = rules.lease + timedelta(seconds=box.patience(agreed))
        resumed = storage.resume(turn.pk, lease)
        turn.refresh_from_db()
        # Whatever fails here takes the decision back: nobody would drive the turn.
        return _prepare(turn, box, rules) if resumed else turn


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


def _box(turn: AITurn) -> FunctionBox:
    """The functions that the turn was begun with, as far as they are registered."""
    names = turn.options.get("functions")
    known = function_registry.functions
    chosen = None if names is None else [each for each in known if each.name in names]
    return FunctionBox.for_user(turn.user, chosen, conversation_id=turn.conversation_id, turn_id=turn.pk)


def _prepare(turn: AITurn, box: FunctionBox, rules: chat.Rules) -> chat.Prepared:
    """The turn, to go on where it stopped, in whichever process this is."""
    usage, cost = ledger.turn_totals(turn.pk)
    options = turn.options
    configuration = _configuration(turn)
    ask = chat.Ask(
        user=turn.user,
        text="",
        model=options.get("model"),
        temperature=options.get("temperature"),
        max_tokens=options.get("max_tokens"),
    )
    request = chat.build_request(ask, configuration, access.endpoint_of(turn))
    request = replace(request, response_schema=options.get("response_schema"))
    given = citations.kept(options)
    system = [*chat.system_messages(turn.user, configuration), *citations.recall(given)]
    window = context.window_of(request, box.schemas, system)
    summary = summaries.known(turn.conversation_id, window, 0)
    if summary is not None:
        system, window = [*system, summary.line], summaries.with_summary(window, summary)
    history = load_history(turn.conversation_id, window, in_turn=True)
    unanswered = _unanswered(turn)
    agreed = [each for each in unanswered if each.status == Status.RUNNING]
    box.approved = {each.call_id: each.fingerprint for each in agreed}
    first_step = (
        AIMessage.objects.using(primary.primary()).filter(turn=turn, role=AIMessage.Role.ASSISTANT).count()
    )
    attempt_id, spoken = uuid7(), 0
    # It rested without a reservation. The next attempt is announced before the calls are made, so that what
    # they do is not in vain for want of money.
    purse = Purse.for_turn(turn.user, request, box.schemas, max(rules.max_steps - first_step, 0))
    hold = None
    if purse is not None:
        spoken = history.used + purse.overhead
        hold = purse.first(spoken, request.model)
        ledger.announce(
            attempt_id,
            user_id=turn.user_id,
            conversation_id=turn.conversation_id,
            turn_id=turn.pk,
            model=request.model,
            hold=hold,
        )
    return chat.prepare(
        replace(request, messages=(*system, *history.messages)),
        box,
        rules,
        turn_id=turn.pk,
        conversation_id=turn.conversation_id,
        user_id=turn.user_id,
        next_sequence=history.last + 1,
        attempt_id=attempt_id,
        window=replace(window, used=history.used),
        usage=usage,
        cost=cost,
        last_event=events.last_number(turn.pk),
        first_step=first_step,
        resumed=Resumed(
            now=[_as_call(each) for each in agreed],
            refused=[_refusal(each) for each in unanswered if each.status != Status.RUNNING],
            announced=hold is not None,
        ),
        screen=moderation.screen_for(request),
        given=given,
        purse=purse,
        hold=hold,
        spoken=spoken,
    )


def _configuration(turn: AITurn) -> AIConfiguration | None:
    """The configuration that the question was asked with."""
    kept = turn.options.get("configuration_id")
    if kept is not None:
        return chat.configuration_in_force(UUID(kept))
    return chat.configuration_in_force(turn.conversation.configuration_id)


def _unanswered(turn: AITurn) -> list[AIFunctionCall]:
    """The decided calls whose results are not in the transcript yet."""
    answered = (
        AIMessage.objects.using(primary.primary())
        .filter(turn=turn, role=AIMessage.Role.TOOL)
        .values_list("tool_call_id", flat=True)
    )
    decided = storage.of_turn(turn.pk, Status.RUNNING, Status.DENIED, Status.EXPIRED)
    return [each for each in decided if each.call_id not in set(answered)]


def _as_call(row: AIFunctionCall) -> FunctionCall:
    return FunctionCall(id=row.call_id, name=row.name, arguments=row.arguments)


def _refusal(row: AIFunctionCall) -> FunctionResult:
    return FunctionResult(
        call=_as_call(row),
        output="A person has declined this call; it was not made.",
        status="failed",
        error_code="approval_denied",
    )
