"""A stored turn, made ready to be answered in whichever process this is.

Its options say how it was asked; its messages and calls how far it has come. What only the site knows (the
key, the system prompt, which functions there are) is asked for anew.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from uuid import UUID

from django_chatgpt.core.ids import uuid7
from django_chatgpt.core.messages import FunctionCall, FunctionResult, Message
from django_chatgpt.core.request import ModelRequest
from django_chatgpt.core.spec import Resumed
from django_chatgpt.core.summary import Summary
from django_chatgpt.core.window import Window
from django_chatgpt.functions import function_registry
from django_chatgpt.functions.calls import FunctionBox
from django_chatgpt.models import AIConfiguration, AIFunctionCall, AIMessage, AITurn, AIUsage
from django_chatgpt.services import access, chat, citations, context, moderation, summaries, tokens
from django_chatgpt.services.budgets import Purse
from django_chatgpt.services.types import Source
from django_chatgpt.storage import calls as call_storage
from django_chatgpt.storage import events, ledger, primary, queue
from django_chatgpt.storage.history import History, load_history
from django_chatgpt.storage.ledger import Hold
from django_chatgpt.storage.turns import OpenedTurn

Status = AIFunctionCall.Status


def box_of(turn: AITurn) -> FunctionBox:
    """The functions that the turn was begun with, as far as they are registered."""
    names = turn.options.get("functions") if turn.options.get("use_functions", True) else ()
    known = function_registry.functions
    chosen = None if names is None else [each for each in known if each.name in names]
    return FunctionBox.for_user(turn.user, chosen, conversation_id=turn.conversation_id, turn_id=turn.pk)


def as_call(row: AIFunctionCall) -> FunctionCall:
    """A call as the model made it, or as a person has edited it."""
    return FunctionCall(id=row.call_id, name=row.name, arguments=row.arguments)


def first(turn: AITurn, box: FunctionBox, rules: chat.Rules) -> chat.Prepared:
    """A turn that was never begun, ready to run.

    What else its form has to satisfy than the schema only the process knew that asked; here the model gets
    no chance to mend an answer.
    """
    asked = _Asked.of(turn, box)
    question = queue.question_of(turn.pk)
    # As it was counted when it was stored: no question is refused that was accepted.
    size = question.token_count or tokens.count_text(question.content, tokens.ANY_MODEL)
    summary = summaries.known(turn.conversation_id, asked.window, size)
    window = summaries.with_summary(asked.window, summary)
    window = replace(window, used=window.used + tokens.PER_MESSAGE + size)
    said = load_history(turn.conversation_id, window, before=question.sequence)
    screen = moderation.screen_for(asked.request)
    purse = Purse.for_turn(turn.user, asked.request, box.schemas, rules.max_steps, screen)
    attempt_id, hold = _announced(turn, asked.request, purse, said.used, anyway=True)
    opened = OpenedTurn(
        turn.pk,
        turn.conversation_id,
        attempt_id,
        [*said.messages, {"role": "user", "content": question.content}],
        said.used,
        question.sequence + 1,
        hold,
        said.dropped,
    )
    return chat.prepare_first(
        opened,
        asked.request,
        box,
        rules,
        system=asked.system,
        window=window,
        summary=summary,
        due=summaries.due(opened, summary, asked.request, asked.window, size, len(asked.system)),
        screen=screen,
        purse=purse,
        given=asked.given,
    )


def again(turn: AITurn, box: FunctionBox, rules: chat.Rules) -> chat.Prepared:
    """A turn that has rested, ready to go on where it stopped: with the calls that a person has decided."""
    rested = _Rested.of(turn, box, rules)
    usage, cost = ledger.turn_totals(turn.pk)
    unanswered = _unanswered(turn)
    agreed = [each for each in unanswered if each.status == Status.RUNNING]
    box.approved = {each.call_id: each.fingerprint for each in agreed}
    attempt_id, hold = rested.announce(turn)
    return chat.prepare(
        replace(rested.request, messages=(*rested.system, *rested.history.messages)),
        box,
        rules,
        turn_id=turn.pk,
        conversation_id=turn.conversation_id,
        user_id=turn.user_id,
        next_sequence=rested.history.last + 1,
        attempt_id=attempt_id,
        window=replace(rested.window, used=rested.history.used),
        usage=usage,
        cost=cost,
        last_event=events.last_number(turn.pk),
        first_step=rested.steps,
        resumed=Resumed(
            now=[as_call(each) for each in agreed],
            refused=[_refusal(each) for each in unanswered if each.status != Status.RUNNING],
            announced=hold is not None,
        ),
        screen=moderation.screen_for(rested.request),
        given=rested.given,
        purse=rested.purse,
        hold=hold,
        spoken=rested.spoken,
    )


def reserve(turn: AITurn, box: FunctionBox, rules: chat.Rules) -> None:
    """Hold what the answer of a turn may cost that is about to wait for a worker, after it has rested.

    Raises what `again` raises: whoever decides is told, and not only the log of a worker.
    """
    _Rested.of(turn, box, rules).announce(turn)


@dataclass(frozen=True, slots=True)
class _Asked:
    """How a turn was asked. Of the window what the site tells the model has used its part."""

    request: ModelRequest
    system: list[Message]
    window: Window
    given: Sequence[Source]

    @classmethod
    def of(cls, turn: AITurn, box: FunctionBox) -> _Asked:
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
        return cls(request, system, context.window_of(request, box.schemas, system), given)


@dataclass(frozen=True, slots=True)
class _Rested:
    """How a turn that has rested goes on. `spoken` are the tokens that the next request takes in."""

    request: ModelRequest
    system: list[Message]
    window: Window
    given: Sequence[Source]
    history: History
    steps: int
    purse: Purse | None

    @classmethod
    def of(cls, turn: AITurn, box: FunctionBox, rules: chat.Rules) -> _Rested:
        asked = _Asked.of(turn, box)
        system, window = asked.system, asked.window
        summary: Summary | None = summaries.known(turn.conversation_id, window, 0)
        if summary is not None:
            system, window = [*system, summary.line], summaries.with_summary(window, summary)
        history = load_history(turn.conversation_id, window, in_turn=True)
        steps = queue.answers_of(turn.pk)
        purse = Purse.for_turn(turn.user, asked.request, box.schemas, max(rules.max_steps - steps, 0))
        return cls(asked.request, system, window, asked.given, history, steps, purse)

    @property
    def spoken(self) -> int:
        return 0 if self.purse is None else self.history.used + self.purse.overhead

    def announce(self, turn: AITurn) -> tuple[UUID, Hold | None]:
        """The attempt that follows the calls, and what it holds; where there are budgets it is announced.

        That is before the calls are made, so that what they do is not in vain for want of money.
        """
        return _announced(turn, self.request, self.purse, self.history.used)


def _announced(
    turn: AITurn, request: ModelRequest, purse: Purse | None, used: int, *, anyway: bool = False
) -> tuple[UUID, Hold | None]:
    """The attempt of the turn that waits to be made, and what it holds; a new one where there is none.

    A new one stands in the ledger where there are budgets, or `anyway`.
    """
    open_attempts = ledger.open_attempts(turn.pk)
    row: AIUsage | None = open_attempts[0] if open_attempts else None
    hold = None if purse is None or row is None else purse.kept(row)
    reserved = hold
    if purse is not None and hold is None:
        hold = purse.first(used + purse.overhead, request.model)
    if row is not None:
        if hold is not None and reserved is None:
            ledger.hold(row.pk, hold)
        return row.pk, hold
    attempt_id = uuid7()
    if hold is not None or anyway:
        ledger.announce(
            attempt_id,
            user_id=turn.user_id,
            conversation_id=turn.conversation_id,
            turn_id=turn.pk,
            model=request.model,
            hold=hold,
        )
    return attempt_id, hold


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
    decided = call_storage.of_turn(turn.pk, Status.RUNNING, Status.DENIED)
    return [each for each in decided if each.call_id not in set(answered)]


def _refusal(row: AIFunctionCall) -> FunctionResult:
    return FunctionResult(
        call=as_call(row),
        output="A person has declined this call; it was not made.",
        status="failed",
        error_code="approval_denied",
    )
