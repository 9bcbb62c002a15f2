"""One question in the terminal: asked, shown while it is answered, stopped, and decided about."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from django_chatgpt.core.events import (
    CallRequested,
    CallReturned,
    Content,
    Discarded,
    Failed,
    Finished,
    Started,
    TurnEvent,
)
from django_chatgpt.core.messages import FunctionCall
from django_chatgpt.functions import function_registry
from django_chatgpt.management.terminal.screens import Screen
from django_chatgpt.models import AIConfiguration, AIFunctionCall, AITurn
from django_chatgpt.runtime import stops
from django_chatgpt.services import AIService, approvals, chat, follow
from django_chatgpt.services.cancel import cancel
from django_chatgpt.services.results import snapshot

LOOK_SECONDS = 0.3

#: Asks a person about a call; None: not now.
Decide = Callable[[AIFunctionCall], bool | None]


@dataclass(slots=True)
class Outcome:
    """What has become of a question. `text` is what was said after the last call."""

    started: float = field(default_factory=time.monotonic)
    turn_id: UUID | None = None
    conversation_id: UUID | None = None
    last_event: int = 0
    text: str = ""
    calls: list[FunctionCall] = field(default_factory=list)
    is_to_stop: bool = False
    finished: Finished | None = None
    failed: Failed | None = None

    @property
    def waits(self) -> bool:
        """Whether the turn rests until a person has decided."""
        return self.finished is not None and self.finished.reason == "awaiting_approval"

    @property
    def was_stopped(self) -> bool:
        return self.finished is not None and self.finished.reason == "cancelled"

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.started


@dataclass(slots=True)
class Asking:
    """Who asks, and how it is shown. `decide` is None where nobody can be asked about a call."""

    user: Any
    screen: Screen
    decide: Decide | None = None
    configuration: AIConfiguration | None = None
    model: str | None = None
    use_functions: bool = True

    def ask(self, text: str, conversation_id: UUID | None) -> Outcome:
        """Ask, show what comes, and return how it ended. Raises any AIServiceError.

        The first Ctrl-C stops the answer and keeps what there is of it, the second raises KeyboardInterrupt.
        """
        outcome = Outcome(conversation_id=conversation_id)
        with interruptible(outcome):
            service = AIService(self.user, self.configuration)
            options = {"model": self.model, "use_functions": self.use_functions}
            self._show(service.stream(text, conversation_id, **options), outcome)
        while outcome.waits and (events := self._decided(outcome)) is not None:
            with interruptible(outcome):
                self._show(events, outcome)
        return outcome

    def _show(self, events: Iterable[TurnEvent | None], outcome: Outcome) -> None:
        self.screen.begin()
        try:
            for event in events:
                if event is not None:
                    outcome.last_event = max(outcome.last_event, event.seq)
                    self._take(event, outcome)
        finally:
            try:
                self.screen.end()
            finally:
                close = getattr(events, "close", None)
                if close is not None:
                    close()

    def _take(self, event: TurnEvent, outcome: Outcome) -> None:
        match event:
            case Started():
                outcome.turn_id, outcome.conversation_id = event.turn_id, event.conversation_id
            case Content(content=new):
                outcome.text += new
                self.screen.text(new)
            case CallRequested(call=call):
                outcome.calls.append(call)
                outcome.text = ""
                self.screen.call(call, waits=event.needs_approval)
            case CallReturned(result=result):
                self.screen.result(result)
            case Discarded():
                outcome.text = ""
            case Finished():
                outcome.finished = event
            case Failed():
                outcome.failed = event

    def _decided(self, outcome: Outcome) -> Iterable[TurnEvent | None] | None:
        """Ask about every call that waits. What follows when all are decided, None if they are not."""
        assert outcome.turn_id is not None
        if self.decide is None or self.user is None:
            return None
        next_step: chat.Prepared | AITurn | None = None
        for call in snapshot(outcome.turn_id, self.user.pk).waiting:
            function = function_registry.get_function(call.name)
            if function is None or not function.may_decide(self.user, self.user):
                return None
            agreed = self.decide(call)
            if agreed is None:
                return None
            decision = approvals.Decision(approve=agreed, call_id=call.call_id)
            next_step = approvals.decide(self.user, outcome.turn_id, decision)
        if next_step is None:
            return None
        outcome.finished = None
        if isinstance(next_step, chat.Prepared):
            return chat.run(next_step)
        return self._followed(outcome)

    def _followed(self, outcome: Outcome) -> Iterator[TurnEvent | None]:
        """The events of a turn that goes on in another process."""
        assert outcome.turn_id is not None
        watch = follow.Watch(outcome.turn_id, self.user.pk, outcome.last_event)
        told = False
        for event in follow.follow(watch, heartbeat=LOOK_SECONDS):
            if outcome.is_to_stop and not told:
                told = True
                cancel(outcome.turn_id, self.user.pk)
            yield event


@contextmanager
def interruptible(outcome: Outcome) -> Iterator[None]:
    """Inside, Ctrl-C first asks the turn to stop, then raises KeyboardInterrupt, as before there is one."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    pressed = 0

    def stop(*_: Any) -> None:
        nonlocal pressed
        pressed += 1
        if pressed > 1 or outcome.turn_id is None:
            raise KeyboardInterrupt
        outcome.is_to_stop = True
        stops.stop(outcome.turn_id)

    before = signal.signal(signal.SIGINT, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def stop_running(user: Any, conversation_id: UUID) -> int:
    """Stop what runs or waits in a conversation, wherever that is; how many turns that were."""
    user_id = None if user is None else user.pk
    turns = AITurn.objects.active().filter(conversation_id=conversation_id, user=user)
    found = list(turns.values_list("pk", flat=True))
    for turn_id in found:
        cancel(turn_id, user_id)
    return len(found)
