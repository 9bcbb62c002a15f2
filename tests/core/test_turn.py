"""The turn, fed by hand: no database, no event loop, no provider."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest

from django_chatgpt.core.effects import (
    CallFunctions,
    Checkpoint,
    CloseStream,
    Db,
    OpenStream,
    ReadStream,
    Stopped,
    Wait,
)
from django_chatgpt.core.events import (
    CallArguments,
    CallRequested,
    CallReturned,
    CallStarted,
    Content,
    Done,
    Failed,
    Finished,
    Started,
    TurnEvent,
)
from django_chatgpt.core.ids import uuid7
from django_chatgpt.core.messages import FunctionCall, FunctionResult, TokenUsage
from django_chatgpt.core.request import CallFragment, Delta, Endpoint, ModelRequest
from django_chatgpt.core.spec import (
    Announcing,
    Attempt,
    Closing,
    Ending,
    Judgement,
    Plan,
    Resumed,
    Settled,
    TurnSpec,
)
from django_chatgpt.core.summary import Summary, SummaryDue
from django_chatgpt.core.turn import FINISH_AGAIN_SECONDS, run_turn
from django_chatgpt.core.window import Window
from django_chatgpt.exceptions import (
    AIServiceError,
    ProviderProtocolError,
    ProviderRateLimitedError,
    ProviderRejectedError,
    ProviderUnavailableError,
    StructuredOutputError,
)

USAGE = TokenUsage(prompt_tokens=5, completion_tokens=2, total_tokens=7)
WEATHER = {"name": "get_weather", "description": "", "parameters": {"type": "object", "properties": {}}}


@dataclass
class Store:
    """Remembers what it was told to keep."""

    log: list[tuple[Any, ...]] = field(default_factory=list)
    endings: list[Ending] = field(default_factory=list)
    attempts: list[Attempt] = field(default_factory=list)
    go_on: list[bool] = field(default_factory=list)
    finish_error: Exception | None = None
    refuse: dict[str, Exception] = field(default_factory=dict)
    guarded: frozenset[str] = frozenset()
    refusals: list[AIServiceError | None] = field(default_factory=list)
    judgements: list[Judgement] = field(default_factory=list)
    ahead: list[Sequence[TurnEvent]] = field(default_factory=list)

    def note(self, judgement: Judgement) -> None:
        self.judgements.append(judgement)

    def admit(self, asked: Attempt | None, next_id: UUID) -> bool:
        if asked is not None:
            self.attempts.append(asked)
        self.log.append(("admit",))
        return self.go_on.pop(0) if self.go_on else True

    def sum_up(self, asked: Attempt, summary: Summary | None, next_id: UUID, prompt_tokens: int) -> bool:
        self._keep("sum_up")
        self.attempts.append(asked)
        self.log.append(("sum_up", summary))
        return self.go_on.pop(0) if self.go_on else True

    @property
    def refusal(self) -> AIServiceError | None:
        return self.refusals.pop(0) if self.refusals else None

    def retry(self, failed: Attempt, next_id: UUID, model: str) -> None:
        self._keep("retry")
        self.attempts.append(failed)
        self.log.append(("retry", failed.error.code if failed.error else "", model))

    def checkpoint(self, text: str) -> bool:
        self.log.append(("checkpoint", text))
        return self.go_on.pop(0) if self.go_on else True

    def record_calls(self, attempt: Attempt, calls: Sequence[FunctionCall], announcing: Announcing) -> Plan:
        self._keep("record_calls")
        self.attempts.append(attempt)
        self.log.append(("calls", [call.id for call in calls]))
        plan = Plan(
            [call for call in calls if call.id not in self.guarded],
            [call for call in calls if call.id in self.guarded],
        )
        self.ahead.append(announcing(plan))
        return plan

    def save_results(self, results: Sequence[FunctionResult], next_id: UUID) -> bool:
        self._keep("save_results")
        self.log.append(("results", [result.output for result in results]))
        return self.go_on.pop(0) if self.go_on else True

    def park(self, results: Sequence[FunctionResult], closing: Closing) -> Settled:
        self.log.append(("park", [result.output for result in results]))
        settled = Settled(USAGE, None, None)
        self.ahead.append(closing(settled))
        return settled

    def _keep(self, what: str) -> None:
        """Keep nothing of it, where the transaction is to be rolled back."""
        if what in self.refuse:
            raise self.refuse[what]

    def finish(self, ending: Ending, closing: Closing) -> Settled:
        if self.finish_error is not None:
            raise self.finish_error
        self.endings.append(ending)
        if ending.attempt is not None:
            self.attempts.append(ending.attempt)
        self.log.append(("finish", ending.status))
        settled = Settled(USAGE, Decimal("0.5"), uuid7())
        self.ahead.append(closing(settled))
        return settled


class World:
    """Answers effects from a script: a list of answers per opened stream; an exception is thrown."""

    def __init__(self, *streams: Any, outputs: Callable[[FunctionCall], str] | None = None) -> None:
        self.streams = list(streams)
        self.reads: list[Any] = []
        self.opened: list[ModelRequest] = []
        self.closed = 0
        self.waited: list[float] = []
        self.now = 100.0
        self.outputs = outputs or (lambda call: f"{call.name} says hello")

    def clock(self) -> float:
        return self.now

    def perform(self, effect: Any) -> Any:
        match effect:
            case OpenStream(request):
                self.opened.append(request)
                stream = self.streams.pop(0)
                if isinstance(stream, Exception):
                    raise stream
                self.reads = list(stream)
            case ReadStream():
                answer = self.reads.pop(0)
                if isinstance(answer, float):
                    self.now += answer
                    return Delta()
                if isinstance(answer, Exception):
                    raise answer
                return answer
            case CloseStream():
                self.closed += 1
                self.reads = []
            case CallFunctions(calls):
                return [FunctionResult(call=call, output=self.outputs(call)) for call in calls]
            case Db(function):
                return function()
            case Checkpoint(_, keep):
                keep()
            case Wait(seconds):
                self.waited.append(seconds)
                self.now += seconds
            case _:
                raise AssertionError(effect)
        return None

    def run(self, spec: TurnSpec) -> tuple[list[TurnEvent], Ending]:
        steps = run_turn(spec)
        events: list[TurnEvent] = []
        answer, error = None, None
        while True:
            try:
                step = steps.send(answer) if error is None else steps.throw(error)
            except StopIteration as end:
                return events, end.value
            answer = error = None
            if isinstance(step, TurnEvent):
                events.append(step)
                continue
            try:
                answer = self.perform(step)
            except Exception as caught:
                error = caught


def make_spec(world: World, store: Store, **changes: Any) -> TurnSpec:
    tools = changes.pop("tools", ())
    return TurnSpec(
        turn_id=uuid7(),
        conversation_id=uuid7(),
        attempt_id=uuid7(),
        request=ModelRequest(
            endpoint=Endpoint("sk-test"),
            model="m",
            messages=({"role": "user", "content": "Hi"},),
            tools=tools,
        ),
        store=store,
        clock=world.clock,
        jitter=lambda: 0.0,
        **changes,
    )


def text(*parts: str, reason: str = "stop", usage: TokenUsage | None = USAGE) -> list[Any]:
    return [*(Delta(text=part) for part in parts), Delta(finish_reason=reason, usage=usage), None]


def calls(*fragments: CallFragment, said: str = "") -> list[Any]:
    return [
        *([Delta(text=said)] if said else []),
        *(Delta(calls=[fragment]) for fragment in fragments),
        Delta(finish_reason="tool_calls", usage=USAGE),
        None,
    ]


def shown(events: list[TurnEvent]) -> list[str]:
    return [event.type for event in events]


def said(events: list[TurnEvent]) -> str:
    return "".join(event.content for event in events if isinstance(event, Content))


def test_a_plain_answer() -> None:
    world, store = World(text("Hel", "lo")), Store()
    events, ending = world.run(make_spec(world, store))
    assert shown(events) == ["start", "content", "content", "finish", "done"]
    assert said(events) == "Hello"
    assert [event.seq for event in events] == [1, 2, 3, 4, 5]
    assert ending.status == "completed"
    assert ending.reason == "stop"
    assert store.log == [("finish", "completed")]
    assert store.attempts[0].reply.usage == USAGE
    assert world.closed == 1


@dataclass
class Case:
    """An upstream that goes wrong, and what becomes of the turn."""

    streams: list[Any]
    status: str
    said: str
    code: str | None
    attempts: list[str]
    retries: int = 3


CASES = {
    "cut after five pieces": Case(
        [[*(Delta(text=c) for c in "12345"), ProviderUnavailableError()]],
        "failed",
        "12345",
        "provider_unavailable",
        ["failed"],
    ),
    "ended early": Case([[Delta(text="1"), None]], "failed", "1", "provider_protocol", ["failed"]),
    "refused": Case([ProviderRejectedError(status=400)], "failed", "", "provider_rejected", ["failed"]),
    "busy, then well": Case(
        [ProviderRateLimitedError(retry_after=2.0), ProviderUnavailableError(), text("ok")],
        "completed",
        "ok",
        None,
        ["failed", "failed", "completed"],
    ),
    "busy for too long": Case(
        [ProviderRateLimitedError(retry_after=3600.0)],
        "failed",
        "",
        "provider_rate_limited",
        ["failed"],
    ),
    "never well": Case(
        [ProviderUnavailableError()] * 2, "failed", "", "provider_unavailable", ["failed"] * 2, retries=1
    ),
    "cut before anything was shown": Case(
        [[Delta(), ProviderUnavailableError()], text("ok")],
        "completed",
        "ok",
        None,
        ["failed", "completed"],
    ),
    "a bug of ours": Case(
        [[Delta(text="1"), KeyError("secret")]], "failed", "1", "internal_error", ["failed"]
    ),
    "stopped": Case([[Delta(text="1"), Stopped("cancelled")]], "cancelled", "1", None, ["cancelled"]),
    "stopped while opening": Case([Stopped("cancelled")], "cancelled", "", None, ["cancelled"]),
    "the process goes": Case(
        [[Delta(text="1"), Stopped("interrupted")]], "interrupted", "1", "interrupted", ["interrupted"]
    ),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_whatever_happens_the_turn_ends(case: Case) -> None:
    world, store = World(*case.streams), Store()
    events, ending = world.run(make_spec(world, store, max_retries=case.retries))
    assert ending.status == case.status
    assert said(events) == case.said
    assert isinstance(events[0], Started)
    assert isinstance(events[-1], Done)
    failures = [event for event in events if isinstance(event, Failed)]
    assert [failure.code for failure in failures] == ([case.code] if case.code else [])
    assert all("secret" not in failure.message for failure in failures)
    assert [attempt.outcome for attempt in store.attempts] == case.attempts
    assert len({attempt.id for attempt in store.attempts}) == len(case.attempts)
    assert store.log[-1] == ("finish", case.status)
    accepted = sum(not isinstance(stream, Exception) for stream in case.streams)
    assert world.closed == accepted


def test_what_the_provider_asks_for_is_waited_for() -> None:
    world = World(ProviderRateLimitedError(retry_after=2.0), ProviderUnavailableError(), text("ok"))
    world.run(make_spec(world, Store()))
    assert sum(world.waited) == pytest.approx(2.0 + 1.0)
    assert max(world.waited) <= 0.5, "a wish to stop is heard twice a second"


def test_all_waits_together_are_no_longer_than_the_request_may_take() -> None:
    world, store = World(*[ProviderRateLimitedError(retry_after=25.0)] * 4), Store()
    _, ending = world.run(make_spec(world, store, max_retries=20))
    assert ending.error is not None
    assert ending.error.code == "provider_rate_limited"
    assert sum(world.waited) == pytest.approx(50.0)
    assert len(store.attempts) == 3, "a third wait would have made it 75 seconds of 60"


def test_a_used_up_account_is_not_asked_again_nor_for_another_model() -> None:
    used_up = ProviderRateLimitedError(code="provider_quota", retryable=False)
    world, store = World(used_up), Store()
    _, ending = world.run(make_spec(world, store, fallbacks=["b"]))
    assert ending.error is used_up
    assert world.waited == []
    assert [request.model for request in world.opened] == ["m"]


@pytest.mark.parametrize("shown", [0, 3])
def test_a_429_in_mid_stream_does_not_spin(shown: int) -> None:
    """LiteLLM 26015: the stream's error was read again and again, with one core at work."""
    stream = [*(Delta(text="x") for _ in range(shown)), ProviderRateLimitedError()]
    world, store = World(*[stream] * 3), Store()
    _, ending = world.run(make_spec(world, store, max_retries=2))
    assert ending.status == "failed"
    assert len(world.opened) == world.closed == (1 if shown else 3)
    assert (sum(world.waited) > 0) is (shown == 0), "and nothing is asked again without a wait"


def test_another_model_answers_where_the_first_can_not_be_reached() -> None:
    away = ProviderUnavailableError()
    world, store = World(away, away, ProviderRateLimitedError(retry_after=999.0), text("ok")), Store()
    events, ending = world.run(make_spec(world, store, max_retries=1, fallbacks=["b", "c"]))
    assert ending.status == "completed"
    assert [request.model for request in world.opened] == ["m", "m", "b", "c"]
    assert [attempt.request.model for attempt in store.attempts] == ["m", "m", "b", "c"]
    assert [entry[2] for entry in store.log if entry[0] == "retry"] == ["m", "b", "c"]
    (finished,) = (event for event in events if isinstance(event, Finished))
    assert finished.model == "c"


def test_the_steps_after_it_ask_the_model_that_answered() -> None:
    world = World(
        ProviderUnavailableError(), calls(CallFragment(0, "a", "one", "{}")), text("Done."), text("never")
    )
    world.run(make_spec(world, Store(), tools=(WEATHER,), max_retries=0, fallbacks=["b"]))
    assert [request.model for request in world.opened] == ["m", "b", "b"]


@pytest.mark.parametrize(
    "stream",
    [ProviderRejectedError(status=404), [Delta(text="seen"), ProviderUnavailableError()], KeyError("ours")],
    ids=["the request is at fault", "somebody has seen text", "we are at fault"],
)
def test_no_other_model_is_asked(stream: Any) -> None:
    world = World(stream, text("never"))
    _, ending = world.run(make_spec(world, Store(), max_retries=0, fallbacks=["b"]))
    assert ending.status == "failed"
    assert len(world.opened) == 1


def test_a_model_with_an_open_breaker_is_not_asked_and_the_next_one_is() -> None:
    world, store = World(text("ok")), Store(refusals=[ProviderUnavailableError(retry_after=20.0), None])
    events, _ = world.run(make_spec(world, store, fallbacks=["b"]))
    assert said(events) == "ok"
    assert [request.model for request in world.opened] == ["b"]
    assert [(each.asked, each.outcome) for each in store.attempts] == [(False, "failed"), (True, "completed")]
    assert world.waited == []


def test_where_all_breakers_are_open_the_turn_fails_at_once() -> None:
    open_ = ProviderUnavailableError(retry_after=20.0)
    world, store = World(), Store(refusals=[open_, open_])
    events, ending = world.run(make_spec(world, store, fallbacks=["b"]))
    assert ending.error is open_
    (failed,) = (event for event in events if isinstance(event, Failed))
    assert (failed.code, failed.retry_after) == ("provider_unavailable", 20.0)
    assert world.opened == []
    assert world.waited == []


def test_a_stop_while_waiting_settles_the_failed_attempt_once() -> None:
    world, store = World(ProviderUnavailableError()), Store(go_on=[False])
    _, ending = world.run(make_spec(world, store, renew_after=0.1))
    assert ending.status == "cancelled"
    assert [attempt.outcome for attempt in store.attempts] == ["failed"]


@pytest.mark.parametrize(
    ("where", "attempts"),
    [("retry", ["failed"]), ("record_calls", ["completed"]), ("save_results", ["completed"])],
)
@pytest.mark.parametrize("error", [Stopped("cancelled"), Stopped("lost"), RuntimeError()], ids=repr)
def test_what_could_not_be_kept_leaves_the_attempt_before_it_to_be_settled(
    where: str, attempts: list[str], error: Exception
) -> None:
    """And none that was never announced is settled in its place."""
    asked = ProviderUnavailableError() if where == "retry" else calls(CallFragment(0, "a", "f", "{}"))
    world, store = World(asked), Store(refuse={where: error})
    spec = make_spec(world, store, tools=[WEATHER])
    world.run(spec)
    assert [(attempt.id, attempt.outcome) for attempt in store.attempts] == [
        (spec.attempt_id, outcome) for outcome in attempts
    ]


def test_parallel_calls_with_mixed_fragments_come_out_in_order() -> None:
    fragments = [
        CallFragment(1, "b", "two"),
        CallFragment(0, "a", "one", '{"x"'),
        CallFragment(1, "", "", '{"y":'),
        CallFragment(0, "", "", ":1}"),
        CallFragment(1, "", "", "2}"),
    ]
    world, store = World(calls(*fragments, said="Let me see."), text("Done.")), Store()
    events, ending = world.run(make_spec(world, store, tools=(WEATHER,)))
    requested = [event.call for event in events if isinstance(event, CallRequested)]
    assert [(call.id, call.name, call.arguments) for call in requested] == [
        ("a", "one", '{"x":1}'),
        ("b", "two", '{"y":2}'),
    ]
    assert [event.name for event in events if isinstance(event, CallStarted)] == ["two", "one"]
    pieces = [event.arguments for event in events if isinstance(event, CallArguments)]
    assert pieces == ['{"x"', '{"y":', ":1}", "2}"]
    assert [event.result.call.id for event in events if isinstance(event, CallReturned)] == ["a", "b"]
    assert ending.reason == "stop"
    assert store.log == [
        ("calls", ["a", "b"]),
        ("results", ["one says hello", "two says hello"]),
        ("finish", "completed"),
    ]
    second = world.opened[1].messages
    assert [message["role"] for message in second] == ["user", "assistant", "tool", "tool"]
    assert second[1]["content"] == "Let me see."
    assert second[2] == {"role": "tool", "content": "one says hello", "tool_call_id": "a"}


def test_a_call_without_id_gets_one() -> None:
    world, store = World(calls(CallFragment(0, "", "one", "{}")), text("ok")), Store()
    events, _ = world.run(make_spec(world, store, tools=(WEATHER,)))
    (requested,) = (event.call for event in events if isinstance(event, CallRequested))
    assert requested.id.startswith("call_")
    assert world.opened[1].messages[2]["tool_call_id"] == requested.id


def test_a_model_that_never_stops_calling_is_made_to_answer() -> None:
    world = World(*(calls(CallFragment(0, f"c{n}", "one", "{}")) for n in range(3)), text("Enough."))
    store = Store()
    events, ending = world.run(make_spec(world, store, tools=(WEATHER,), max_steps=3))
    assert [request.tool_choice for request in world.opened] == [None, None, None, "none"]
    assert said(events) == "Enough."
    assert ending.reason == "stop"


def test_calls_after_the_last_step_are_not_made() -> None:
    world = World(*(calls(CallFragment(0, f"c{n}", "one", "{}")) for n in range(2)))
    store = Store()
    events, ending = world.run(make_spec(world, store, tools=(WEATHER,), max_steps=1))
    assert ending.status == "completed"
    assert ending.reason == "max_steps"
    assert sum(isinstance(event, CallReturned) for event in events) == 1


def test_a_call_that_was_cut_by_the_token_limit_is_not_made() -> None:
    stream = [Delta(calls=[CallFragment(0, "a", "one", '{"x')]), Delta(finish_reason="length"), None]
    world, store = World(stream), Store()
    events, ending = world.run(make_spec(world, store, tools=(WEATHER,)))
    assert ending.reason == "length"
    assert not any(isinstance(event, CallRequested) for event in events)


def test_calls_that_wait_for_a_person_let_the_turn_rest() -> None:
    fragments = [CallFragment(0, "a", "one", "{}"), CallFragment(1, "b", "two", "{}")]
    world, store = World(calls(*fragments)), Store(guarded=frozenset("b"))
    events, ending = world.run(make_spec(world, store, tools=(WEATHER,)))
    assert ending.status == "awaiting_approval"
    assert store.log == [("calls", ["a", "b"]), ("park", ["one says hello"])], "and is not finished"
    requested = [event for event in events if isinstance(event, CallRequested)]
    assert [(event.call.id, event.needs_approval) for event in requested] == [("a", False), ("b", True)]
    (finished,) = (event for event in events if isinstance(event, Finished))
    assert finished.reason == "awaiting_approval"
    assert isinstance(events[-1], Done)


def test_a_turn_that_rested_goes_on_with_what_was_decided() -> None:
    approved = FunctionCall(id="b", name="two", arguments="{}")
    declined = FunctionResult(call=FunctionCall(id="c", name="three"), output="No.", status="failed")
    done: list[Any] = [
        {"role": "user", "content": "Hi"},
        {
            "role": "assistant",
            "content": "",
            "tool_calls": [
                call.as_tool_call() for call in (FunctionCall(id="a", name="one"), approved, declined.call)
            ],
        },
        {"role": "tool", "content": "done before", "tool_call_id": "a"},
    ]
    world, store = World(text("All done.")), Store()
    spec = make_spec(world, store, tools=(WEATHER,), first_step=1, resumed=Resumed([approved], [declined]))
    spec.request = replace(spec.request, messages=tuple(done))
    events, ending = world.run(spec)
    assert ending.status == "completed"
    assert store.log == [("results", ["two says hello", "No."]), ("finish", "completed")]
    (request,) = world.opened
    assert [message.get("tool_call_id") for message in request.messages] == [None, None, "a", "b", "c"]
    assert said(events) == "All done."


def test_a_stop_while_a_function_runs_keeps_its_result() -> None:
    world, store = World(calls(CallFragment(0, "a", "one", "{}"))), Store(go_on=[False])
    _, ending = world.run(make_spec(world, store, tools=(WEATHER,)))
    assert ending.status == "cancelled"
    assert store.log == [("calls", ["a"]), ("results", ["one says hello"]), ("finish", "cancelled")]
    assert len(world.opened) == len(store.attempts) == 1


def test_an_answer_of_the_wrong_form_may_be_mended_once() -> None:
    world, store = World(text("wrong"), text("right")), Store()
    spec = make_spec(world, store, check=lambda answer: None if answer == "right" else "It is wrong.")
    events, ending = world.run(spec)
    assert ending.status == "completed"
    assert [message["content"] for message in world.opened[1].messages] == ["Hi", "wrong", "It is wrong."]
    assert shown(events) == ["start", "content", "discarded", "content", "finish", "done"]
    assert [attempt.outcome for attempt in store.attempts] == ["completed", "completed"]


def test_an_answer_of_the_wrong_form_twice_is_an_error_with_its_text() -> None:
    world, store = World(text("wrong"), text("wrong again")), Store()
    _, ending = world.run(make_spec(world, store, check=lambda answer: "It is wrong."))
    assert isinstance(ending.error, StructuredOutputError)
    assert ending.error.raw == "wrong again"


def test_what_is_left_out_is_summed_up_before_the_question_is_answered() -> None:
    world, store = World(text("Not", "es"), text("Hello")), Store()
    spec = make_spec(world, store, window=Window(500, lambda message: len(message["content"]), 2))
    spec.summary = SummaryDue(replace(spec.request, model="s"), 7, 80, 0, replaces=False)
    events, _ = world.run(spec)
    assert shown(events) == ["start", "content", "finish", "done"]
    assert [request.model for request in world.opened] == ["s", "m"]
    summary = Summary("Notes", 7)
    assert list(world.opened[1].messages) == [summary.line, {"role": "user", "content": "Hi"}]
    assert store.log == [("sum_up", summary), ("finish", "completed")]


@pytest.mark.parametrize(
    ("stream", "outcome", "status"),
    [
        (ProviderRejectedError(status=400), "failed", "completed"),
        (RuntimeError("secret"), "failed", "completed"),
        ([Delta(text="No"), Stopped("cancelled")], "cancelled", "cancelled"),
        ([Delta(text="No"), Stopped("interrupted")], "interrupted", "interrupted"),
        (text(" "), "completed", "completed"),
    ],
    ids=["refused", "unforeseen", "cancelled", "interrupted", "empty"],
)
def test_a_summary_that_is_not_made_is_settled_and_shown_to_nobody(
    stream: Any, outcome: str, status: str
) -> None:
    world, store = World(stream, text("Hello")), Store()
    spec = make_spec(world, store, window=Window(500, lambda message: len(message["content"]), 2))
    spec.summary = SummaryDue(spec.request, 7, 80, 0, replaces=False)
    events, ending = world.run(spec)
    assert ending.status == status
    assert said(events) == ("Hello" if status == "completed" else "")
    assert store.attempts[0].outcome == outcome
    assert store.attempts[0].text == ""
    assert ("sum_up", None) in store.log or status != "completed"
    assert all(message["role"] == "user" for request in world.opened for message in request.messages)


def test_drain_reads_the_present_call_and_makes_no_other() -> None:
    world, store = World(calls(CallFragment(0, "a", "one", "{}"))), Store()
    spec = make_spec(world, store, tools=(WEATHER,))
    spec.control.stop_after_call = True
    events, ending = world.run(spec)
    assert ending.status == "cancelled"
    assert not any(isinstance(event, CallRequested) for event in events)
    assert store.attempts[0].outcome == "completed"
    assert store.attempts[0].reply.usage == USAGE


def test_checkpoints_are_coalesced() -> None:
    stream: list[Any] = []
    for _ in range(20):
        stream += [Delta(text="x"), 0.1]
    world, store = World([*stream, *text("!")]), Store()
    world.run(make_spec(world, store))
    kept = [entry[1] for entry in store.log if entry[0] == "checkpoint"]
    assert 3 <= len(kept) <= 4
    assert kept == sorted(kept, key=len)


def test_silence_renews_the_lease() -> None:
    world, store = World([Delta(text="x"), *[0.5] * 20, *text("!")]), Store()
    world.run(make_spec(world, store, renew_after=3.0))
    kept = [entry[1] for entry in store.log if entry[0] == "checkpoint"]
    assert kept == ["x", "x", "x", "x", "x!"], "the new text once, then every three seconds"


def test_a_stop_that_was_asked_for_elsewhere_is_heard() -> None:
    world, store = World([Delta(text="x"), 0.6, Delta(text="never read")]), Store(go_on=[False])
    events, ending = world.run(make_spec(world, store))
    assert ending.status == "cancelled"
    assert said(events) == "x"
    finished = [event for event in events if isinstance(event, Finished)]
    assert [event.reason for event in finished] == ["cancelled"]


def test_a_turn_that_somebody_else_has_ended_is_not_stored_again() -> None:
    world, store = World(text("x")), Store(finish_error=Stopped("lost"))
    events, ending = world.run(make_spec(world, store))
    assert ending.status == "interrupted"
    assert shown(events) == ["start", "content", "error", "done"]


def test_a_database_that_fails_at_the_end_shows_as_an_error() -> None:
    world, store = World(text("x")), Store(finish_error=RuntimeError("secret"))
    events, ending = world.run(make_spec(world, store))
    assert ending.status == "failed"
    assert len(world.waited) == len(FINISH_AGAIN_SECONDS)
    assert shown(events) == ["start", "content", "error", "done"]
    assert "secret" not in "".join(event.message for event in events if isinstance(event, Failed))


def test_a_database_that_comes_back_keeps_the_answer() -> None:
    class Away(Store):
        times = 2

        def finish(self, ending: Ending, closing: Closing) -> Settled:
            settled = super().finish(ending, closing)
            if self.times:
                self.times -= 1
                raise RuntimeError
            return settled

    world, store = World(text("x")), Away()
    events, ending = world.run(make_spec(world, store))
    assert ending.status == "completed"
    assert shown(events) == ["start", "content", "finish", "done"]
    assert [[event.seq for event in tried] for tried in store.ahead] == [[3, 4]] * 3
    assert store.ahead[-1] == events[-2:], "what is kept is what is shown"


@pytest.mark.parametrize("what", ["record_calls", "save_results"])
def test_a_database_that_is_away_while_functions_are_called_ends_the_turn(what: str) -> None:
    """And its end is kept, as is what was said."""
    call = CallFragment(0, "a", "get_weather", "{}")
    world, store = World(calls(call, said="x"), text("never read")), Store(refuse={what: RuntimeError()})
    events, ending = world.run(make_spec(world, store, tools=(WEATHER,)))
    assert (ending.status, ending.error and ending.error.code) == ("failed", AIServiceError.code)
    assert [event.type for event in events[-2:]] == ["error", "done"]
    assert store.log[-1] == ("finish", "failed")
    assert store.endings == [ending]


def test_a_checkpoint_that_fails_does_not_cost_the_answer() -> None:
    class Away(Store):
        def checkpoint(self, text: str) -> bool:
            raise RuntimeError

    world, store = World([Delta(text="x"), 0.6, *text("y")]), Away()
    events, ending = world.run(make_spec(world, store))
    assert ending.status == "completed"
    assert said(events) == "xy"


def test_an_answer_without_end_is_no_answer() -> None:
    world, store = World([Delta(text="x", usage=USAGE), None]), Store()
    _, ending = world.run(make_spec(world, store))
    assert isinstance(ending.error, ProviderProtocolError)


class TestTimeLimit:
    """A turn may take so long and no longer, whatever it does meanwhile."""

    def ran(self, world: World, **changes: Any) -> tuple[list[TurnEvent], Ending, Store]:
        store = Store()
        events, ending = world.run(make_spec(world, store, **{"time_limit": 60.0, **changes}))
        return events, ending, store

    def test_signs_of_life_without_words(self) -> None:
        events, ending, store = self.ran(World([Delta(text="Half"), *[20.0] * 10]))
        assert (ending.status, ending.error and ending.error.code) == ("failed", "timeout")
        assert shown(events) == ["start", "content", "error", "done"]
        [attempt] = store.attempts
        assert (attempt.text, attempt.outcome) == ("Half", "failed")

    def test_words_without_end(self) -> None:
        world = World([each for _ in range(100) for each in (Delta(text="on and "), 10.0)])
        events, ending, _ = self.ran(world)
        assert ending.error is not None
        assert ending.error.code == "timeout"
        assert said(events) == "on and " * 7
        assert world.closed == 1

    def test_while_it_waits_to_try_again(self) -> None:
        world = World(ProviderRateLimitedError(retry_after=50.0), text("late"))
        _, ending, store = self.ran(world, time_limit=30.0)
        assert ending.error is not None
        assert ending.error.code == "timeout"
        assert (len(world.opened), len(store.attempts)) == (1, 1)
        assert sum(world.waited) < 31

    def test_while_the_provider_is_silent(self) -> None:
        class Silent(World):
            def perform(self, effect: Any) -> Any:
                if isinstance(effect, OpenStream):
                    while True:
                        self.now += 20
                        due = effect.renewal()
                        if due is not None:
                            due()
                return super().perform(effect)

        _, ending, store = self.ran(Silent())
        assert ending.error is not None
        assert ending.error.code == "timeout"
        assert store.attempts[0].accepted is False

    def test_when_functions_have_returned(self) -> None:
        def slow(call: FunctionCall) -> str:
            world.now += 61
            return "done"

        world = World(calls(CallFragment(0, id="a", name="get_weather", arguments="{}")), outputs=slow)
        _, ending, store = self.ran(world, tools=[WEATHER])
        assert ending.error is not None
        assert ending.error.code == "timeout"
        assert ("results", ["done"]) in store.log
        assert len(world.opened) == 1

    def test_one_that_is_done_in_time(self) -> None:
        _, ending, _ = self.ran(World([Delta(text="1"), 50.0, Delta(finish_reason="stop"), None]))
        assert ending.status == "completed"
