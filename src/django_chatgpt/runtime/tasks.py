"""Drive a turn in an asyncio task of its own: the turn belongs to the server, a request only listens."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import suppress
from datetime import timedelta
from functools import partial
from typing import Any, Literal, TypeVar

from django_chatgpt.alarm import Alarm
from django_chatgpt.core.effects import Stopped
from django_chatgpt.core.events import TurnEvent
from django_chatgpt.core.spec import Ending, TurnSpec
from django_chatgpt.core.turn import run_turn
from django_chatgpt.functions.calls import FunctionBox
from django_chatgpt.runtime import shutdown, stops
from django_chatgpt.runtime.checkpoints import Checkpointed
from django_chatgpt.runtime.coroutines import TaskWorld
from django_chatgpt.runtime.endings import log_ending
from django_chatgpt.runtime.inline import OnDisconnect

T = TypeVar("T")

_running: set[asyncio.Task[None]] = set()


class TurnTask:
    """A turn in a task of its own, and the one who listens to it.

    Made and used on one event loop. What the listener has not fetched yet is kept; there is never more
    of it than the answer is long, nor than the listener wants there to be: then it is `overrun`.
    """

    def __init__(
        self, spec: TurnSpec, functions: FunctionBox, *, on_disconnect: OnDisconnect = "continue"
    ) -> None:
        self.spec = spec
        self.ending: Ending | None = None
        self._broken_by: BaseException | None = None
        self._on_disconnect = on_disconnect
        lease = timedelta(seconds=3 * spec.renew_after)
        self._world = TaskWorld(functions, Checkpointed(spec.turn_id, lease, spec.log, self.stop))
        self._events: list[TurnEvent] = []
        self._listener: asyncio.Future[None] | None = None
        self.overrun = False
        self._most: int | None = None
        self._watched = True
        self._begun = False
        self._over = False
        self._stopping = False
        loop = asyncio.get_running_loop()
        stops.watch(spec.turn_id, partial(_call_soon, loop, self.stop))
        stops.looks().begin()
        shutdown.attend()
        self._task = loop.create_task(self._run(), name=f"turn-{spec.turn_id}")
        # The loop keeps only weak references to its tasks.
        _running.add(self._task)
        self._task.add_done_callback(_running.discard)

    async def events(
        self, heartbeat: float | None = None, most: int | None = None
    ) -> AsyncGenerator[list[TurnEvent]]:
        """Yield what has happened since the last time; with `heartbeat`, an empty list after silence.

        `heartbeat` is in seconds. Leaving early is what a lost listener looks like; see `leave`.

        With `most`, a listener for whom more events than that are waiting is told nothing any more: this
        ends, with `overrun`. The rest is in the log. It still counts as listening, until it calls `leave`.

        Raises what broke the turn off that was no Exception, as a request that a test does not allow.
        """
        loop = asyncio.get_running_loop()
        alarm = Alarm(loop, self._wake_listener)
        self._most = most
        try:
            while True:
                if self.overrun:
                    return
                if self._events:
                    batch, self._events = self._events, []
                    yield batch
                elif self._over:
                    if self._broken_by is not None:
                        raise self._broken_by
                    return
                else:
                    if heartbeat is not None:
                        alarm.set(heartbeat)
                    self._listener = loop.create_future()
                    try:
                        await self._listener
                    finally:
                        self._listener = None
                    if not (self._events or self._over or self.overrun):
                        yield []
        finally:
            alarm.cancel()
            if not self.overrun:
                self.leave()

    def leave(self) -> None:
        """Nobody listens any more: do what `on_disconnect` says."""
        if self._over or not self._watched:
            return
        self._watched = False
        self._events = []
        if self._on_disconnect == "drain":
            self.spec.control.stop_after_call = True
        elif self._on_disconnect == "cancel":
            self.stop("interrupted" if shutdown.has_begun() else "cancelled")

    def stop(self, why: Literal["cancelled", "interrupted", "lost"] = "cancelled") -> None:
        """End the turn now; what has arrived is kept."""
        if self._over or self._stopping:
            return
        self._stopping = True
        self._world.stop = Stopped(why)
        # A task cancelled before its first step would never run, and its turn stay open.
        if self._begun:
            self._task.cancel()

    def _wake_listener(self) -> None:
        if self._listener is not None and not self._listener.done():
            self._listener.set_result(None)

    def _show(self, event: TurnEvent) -> None:
        if self._watched and not self.overrun:
            self._events.append(event)
            if self._most is not None and len(self._events) > self._most:
                self.overrun = True
                self._events = []
            self._wake_listener()

    async def _run(self) -> None:
        self._begun = True
        try:
            await self._drive()
            if self._broken_by is not None and not self._watched:
                raise self._broken_by
        finally:
            self._over = True
            stops.forget(self.spec.turn_id)
            stops.looks().end()
            self._wake_listener()
        if self._world.cancelled and not self._stopping:
            raise asyncio.CancelledError

    async def _drive(self) -> None:
        steps = run_turn(self.spec)
        answer: Any = None
        error: Exception | None = None
        while True:
            try:
                step = steps.send(answer) if error is None else steps.throw(error)
            except StopIteration as end:
                self.ending = end.value
                log_ending(self.spec, end.value)
                return
            answer = error = None
            if isinstance(step, TurnEvent):
                self._show(step)
                continue
            try:
                answer = await self._world.perform(step)
            except Exception as caught:
                error = caught
            except (asyncio.CancelledError, GeneratorExit):
                raise
            except BaseException as caught:
                self._broken_by, error = caught, Stopped("interrupted")


def _call_soon(loop: asyncio.AbstractEventLoop, function: Callable[..., object], *arguments: Any) -> None:
    """Call something on its event loop, from any thread; not if the loop has ended."""
    with suppress(RuntimeError):
        loop.call_soon_threadsafe(partial(function, *arguments))


_opening: set[asyncio.Task[Any]] = set()


async def opened(opening: Coroutine[Any, Any, T]) -> T:
    """Wait for a turn to be stored and launched; cancelled meanwhile, it is launched all the same."""
    task = asyncio.get_running_loop().create_task(opening)
    _opening.add(task)
    task.add_done_callback(_opening.discard)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        task.add_done_callback(_left)
        raise


def _left(task: asyncio.Task[Any]) -> None:
    if not task.cancelled() and task.exception() is None and isinstance(task.result(), TurnTask):
        task.result().leave()


async def wait_for_turns() -> None:
    """Wait until the turns that run on this loop have ended."""
    loop = asyncio.get_running_loop()
    while here := [task for task in _running if task.get_loop() is loop]:
        await asyncio.wait(here)
