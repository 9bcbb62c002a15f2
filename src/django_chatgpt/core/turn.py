"""The one turn: from a stored question to a stored answer.

`run_turn` is a generator. It yields effects, which a driver performs and answers, and events, which a door
shows; it decides everything and does nothing itself. Read it from the top: a turn is steps, a step is one
answer of the model and the calls in it, an answer takes one attempt or more.

Whatever happens, it runs to its end: the open stream is closed, the ending is stored, `Done` is the last
event. A driver must not close the generator before that.
"""

from __future__ import annotations

import contextlib
from collections.abc import Generator, Sequence
from dataclasses import replace
from functools import partial
from itertools import count
from typing import Any

from django_chatgpt.core.aside import ask_aside
from django_chatgpt.core.effects import (
    CallFunctions,
    Checkpoint,
    CloseStream,
    Db,
    Effect,
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
    Discarded,
    Done,
    Failed,
    Finished,
    Started,
    TurnEvent,
)
from django_chatgpt.core.ids import uuid7
from django_chatgpt.core.messages import FunctionCall, FunctionResult
from django_chatgpt.core.request import Delta, ModelRequest
from django_chatgpt.core.retry import Chain
from django_chatgpt.core.run import CHECKPOINT_SECONDS, Run
from django_chatgpt.core.screening import Judge, topic_request
from django_chatgpt.core.spec import Attempt, Ending, Plan, Settled, TurnSpec
from django_chatgpt.core.summary import SummaryDue
from django_chatgpt.exceptions import (
    AIServiceError,
    ProviderProtocolError,
    StructuredOutputError,
    TokenLimitError,
    TurnInterruptedError,
    TurnTimeoutError,
)

FINISH_AGAIN_SECONDS = (0.1, 0.5, 2.0, 5.0)

_Steps = Generator[Effect | TurnEvent, Any, Any]


def run_turn(spec: TurnSpec) -> Generator[Effect | TurnEvent, Any, Ending]:
    """Answer the question that `spec.request` ends with. Yields effects and events; returns the ending."""
    run = Run(spec)
    settled: Settled | None
    try:
        yield run.number(Started(conversation_id=spec.conversation_id))
        reason = yield from _answer(run)
        ending = Ending("completed", reason)
    except _Parked as parked:
        ending, settled = parked.ending, parked.settled
    except Stopped as stop:
        ending = _stopped(stop)
    except AIServiceError as error:
        ending = Ending("failed", "error", error=error)
    except Exception as error:
        ending = Ending("failed", "error", error=_unforeseen(error))
    if run.stream_open:
        yield CloseStream()
    ending.refused = run.refused(ending.error)
    if ending.status != "awaiting_approval":
        ending.attempt = _close_attempt(run, ending)
        ending, settled = yield from _finish(run, ending)
    ending.settled, ending.seconds, ending.model = settled, run.clock() - run.began, run.model
    yield from run.show(_closing(run, ending, settled))
    return ending


def _closing(run: Run, ending: Ending, settled: Settled | None) -> Sequence[TurnEvent]:
    """The last events."""
    events: list[TurnEvent] = []
    if ending.error is not None:
        events.append(_failed(ending.error))
    if settled is not None and ending.status in ("completed", "cancelled", "awaiting_approval"):
        events.append(
            Finished(
                reason=ending.reason,
                usage=settled.usage,
                cost=settled.cost,
                message_id=settled.message_id,
                model=run.model,
            )
        )
    events.append(Done())
    return run.number_ahead(events)


def _finish(run: Run, ending: Ending) -> Generator[Effect, Any, tuple[Ending, Settled | None]]:
    """Store the ending, waiting for a database that is away for a moment. Not settled: it stayed away."""
    problem = AIServiceError()
    for pause in (0.0, *FINISH_AGAIN_SECONDS):
        if pause:
            with contextlib.suppress(Stopped):
                yield Wait(pause)
        try:
            closing = partial(_closing, run, ending)
            settled: Settled = yield Db(partial(run.spec.store.finish, ending, closing))
        except Stopped as stop:
            return _stopped(stop), None
        except Exception as error:
            problem = _unforeseen(error)
        else:
            return ending, settled
    return Ending("failed", "error", error=problem), None


class _Parked(Exception):
    """Calls wait for a person."""

    def __init__(self, ending: Ending, settled: Settled) -> None:
        self.ending, self.settled = ending, settled
        super().__init__()


def _answer(run: Run) -> Generator[Effect | TurnEvent, Any, str]:
    """Step until the model answers without calling a function. Returns the reason it ended for."""
    spec = run.spec
    transcript = run.transcript
    if run.judge is not None and run.judge.refused == "question":
        yield from _judge_question(run, run.judge)
    if spec.summary is not None:
        yield from _sum_up(run, spec.summary)
    if spec.resumed is not None:
        results = yield from _make_calls(run, spec.resumed.now, spec.resumed.refused)
        yield from _save_results(run, results)
        # The results of calls that needed nobody's approval stand in the transcript already.
        transcript.add(*(result.as_message() for result in results))
        transcript.repair()
    mended = False
    for step in count(spec.first_step):
        if spec.request.tools and step >= spec.max_steps:
            run.request = replace(run.request, tool_choice="none")
        attempt = yield from _ask_model(run)
        reply = attempt.reply
        calls = reply.calls
        if not calls or reply.finish_reason in ("length", "content_filter"):
            problem = spec.check(reply.text) if spec.check is not None else None
            if problem is None:
                return reply.finish_reason or "stop"
            if mended:
                raise StructuredOutputError(raw=reply.text)
            mended = True
            yield from _try_again(run, attempt)
            yield run.number(Discarded())
            transcript.add({"role": "assistant", "content": reply.text}, {"role": "user", "content": problem})
            continue
        if run.request.tool_choice == "none" or not spec.request.tools:
            return "max_steps"
        if spec.control.stop_after_call:
            raise Stopped("cancelled")
        announcing = partial(_requested, run, calls)
        plan: Plan = yield Db(partial(spec.store.record_calls, attempt, calls, announcing))
        run.attempt, run.unheard = None, "results"
        run.call_ids.update(call.id for call in calls)
        yield from run.show(announcing(plan))
        results = yield from _make_calls(run, plan.now)
        if plan.parked:
            ending = Ending("awaiting_approval", "awaiting_approval")
            closing = partial(_closing, run, ending)
            settled: Settled = yield Db(partial(spec.store.park, results, closing))
            raise _Parked(ending, settled)
        yield from _save_results(run, results)
        transcript.add(reply.as_message(), *(result.as_message() for result in results))
    raise AssertionError("count() has no end")


def _requested(run: Run, calls: Sequence[FunctionCall], plan: Plan) -> Sequence[TurnEvent]:
    """What is said of calls that are about to be made."""
    return run.number_ahead([CallRequested(call=call, needs_approval=call in plan.parked) for call in calls])


def _judge_question(run: Run, judge: Judge) -> _Steps:
    """Have the question judged before the model is to answer it. Raises ContentFilterError."""
    spec, screen = run.spec, judge.screen
    yield from judge.question(spec.request.messages[-1]["content"])
    asked: Attempt | None = None
    if screen.topics:
        asked = run.begin_attempt(spec.request)
        asked.request = topic_request(screen, spec.request)
        yield from judge.topic(asked)
    next_id = run.next_attempt_id if asked is None else uuid7()
    go_on = yield Db(partial(spec.store.admit, asked, next_id))
    judge.refused = ""
    run.attempt, run.next_attempt_id, run.announced = None, next_id, go_on or asked is None
    if not go_on:
        raise Stopped("cancelled")


def _sum_up(run: Run, due: SummaryDue) -> _Steps:
    """Have what is left out summed up. Where that fails, the question is answered without."""
    spec = run.spec
    if spec.store.refusal is not None:
        return
    asked = run.begin_attempt(due.request)
    asked.passed = 0  # nothing of it belongs to the answer
    yield from ask_aside(asked, run.renewal, run.clock)
    summary = None
    if asked.error is None and spec.window is not None:
        summary = due.made_of(asked.reply.text, spec.window.count)
    if summary is not None:
        run.transcript.put(summary.line, due.place, replaces=due.replaces)
    next_id = uuid7()
    go_on = yield Db(partial(spec.store.sum_up, asked, summary, next_id, run.transcript.used))
    run.attempt = None
    if not go_on:
        raise Stopped("cancelled")
    run.announce(next_id)
    if spec.control.stop_after_call:
        raise Stopped("cancelled")


def _make_calls(
    run: Run, calls: Sequence[FunctionCall], refused: Sequence[FunctionResult] = ()
) -> Generator[Effect | TurnEvent, Any, list[FunctionResult]]:
    """Make the calls and show what they and the refused ones returned."""
    made: list[FunctionResult] = (yield CallFunctions(calls)) if calls else []
    results = [*made, *refused]
    for result in results:
        yield run.number(CallReturned(result=result))
    return results


def _save_results(run: Run, results: Sequence[FunctionResult]) -> _Steps:
    next_id = run.next_attempt_id if run.announced else uuid7()
    go_on = yield Db(partial(run.spec.store.save_results, results, next_id))
    if not go_on:
        raise Stopped("cancelled")
    run.announce(next_id)


def _ask_model(run: Run) -> Generator[Effect | TurnEvent, Any, Attempt]:
    """Get one whole answer, trying again and of other models as long as nobody has seen any of it."""
    spec = run.spec
    run.require_time()
    request = run.next_request()
    chain = Chain(run.models, spec.max_retries, request.timeout, spec.jitter)
    while True:
        attempt = run.begin_attempt(request)
        error = spec.store.refusal
        attempt.asked = error is None
        try:
            if attempt.asked:
                yield OpenStream(attempt.request, run.renewal)
                run.stream_open = attempt.accepted = True
                yield from _read(run, attempt)
        except AIServiceError as caught:
            error = caught
        if run.stream_open:
            yield CloseStream()
            run.stream_open = False
        attempt.ended = run.clock()
        if error is None:
            attempt.outcome = "completed"
            run.unheard = ""
            return attempt
        attempt.outcome, attempt.error = "failed", error
        if attempt.first_shown is not None or spec.control.stop_after_call:
            raise error
        delay = chain.after(error, asked=attempt.asked)
        if delay is None:
            raise error
        if run.models[0] != request.model:
            request = _request_that_fits(run, error)
        yield from _wait(run, delay)
        yield from _try_again(run, attempt)


def _request_that_fits(run: Run, error: AIServiceError) -> ModelRequest:
    """What the next model is asked, of those that can take it. Raises `error` if none can."""
    while True:
        try:
            return run.next_request()
        except TokenLimitError:
            if len(run.models) == 1:
                raise error from None
            del run.models[0]


def _try_again(run: Run, failed: Attempt) -> _Steps:
    """Settle an attempt and announce the next. Where that is not kept, the failed one is still open."""
    next_id = uuid7()
    yield Db(partial(run.spec.store.retry, failed, next_id, run.models[0]))
    run.announce(next_id)


def _read(run: Run, attempt: Attempt) -> _Steps:
    """Pass on what arrives until the stream's proper end."""
    reply = attempt.reply
    read = ReadStream()
    while True:
        delta: Delta | None = yield read
        if delta is None:
            break
        reply.add(delta)
        if delta.shows:
            if attempt.first_shown is None:
                attempt.first_shown = run.clock()
            if run.holds_back:
                yield from _release(run, attempt, whole=bool(delta.calls))
            elif delta.text:
                yield run.number(Content(content=delta.text))
            for fragment in delta.calls:
                call_id, begun = reply.add_fragment(fragment)
                if begun is not None:
                    yield run.number(CallStarted(call_id=call_id, name=begun))
                if fragment.arguments:
                    yield run.number(CallArguments(call_id=call_id, arguments=fragment.arguments))
        if run.checkpoint_due():
            yield from _checkpoint(run, attempt.text)
    if run.holds_back:
        yield from _release(run, attempt, whole=True)
    if reply.finish_reason is None:
        raise ProviderProtocolError()


def _release(run: Run, attempt: Attempt, *, whole: bool) -> _Steps:
    """Show what may be shown of an answer that is held back."""
    assert run.judge is not None
    text = yield from run.judge.answer(attempt, whole=whole)
    if text:
        yield run.number(Content(content=text))


def _checkpoint(run: Run, text: str) -> _Steps:
    yield Checkpoint(text, partial(run.keep, text))
    run.checkpoint_done()


def _wait(run: Run, seconds: float) -> _Steps:
    """Wait, with the lease renewed and a wish to stop heard."""
    until = run.clock() + seconds
    while (left := until - run.clock()) > 0:
        yield Wait(min(left, CHECKPOINT_SECONDS))
        if run.checkpoint_due():
            yield from _checkpoint(run, "")


def _close_attempt(run: Run, ending: Ending) -> Attempt | None:
    """The attempt that the ending has to settle, with its outcome."""
    if run.announced:
        run.begin_attempt(run.request).asked = False
    attempt = run.attempt
    if attempt is not None and attempt.ended is None:
        attempt.ended = run.clock()
        attempt.outcome = ending.status
        attempt.error = ending.error
    return attempt


def _stopped(stop: Stopped) -> Ending:
    match stop.why:
        case "cancelled":
            return Ending("cancelled", "cancelled")
        case "lost":
            return Ending("interrupted", "error", error=TurnInterruptedError())
        case "interrupted":
            return Ending("interrupted", "error", error=TurnInterruptedError())
        case "timeout":
            return Ending("failed", "error", error=TurnTimeoutError())


def _failed(error: AIServiceError) -> Failed:
    return Failed(
        code=error.code,
        message=error.public_message,
        retryable=error.retryable,
        retry_after=error.retry_after,
    )


def _unforeseen(error: Exception) -> AIServiceError:
    """An error of our own: its text stays inside, its origin goes to the log of whoever drives the turn."""
    wrapped = AIServiceError()
    wrapped.__cause__ = error
    return wrapped
