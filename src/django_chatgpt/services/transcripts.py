"""A conversation as it is shown to people: what was said, and how each of its turns went."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Any
from uuid import UUID

from django_chatgpt.exceptions import AIServiceError
from django_chatgpt.models import AIConversation, AIFunctionCall, AITurn
from django_chatgpt.services.links import Link, links_of
from django_chatgpt.services.results import stored_error
from django_chatgpt.services.sweeper import sweep
from django_chatgpt.storage import conversations as storage
from django_chatgpt.storage import ledger
from django_chatgpt.storage.turns import is_expired

WAITING = AIFunctionCall.Status.AWAITING_APPROVAL


@dataclass(frozen=True, slots=True)
class TurnLine:
    """How a turn went. `tokens` and `cost` are those of all its attempts; a cost of None is not known."""

    turn: AITurn
    error: AIServiceError | None
    tokens: int
    cost: Decimal | None
    calls: list[AIFunctionCall]
    sources: list[Link]

    @property
    def waiting(self) -> list[AIFunctionCall]:
        """The calls that a person has to decide about."""
        return [call for call in self.calls if call.status == WAITING]


@dataclass(frozen=True, slots=True)
class Transcript:
    conversation: AIConversation
    turns: list[TurnLine]


def read(conversation_id: UUID, user: Any) -> Transcript:
    """One of the user's own conversations; a turn whose process died is ended first. Raises NotFoundError."""
    turns = storage.turns_of(conversation_id, user.pk)
    expired = [turn for turn in turns if is_expired(turn)]
    if expired:
        for turn in expired:
            sweep(turn)
        turns = storage.turns_of(conversation_id, user.pk)
    conversation = storage.with_messages(conversation_id, user.pk)
    spent = ledger.totals_by_turn(conversation_id)
    links = links_of(user, turns, conversation.messages.all())
    lines = []
    for turn in turns:
        tokens, cost = spent.get(turn.pk, (0, Decimal(0)))
        lines.append(
            TurnLine(
                turn=turn,
                error=stored_error(turn),
                tokens=tokens,
                cost=cost,
                calls=list(turn.calls.all()),
                sources=links.get(turn.pk, []),
            )
        )
    return Transcript(conversation, lines)
