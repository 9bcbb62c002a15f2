"""What is shown of a turn while it runs: the one vocabulary of every door.

Events are numbered from 1 within their turn and carry its id. The list is additive: a door leaves out
what it has no word for, and nobody may rely on there being no others.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from typing import ClassVar
from uuid import UUID

from django_chatgpt.core.messages import FunctionCall, FunctionResult, TokenUsage


@dataclass(slots=True, kw_only=True)
class TurnEvent:
    type: ClassVar[str]

    turn_id: UUID | None = None
    seq: int = 0


@dataclass(slots=True, kw_only=True)
class Started(TurnEvent):
    """The question and the turn are stored; the provider is asked next."""

    type: ClassVar[str] = "start"

    conversation_id: UUID | None = None


@dataclass(slots=True, kw_only=True)
class Content(TurnEvent):
    """New text of the answer; only the new text."""

    type: ClassVar[str] = "content"

    content: str


@dataclass(slots=True, kw_only=True)
class CallStarted(TurnEvent):
    """The model begins to write a call; its arguments follow in pieces."""

    type: ClassVar[str] = "function_call_start"

    call_id: str
    name: str


@dataclass(slots=True, kw_only=True)
class CallArguments(TurnEvent):
    """New text of a call's arguments."""

    type: ClassVar[str] = "function_arguments"

    call_id: str
    arguments: str


@dataclass(slots=True, kw_only=True)
class CallRequested(TurnEvent):
    """A call is whole and about to be made; with `needs_approval`, once a person has agreed to it."""

    type: ClassVar[str] = "function_call"

    call: FunctionCall
    needs_approval: bool = False


@dataclass(slots=True, kw_only=True)
class CallReturned(TurnEvent):
    """A called function has answered."""

    type: ClassVar[str] = "function_result"

    result: FunctionResult


@dataclass(slots=True, kw_only=True)
class Discarded(TurnEvent):
    """What was said since the last call does not count: it had not the form asked for, and comes anew."""

    type: ClassVar[str] = "discarded"


@dataclass(slots=True, kw_only=True)
class Finished(TurnEvent):
    """The turn has its answer, or what there is of it.

    `reason` is the provider's ("stop", "length", "content_filter"), or "cancelled", or "max_steps", or
    "awaiting_approval": then the turn rests, and goes on when a person has decided.
    `cost` is in USD; None where the price is not known.
    """

    type: ClassVar[str] = "finish"

    reason: str
    usage: TokenUsage = field(default_factory=TokenUsage)
    cost: Decimal | None = None
    message_id: UUID | None = None
    model: str = ""


@dataclass(slots=True, kw_only=True)
class Failed(TurnEvent):
    """The turn has failed; what had arrived is stored."""

    type: ClassVar[str] = "error"

    code: str
    message: str
    retryable: bool = False
    retry_after: float | None = None


@dataclass(slots=True, kw_only=True)
class Done(TurnEvent):
    """Nothing follows."""

    type: ClassVar[str] = "done"
