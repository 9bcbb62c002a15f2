"""What a turn is given, and what it keeps and settles: the words between the turn and its store."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any, Literal, Protocol
from uuid import UUID

from django_chatgpt.core.events import TurnEvent
from django_chatgpt.core.log import EventLog
from django_chatgpt.core.messages import FunctionCall, FunctionResult, TokenUsage
from django_chatgpt.core.reply import Reply
from django_chatgpt.core.request import Endpoint, ModelRequest, ModerationRequest, Verdict
from django_chatgpt.core.summary import Summary, SummaryDue
from django_chatgpt.core.window import Window
from django_chatgpt.exceptions import AIServiceError

Status = Literal["completed", "failed", "cancelled", "interrupted", "awaiting_approval"]
Refused = Literal["", "question", "results", "answer"]


@dataclass(slots=True)
class Attempt:
    """One call of the provider, as the ledger will know it. Times are seconds on the turn's clock.

    `asked` is False of one that was announced and never made, as the turn was stopped before. `passed` is
    how many characters of the text may be shown, None where it is not held back.
    """

    id: UUID
    request: ModelRequest
    started: float
    reply: Reply
    asked: bool = True
    accepted: bool = False
    first_shown: float | None = None
    ended: float | None = None
    outcome: str = "running"
    error: AIServiceError | None = None
    passed: int | None = None

    @property
    def text(self) -> str:
        """The text that may be shown."""
        return self.reply.text if self.passed is None else self.reply.text[: self.passed]

    @property
    def withheld(self) -> str:
        """The text that may not be shown."""
        return "" if self.passed is None else self.reply.text[self.passed :]

    @property
    def latency_ms(self) -> int | None:
        return None if self.ended is None else round((self.ended - self.started) * 1000)

    @property
    def time_to_first_token_ms(self) -> int | None:
        return None if self.first_shown is None else round((self.first_shown - self.started) * 1000)


@dataclass(slots=True)
class Judgement:
    """One call of the provider's moderation, as the ledger will know it."""

    id: UUID
    of: Literal["question", "answer"]
    request: ModerationRequest
    started: float
    ended: float = 0.0
    outcome: str = "completed"
    verdict: Verdict | None = None
    error: AIServiceError | None = None


@dataclass(frozen=True, slots=True)
class Screen:
    """What the site has texts judged for by somebody else. `timeout` is in seconds and counts silence.

    `fails_open`: what can't be judged may pass. Questions are judged before the model is asked, answers
    while they come, if `answers` says so.
    """

    endpoint: Endpoint
    moderation_model: str | None = None
    answers: bool = False
    topics: tuple[str, ...] = ()
    topic_model: str = ""
    fails_open: bool = False
    timeout: float = 10.0

    @property
    def rules(self) -> list[Any]:
        """What tells two screens apart, as JSON."""
        return [self.moderation_model, self.answers, self.topics, self.topic_model, self.fails_open]

    @property
    def holds_back(self) -> bool:
        """Whether answers are judged before they are shown."""
        return self.answers and self.moderation_model is not None


@dataclass(slots=True)
class Ending:
    """How a turn ended. `attempt` is the one that was still open, None if all are settled.

    `settled` is None if the ending could not be stored; `seconds` is how long it took since it began or went
    on, `model` the one asked last.
    `refused` is what a content filter, the site's or the provider's, did not let pass, or had not let pass
    yet: the question, what the functions of the last step have returned, the answer.
    """

    status: Status
    reason: str
    attempt: Attempt | None = None
    error: AIServiceError | None = None
    settled: Settled | None = None
    seconds: float = 0.0
    model: str = ""
    refused: Refused = ""


@dataclass(slots=True)
class Settled:
    """What the whole turn took: usage and cost (USD, None if any part is unknown) of all attempts."""

    usage: TokenUsage
    cost: Decimal | None
    message_id: UUID | None


@dataclass(slots=True)
class Plan:
    """Of the calls of one step: those to be made now, and those that wait for a person."""

    now: list[FunctionCall]
    parked: list[FunctionCall] = field(default_factory=list)


@dataclass(slots=True)
class Resumed:
    """Calls that a person has decided: those to be made now, and the answers to those that are not made.

    `announced`: the attempt that follows them is in the ledger already.
    """

    now: list[FunctionCall]
    refused: list[FunctionResult]
    announced: bool = False


#: The events that are to follow what is kept, numbered ahead; the same however often they are asked for.
Announcing = Callable[[Plan], Sequence[TurnEvent]]
Closing = Callable[[Settled], Sequence[TurnEvent]]


class TurnStore(Protocol):
    """Where a turn is kept. Each method is one hop to the database, whole or not at all.

    With whatever is kept goes what the turn's log holds, and the events that are to follow.
    """

    @property
    def refusal(self) -> AIServiceError | None:
        """Why the attempt that was announced last must not be made, None if it may be."""

    def note(self, judgement: Judgement) -> None:
        """Remember a judgement, to be kept with what is kept next. This one is no hop."""

    def admit(self, asked: Attempt | None, next_id: UUID) -> bool:
        """Keep that the question has passed. False: somebody asked to stop.

        `asked` is the attempt that the model's own judgement took: settle it and announce the next.
        """

    def sum_up(self, asked: Attempt, summary: Summary | None, next_id: UUID, prompt_tokens: int) -> bool:
        """Settle the attempt that a summary took, keep the summary if there is one, announce the next.

        That one is to be sent messages of `prompt_tokens`. False: somebody asked to stop.
        """

    def retry(self, failed: Attempt, next_id: UUID, model: str) -> None:
        """Settle an attempt that gave no answer and announce the next, of `model`."""

    def checkpoint(self, text: str) -> bool:
        """Keep the text so far and renew the lease. False: somebody asked to stop.

        Raises Stopped("lost") if the turn is over already.
        """

    def record_calls(self, attempt: Attempt, calls: Sequence[FunctionCall], announcing: Announcing) -> Plan:
        """Keep an answer that calls functions, and its calls before they are made."""

    def save_results(self, results: Sequence[FunctionResult], next_id: UUID) -> bool:
        """Keep what the calls returned; announce the next attempt. False: somebody asked to stop.

        That of a turn which has rested may have been announced before.
        """

    def park(self, results: Sequence[FunctionResult], closing: Closing) -> Settled:
        """Keep what some calls returned; the turn rests until a person has decided the others.

        Raises Stopped where somebody asked to stop meanwhile.
        """

    def finish(self, ending: Ending, closing: Closing) -> Settled:
        """Settle what is open, store the answer and the results there are, free the conversation.

        Raises Stopped("lost") if the turn is over already.
        """


@dataclass(slots=True)
class TurnControl:
    """What somebody outside may set while the turn runs."""

    stop_after_call: bool = False


def with_model(request: ModelRequest, model: str) -> tuple[ModelRequest, Window | None]:
    """The same request of another model, where nothing is known of what that takes."""
    return replace(request, model=model), None


@dataclass(slots=True)
class TurnSpec:
    """Everything a turn needs to know. `attempt_id` is the ledger row that was announced with the question.

    `fallbacks` are the models to ask in this order where that of the request can't be reached; `fit` makes
    the request that of another model, and says what that one takes.
    `renew_after` is how many seconds may pass in silence before the lease is renewed. `resumed` is there if
    the turn has rested: it goes on with these calls, at step `first_step`. `check` tells what is wrong with
    a whole answer, None if nothing is; the model gets one chance to mend it. `window` is what the messages
    of every step have to fit into, as those of `request` do; None: whatever there is. `screen` is there if
    questions or answers are to be judged first, `summary` if what is left out is to be summed up. `log`
    numbers the events and holds those that are not kept yet; of a turn that has rested it goes on where it
    was. `time_limit` is how many seconds the turn may take from here on, None: any number.
    """

    turn_id: UUID
    conversation_id: UUID
    attempt_id: UUID
    request: ModelRequest
    store: TurnStore
    window: Window | None = None
    max_steps: int = 8
    max_retries: int = 3
    fallbacks: Sequence[str] = ()
    fit: Callable[[ModelRequest, str], tuple[ModelRequest, Window | None]] = with_model
    renew_after: float = 10.0
    first_step: int = 0
    resumed: Resumed | None = None
    check: Callable[[str], str | None] | None = None
    screen: Screen | None = None
    log: EventLog = field(default_factory=EventLog)
    summary: SummaryDue | None = None
    time_limit: float | None = None
    control: TurnControl = field(default_factory=TurnControl)
    clock: Callable[[], float] = time.monotonic
    jitter: Callable[[], float] = random.random
