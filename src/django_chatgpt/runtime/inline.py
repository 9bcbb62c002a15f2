"""Drive steps in the calling thread: WSGI, Celery, the shell, a test."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future, wait
from contextvars import copy_context
from functools import partial
from importlib import import_module
from threading import Thread
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from django_chatgpt.core.effects import (
    EFFECTS,
    CallFunctions,
    Checkpoint,
    CloseStream,
    Complete,
    Db,
    Effect,
    Embed,
    Moderate,
    OpenChunks,
    OpenStream,
    ReadChunk,
    ReadStream,
    Stopped,
    Wait,
)
from django_chatgpt.core.events import TurnEvent
from django_chatgpt.core.request import EmbeddingRequest, Embeddings
from django_chatgpt.core.run import CHECKPOINT_SECONDS
from django_chatgpt.core.spec import Ending, TurnSpec
from django_chatgpt.core.turn import run_turn
from django_chatgpt.database import hop, only_here, release_connections
from django_chatgpt.exceptions import AIServiceError
from django_chatgpt.functions.calls import FunctionBox
from django_chatgpt.runtime import stops
from django_chatgpt.runtime.endings import log_ending

if TYPE_CHECKING:
    from django_chatgpt import providers

OnDisconnect = Literal["continue", "drain", "cancel"]

R = TypeVar("R")


class InlineWorld:
    """Performs effects with the sync client and the caller's own database connection.

    `release` gives the thread's connections back after each hop. `stoppable`: these are a turn's, and the
    wish to stop it is heard wherever it may be left.
    """

    def __init__(
        self, functions: FunctionBox | None = None, *, release: bool = False, stoppable: bool = False
    ) -> None:
        # The SDK takes a second to import, which a command that asks nobody anything need not wait for.
        self._providers = import_module("django_chatgpt.providers")
        self._functions = functions
        self._release = release
        self._stoppable = stoppable
        self._stop: Stopped | None = None
        self._asked_at = time.monotonic()
        self._stream: providers.SyncStream | None = None
        self._chunks: providers.CompletionChunks | None = None

    def stop(self, why: stops.Why) -> None:
        """Have the effect end that is being performed, or else the next that may take long."""
        self._stop = Stopped(why)

    def perform(self, effect: Effect) -> Any:
        match effect:
            case ReadStream():
                assert self._stream is not None
                self._tick()
                return self._stream.read(CHECKPOINT_SECONDS)
            case ReadChunk():
                assert self._chunks is not None
                return next(self._chunks, None)
            case Db(function):
                return hop(function) if self._release else function()
            case Checkpoint(_, keep):
                self._asked_at = time.monotonic()
                self.perform(Db(keep))
            case OpenStream(request, renewal):
                self._stream = self._providers.open_stream(
                    request, tick=CHECKPOINT_SECONDS, on_tick=partial(self._renew, renewal)
                )
            case Complete(endpoint, body, timeout):
                return self._providers.create_completion(endpoint, body, timeout=timeout)
            case OpenChunks(endpoint, body, timeout, limit):
                self._chunks = self._providers.stream_completion(endpoint, body, timeout=timeout, limit=limit)
            case CloseStream():
                self._close()
            case Embed(requests):
                return self._embed(requests)
            case Moderate(request, renewal):
                judging = in_a_thread(partial(self._providers.moderate, request))
                while not wait({judging}, timeout=CHECKPOINT_SECONDS).done:
                    self._renew(renewal)
                return judging.result()
            case CallFunctions(calls):
                assert self._functions is not None
                return self._functions.call(calls, tick=CHECKPOINT_SECONDS, on_tick=self._tick)
            case Wait(seconds):
                self._tick()
                time.sleep(seconds)
        return None

    def _embed(self, requests: Sequence[EmbeddingRequest]) -> list[Embeddings | AIServiceError]:
        """One call here, several in threads: they wait for the network and touch no database."""
        first, *others = [partial(self._embedded, request) for request in requests]
        waiting = [in_a_thread(other) for other in others]
        return [first(), *(future.result() for future in waiting)]

    def _embedded(self, request: EmbeddingRequest) -> Embeddings | AIServiceError:
        try:
            vectors: Embeddings = self._providers.create_embeddings(request)
        except AIServiceError as error:
            return error
        return vectors

    def _tick(self) -> None:
        """Raise Stopped if somebody wants that; look for it where no checkpoint has, nor another turn."""
        now = time.monotonic()
        if self._stoppable and now - self._asked_at >= stops.LOOK_SECONDS:
            self._asked_at = now
            if stops.due():
                self.perform(Db(stops.look))
        stop, self._stop = self._stop, None
        if stop is not None:
            raise stop

    def _renew(self, renewal: Callable[[], Callable[[], object] | None]) -> None:
        self._tick()
        due = renewal()
        if due is not None:
            self.perform(Db(due))

    def _close(self) -> None:
        stream, self._stream = self._stream, None
        if stream is not None:
            stream.close()
        chunks, self._chunks = self._chunks, None
        if chunks is not None:
            chunks.close()


#: Effects that may take long and show nothing meanwhile.
SLOW = (OpenStream, Moderate, CallFunctions)


def in_a_thread(function: Callable[[], Any]) -> Future[Any]:
    """Do something elsewhere, so that somebody may be told meanwhile that it takes time."""
    future: Future[Any] = Future()
    context = copy_context()

    def work() -> None:
        try:
            future.set_result(context.run(function))
        except BaseException as error:
            future.set_exception(error)
        finally:
            release_connections()

    Thread(target=work, name="django-chatgpt-wait", daemon=True).start()
    return future


def drive(
    steps: Generator[Any, Any, R],
    world: InlineWorld,
    *,
    on_leave: Callable[[], Exception | None],
    on_end: Callable[[R], None] | None = None,
    heartbeat: float | None = None,
) -> Generator[Any, None, R]:
    """Perform the effects that `steps` yields and pass on everything else.

    Closing this iterator early does not end the steps: `on_leave` may answer an exception for them, and
    they run to their end unseen before the close returns. `heartbeat` yields a None after so many seconds
    in which there was nothing to show.
    """
    watched = True
    leaving: BaseException | None = None
    answer: Any = None
    error: Exception | None = None
    shown_at = time.monotonic()
    while True:
        try:
            step = steps.send(answer) if error is None else steps.throw(error)
        except StopIteration as end:
            if on_end is not None:
                on_end(end.value)
            if leaving is not None:
                raise leaving from None
            result: R = end.value
            return result
        except Stopped:
            if leaving is not None:
                raise leaving from None
            raise
        answer = error = None
        try:
            if not isinstance(step, EFFECTS):
                if watched:
                    shown_at = time.monotonic()
                    yield step
                continue
            if heartbeat is not None and watched and isinstance(step, SLOW) and not only_here():
                waiting = in_a_thread(partial(world.perform, step))
                while not wait({waiting}, timeout=heartbeat).done:
                    shown_at = time.monotonic()
                    yield None
                answer = waiting.result()
                continue
            answer = world.perform(step)
            if heartbeat is not None and watched and isinstance(step, ReadStream | Wait):
                now = time.monotonic()
                if now - shown_at >= heartbeat and not (answer and answer.shows):
                    shown_at = now
                    yield None
        except GeneratorExit:
            watched = False
            error = on_leave()
        except Exception as caught:
            error = caught
        except BaseException as caught:
            leaving, error = caught, Stopped("interrupted")


def cancelled() -> Exception:
    """For `on_leave`: steps that nobody watches are stopped."""
    return Stopped("cancelled")


def result(driven: Generator[Any, None, R]) -> R:
    """Drive steps that yield nothing but effects, and give what they return."""
    while True:
        try:
            next(driven)
        except StopIteration as end:
            value: R = end.value
            return value


def run(
    spec: TurnSpec,
    functions: FunctionBox,
    *,
    on_disconnect: OnDisconnect = "continue",
    release: bool = False,
    heartbeat: float | None = None,
) -> Generator[TurnEvent | None, None, Ending]:
    """Yield the events of a turn; with `heartbeat`, a None after so many seconds without one.

    Closing the iterator early is what a lost listener looks like here: `on_disconnect` says what then
    becomes of the turn, and the close returns when the turn has ended. `release` gives the thread's
    database connections back while the model is waited for.
    """

    def leave() -> Exception | None:
        if on_disconnect == "drain":
            spec.control.stop_after_call = True
        return Stopped("cancelled") if on_disconnect == "cancel" else None

    world = InlineWorld(functions, release=release, stoppable=True)
    with stops.heard(spec.turn_id, world.stop):
        return (
            yield from drive(
                run_turn(spec),
                world,
                on_leave=leave,
                on_end=lambda ending: log_ending(spec, ending),
                heartbeat=heartbeat,
            )
        )
