"""A turn while it runs: what has been decided, numbered and kept so far."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import replace
from functools import partial
from typing import TypeVar
from uuid import UUID

from django_chatgpt.core.effects import Stopped
from django_chatgpt.core.events import TurnEvent
from django_chatgpt.core.reply import Reply
from django_chatgpt.core.request import ModelRequest
from django_chatgpt.core.screening import Judge
from django_chatgpt.core.spec import Attempt, Refused, TurnSpec
from django_chatgpt.core.window import Transcript
from django_chatgpt.exceptions import AIServiceError, ContentFilterError

CHECKPOINT_SECONDS = 0.5

_Event = TypeVar("_Event", bound=TurnEvent)


class Run:
    """What changes while a turn runs."""

    def __init__(self, spec: TurnSpec) -> None:
        self.spec = spec
        self.clock = spec.clock
        self.began = spec.clock()
        self.next_attempt_id = spec.attempt_id
        self.models = [spec.request.model, *spec.fallbacks]
        self.request = spec.request
        self.transcript = Transcript(spec.request.messages, spec.window)
        self.attempt: Attempt | None = None
        self.announced = spec.resumed is None or spec.resumed.announced
        self.stream_open = False
        self.unheard: Refused = "question" if spec.resumed is None else "results"
        self.judge: Judge | None = None
        if spec.screen is not None:
            self.judge = Judge(
                spec.screen,
                spec.store.note,
                self.renewal,
                spec.clock,
                question=spec.resumed is None,
            )
        self.call_ids = {
            call["id"] for message in spec.request.messages for call in message.get("tool_calls", ())
        }
        # That it has started, whoever follows it knows by itself: that alone is worth no trip.
        self._saved_seq = spec.log.last + 1
        self._saved_at = spec.clock()

    def refused(self, error: AIServiceError | None) -> Refused:
        """What the site's filter has refused; else the provider's, if that is what the turn failed for."""
        if self.judge is not None and self.judge.refused:
            return self.judge.refused
        if not isinstance(error, ContentFilterError):
            return ""
        # What was there before has been let pass before.
        answered = self.attempt is not None and self.attempt.first_shown is not None
        return "answer" if answered else self.unheard

    @property
    def holds_back(self) -> bool:
        return self.spec.screen is not None and self.spec.screen.holds_back

    @property
    def text(self) -> str:
        """The text so far of the answer, as far as it may be shown."""
        judged = self.judge is not None and self.judge.refused == "question"
        return "" if self.attempt is None or judged else self.attempt.text

    def number(self, event: _Event) -> _Event:
        event.turn_id = self.spec.turn_id
        return self.spec.log.add(event)

    def number_ahead(self, events: Sequence[_Event]) -> Sequence[_Event]:
        for event in events:
            event.turn_id = self.spec.turn_id
        return self.spec.log.ahead(events)

    def show(self, events: Sequence[TurnEvent]) -> Generator[TurnEvent]:
        """Events that were numbered ahead."""
        self.spec.log.passed(events)
        yield from events

    def begin_attempt(self, request: ModelRequest) -> Attempt:
        """The attempt that was announced."""
        self.attempt = Attempt(
            id=self.next_attempt_id,
            request=request,
            started=self.clock(),
            reply=Reply(self.next_attempt_id.hex[-12:], frozenset(self.call_ids)),
        )
        if self.holds_back:
            self.attempt.passed = 0
        self.announced = False
        return self.attempt

    def next_request(self) -> ModelRequest:
        """What the model whose turn it is, `models[0]`, is asked next. Raises TokenLimitError."""
        request, window = self.request, None
        if request.model != self.models[0]:
            request, window = self.spec.fit(request, self.models[0])
        messages = self.transcript.shown(window)
        self.request = request
        return replace(request, messages=messages)

    @property
    def model(self) -> str:
        """The model that answers, as far as it is known."""
        return (self.attempt.reply.model if self.attempt else "") or self.models[0]

    def announce(self, attempt_id: UUID) -> None:
        """The next attempt is in the ledger by now."""
        self.next_attempt_id, self.announced = attempt_id, True

    def require_time(self) -> None:
        """Raise Stopped("timeout") if the turn has taken longer than it may."""
        limit = self.spec.time_limit
        if limit is not None and self.clock() - self.began > limit:
            raise Stopped("timeout")

    def checkpoint_due(self) -> bool:
        """Whether text and lease are to be kept now; asked all the time. Raises Stopped as above."""
        self.require_time()
        waited = self.clock() - self._saved_at
        return waited >= self.spec.renew_after or (
            waited >= CHECKPOINT_SECONDS and self.spec.log.last > self._saved_seq
        )

    def checkpoint_done(self) -> None:
        self._saved_at, self._saved_seq = self.clock(), max(self._saved_seq, self.spec.log.last)

    def keep(self, text: str) -> None:
        """Keep the text so far and renew the lease. Raises Stopped. To be run in a hop."""
        try:
            go_on = self.spec.store.checkpoint(text)
        except Stopped:
            raise
        except Exception:
            # A checkpoint is worth less than the answer; the next one comes soon.
            go_on = True
        self.checkpoint_done()
        if not go_on:
            raise Stopped("cancelled")

    def renewal(self) -> Callable[[], None] | None:
        """What is due while the provider is waited for."""
        return partial(self.keep, self.text) if self.checkpoint_due() else None
