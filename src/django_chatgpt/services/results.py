"""The result of a turn: folded from its events, or read from what is stored."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from django_chatgpt.core.events import CallRequested, Content, Discarded, Finished, Started, TurnEvent
from django_chatgpt.core.messages import FunctionCall
from django_chatgpt.core.spec import Ending
from django_chatgpt.exceptions import AIServiceError, NotFoundError, TurnCancelledError
from django_chatgpt.models import AIFunctionCall, AIMessage, AITurn
from django_chatgpt.services.citations import kept
from django_chatgpt.services.sweeper import sweep
from django_chatgpt.services.types import AIResponse
from django_chatgpt.storage import calls, ledger, primary
from django_chatgpt.storage import turns as storage


@dataclass(slots=True)
class Fold:
    """A whole reply, put together from the events of its turn."""

    started: Started | None = None
    finished: Finished | None = None
    made: list[FunctionCall] = field(default_factory=list)
    _text: list[str] = field(default_factory=list)

    def add(self, event: TurnEvent) -> None:
        match event:
            case Content(content=text):
                self._text.append(text)
            case Discarded():
                self._text.clear()
            case CallRequested(call=call):
                # What was said before a call is a message of its own; the reply is what follows the last.
                self.made.append(call)
                self._text.clear()
            case Started():
                self.started = event
            case Finished():
                self.finished = event

    def response(self, ending: Ending) -> AIResponse:
        """The reply. Raises the error that the turn failed with."""
        if ending.error is not None:
            raise ending.error
        started, finished = self.started, self.finished
        assert started is not None
        assert started.turn_id is not None
        assert started.conversation_id is not None
        assert finished is not None
        return AIResponse(
            turn_id=started.turn_id,
            conversation_id=started.conversation_id,
            message_id=finished.message_id,
            content="".join(self._text),
            model=finished.model,
            finish_reason=finished.reason,
            usage=finished.usage,
            cost=finished.cost,
            function_calls=self.made,
        )


def fold(events: Generator[TurnEvent | None, None, Ending]) -> AIResponse:
    """Run a turn to its end and give the whole reply. Raises the error it failed with."""
    folded = Fold()
    while True:
        try:
            event = next(events)
        except StopIteration as end:
            return folded.response(end.value)
        if event is not None:
            folded.add(event)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A turn as it is stored now. `error` is there if it has failed, `response` when it runs no more.

    `waiting` are the calls that a person has to decide about.
    """

    turn: AITurn
    text: str
    response: AIResponse | None = None
    error: AIServiceError | None = None
    waiting: list[AIFunctionCall] = field(default_factory=list)

    @property
    def over(self) -> bool:
        """Whether it runs no more: it has ended, or it rests until a person has decided."""
        return not runs(self.turn)


def snapshot(turn_id: UUID, user_id: Any) -> Snapshot:
    """The user's own turn; one whose process died is ended first. Raises NotFoundError."""
    turn = find_turn(turn_id, user_id)
    if storage.is_expired(turn):
        sweep(turn)
        turn = find_turn(turn_id, user_id)
    return snapshot_of(turn)


def snapshot_of(turn: AITurn) -> Snapshot:
    """A turn as its row and its messages tell."""
    if runs(turn):
        return Snapshot(turn, turn.partial_text)
    lines = list(
        AIMessage.objects.using(primary.primary())
        .filter(turn=turn, role=AIMessage.Role.ASSISTANT)
        .order_by("sequence")
        .only("id", "content", "tool_calls", "metadata", "response_time_ms")
    )
    answer = lines[-1] if lines and not lines[-1].tool_calls else None
    usage, cost = ledger.turn_totals(turn.pk)
    metadata = answer.metadata if answer else {}
    response = AIResponse(
        turn_id=turn.pk,
        conversation_id=turn.conversation_id,
        message_id=answer.pk if answer else None,
        content=answer.content if answer else "",
        model=metadata.get("model") or turn.options.get("model", ""),
        finish_reason=_reason(turn, metadata),
        usage=usage,
        cost=cost,
        function_calls=_calls(lines),
        response_time_ms=answer.response_time_ms if answer else None,
        sources=kept(turn.options),
    )
    waiting = list(calls.of_turn(turn.pk, AIFunctionCall.Status.AWAITING_APPROVAL))
    return Snapshot(turn, response.content, response, stored_error(turn), waiting)


def runs(turn: AITurn) -> bool:
    """Whether some process works on it, or will."""
    return turn.status in (AITurn.Status.QUEUED, AITurn.Status.RUNNING)


def stored_error(turn: AITurn) -> AIServiceError | None:
    """What the turn failed with, as its row tells; None if it has not."""
    if turn.status in (AITurn.Status.FAILED, AITurn.Status.INTERRUPTED):
        return AIServiceError(turn.error_message or None, code=turn.error_code or None)
    return None


def find_turn(turn_id: UUID, user_id: Any, without: Sequence[str] = ()) -> AITurn:
    """The user's own turn, all but the columns `without`. Raises NotFoundError, also for somebody else's."""
    turns = AITurn.objects.using(primary.primary()).defer(*without)
    turn = turns.filter(pk=turn_id, user_id=user_id).first()
    if turn is None:
        raise NotFoundError(f"turn_id: you have no turn {turn_id}.")
    return turn


def _reason(turn: AITurn, metadata: dict[str, Any]) -> str:
    match turn.status:
        case AITurn.Status.COMPLETED:
            return str(metadata.get("finish_reason") or "stop")
        case AITurn.Status.AWAITING_APPROVAL:
            return "awaiting_approval"
        case AITurn.Status.CANCELLED:
            return TurnCancelledError.code
        case _:
            return "error"


def _calls(lines: Iterable[AIMessage]) -> list[FunctionCall]:
    return [
        FunctionCall(id=call["id"], name=call["function"]["name"], arguments=call["function"]["arguments"])
        for line in lines
        for call in line.tool_calls or ()
    ]
