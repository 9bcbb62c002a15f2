"""Which step answers which request: rules first, then the queue, then a callable, then an echo."""

import threading
from collections import deque
from collections.abc import Awaitable, Callable
from typing import TypeAlias

from django_chatgpt.testing.recorder import Endpoint, Request
from django_chatgpt.testing.steps import Answer, Step

Responder: TypeAlias = Callable[[Request], Step | str | Awaitable[Step | str]]

GENERATING: tuple[Endpoint, ...] = ("chat", "responses")


class Unscripted(AssertionError):
    """The model was asked something for which nothing is scripted, after `FakeOpenAI.require_script`."""

    def __init__(self, request: Request) -> None:
        super().__init__(
            "nothing is scripted for this request. Say what is answered, before it is made: "
            'fake_openai.reply("...") for the next one, or fake_openai.when(question="...").answer("..."). '
            f"It was\n{request.details}"
        )


class Rule:
    """Steps for the requests that fit, whatever else is going on; from `FakeOpenAI.when`.

    Its steps are used once each, in order; then what `always` or `respond_with` gave; after that the rule
    no longer applies.
    """

    def __init__(self, fits: Callable[[Request], bool]) -> None:
        self.fits = fits
        self.steps: deque[Step] = deque()
        self.responder: Responder | None = None

    def answer(self, *steps: Step | str) -> "Rule":
        """Queue steps for this rule alone; a string is an answer's text."""
        self.steps.extend(map(as_step, steps))
        return self

    def always(self, step: Step | str) -> "Rule":
        """Answer with this one whenever no queued step is left."""
        fixed = as_step(step)
        return self.respond_with(lambda request: fixed)

    def respond_with(self, responder: Responder) -> "Rule":
        """Ask a callable whenever no queued step is left."""
        self.responder = responder
        return self

    def take(self) -> Step | Responder | None:
        return self.steps.popleft() if self.steps else self.responder


class Script:
    """Everything that was scripted, safe to change while requests come in."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._rules: list[Rule] = []
        self._queue: Rule = Rule(lambda request: request.endpoint in GENERATING)

    def queue(self, *steps: Step | str) -> None:
        with self._lock:
            self._queue.answer(*steps)

    def respond_with(self, responder: Responder | None) -> None:
        with self._lock:
            self._queue.responder = responder

    def add(self, rule: Rule) -> Rule:
        with self._lock:
            self._rules.append(rule)
        return rule

    def clear(self) -> None:
        with self._lock:
            self._rules.clear()
            self._queue.steps.clear()
            self._queue.responder = None

    @property
    def unused(self) -> list[Step]:
        """Queued steps that nobody has asked for yet."""
        with self._lock:
            return [step for rule in (*self._rules, self._queue) for step in rule.steps]

    async def step(self, request: Request) -> Step | None:
        """The step for this request; None where nothing was scripted for it."""
        with self._lock:
            found = next(
                (
                    taken
                    for rule in (*self._rules, self._queue)
                    if rule.fits(request) and (taken := rule.take())
                ),
                None,
            )
        if found is None or not callable(found):
            return found
        answered = found(request)
        return as_step(await answered if isinstance(answered, Awaitable) else answered)


def as_step(value: Step | str) -> Step:
    return Answer(value) if isinstance(value, str) else value


def echo(request: Request) -> Answer:
    """What is said when nothing was scripted: the question, quoted."""
    return Answer(f"You said: {request.question}")
