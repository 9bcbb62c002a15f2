"""One accepted call, and how it is performed in a thread or on an event loop."""

from __future__ import annotations

import asyncio
import inspect
import logging
import time
from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import Any, Final

from asgiref.sync import AsyncToSync, SyncToAsync, ThreadSensitiveContext, async_to_sync, sync_to_async
from django.db import connections

from django_chatgpt.core.messages import FunctionCall
from django_chatgpt.exceptions import ToolFailedError
from django_chatgpt.functions.caller import Caller
from django_chatgpt.functions.definition import Function
from django_chatgpt.functions.outcomes import Outcome, failed, returned
from django_chatgpt.functions.results import Result, ResultError, render_result

#: Seconds that a cancelled coroutine has to clean up before it is left behind.
GRACE: Final = 1.0

logger = logging.getLogger("django_chatgpt.functions")

_left_behind: set[asyncio.Task[Any]] = set()


@dataclass(slots=True)
class Job:
    """A call whose arguments and caller have been checked; `timeout` is in seconds.

    `place` is that of the call among its siblings.
    """

    place: int
    call: FunctionCall
    function: Function
    arguments: dict[str, Any]
    caller: Caller
    timeout: float
    started: float = field(default_factory=time.monotonic)

    def perform(self) -> Outcome:
        """Call a synchronous function here. Whatever it raises but KeyboardInterrupt is an outcome."""
        self.started = time.monotonic()
        try:
            value = self._begin()
            if inspect.isawaitable(value):
                value = async_to_sync(_wait_for)(value)
            return self._returned(render_result(value))
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            return self._failed(error)

    def perform_on_own_loop(self) -> Outcome:
        """Call a coroutine function in this thread, which has nothing else to do."""
        AsyncToSync.executors.current = None
        return asyncio.run(self.aperform())

    async def aperform(self, *, shared: bool = False) -> Outcome:
        """Call a coroutine function here, and give it up after its timeout.

        What it does with the ORM happens in a thread of its own, which is gone afterwards; `shared`
        leaves it in the thread whose transaction the function has to see.
        """
        self.started = time.monotonic()
        work = self._acall() if shared else _with_own_thread(self._acall())
        task = asyncio.ensure_future(work)
        try:
            done, _ = await asyncio.wait({task}, timeout=self.timeout)
        except asyncio.CancelledError:
            await _give_up(task)
            raise
        if not done:
            await _give_up(task)
            return self.timed_out()
        return task.result()

    def timed_out(self) -> Outcome:
        """The outcome of a function that took too long."""
        logger.warning("Function %s did not finish within %g s (%s).", self.function.name, self.timeout, self)
        text = (
            f"{self.function.name} did not finish within {self.timeout:g} seconds; "
            "whether it took effect is not known."
        )
        return failed(self.call, "function_timeout", text, started=self.started)

    def not_begun(self) -> Outcome:
        """The outcome of a function for which no thread was free in time."""
        name = self.function.name
        logger.error("No thread was free for function %s within %g s (%s).", name, self.timeout, self)
        text = f"{name} was not begun, for too much else is running. It may be called again."
        return failed(self.call, "function_timeout", text, started=self.started)

    def __str__(self) -> str:
        return f"turn {self.caller.turn_id}, call {self.call.id}"

    async def _acall(self) -> Outcome:
        try:
            value = await self._begin()
            if value is None or isinstance(value, (str, bool, int, float)):
                return self._returned(render_result(value))
            # A queryset asks the database only now, and much text takes its time.
            return self._returned(await sync_to_async(render_result)(value))
        except (KeyboardInterrupt, GeneratorExit):
            raise
        except BaseException as error:
            task = asyncio.current_task()
            if isinstance(error, asyncio.CancelledError) and task is not None and task.cancelling():
                raise
            return self._failed(error)

    def _begin(self) -> Any:
        given = dict.fromkeys(self.function.callers, self.caller)
        return self.function.call(**self.arguments, **given)

    def _returned(self, result: Result) -> Outcome:
        return returned(self.call, result, self.started)

    def _failed(self, error: BaseException) -> Outcome:
        """Tell the model that it failed, and the operator why."""
        name = self.function.name
        if isinstance(error, ToolFailedError):
            logger.info("Function %s refused (%s).", name, self)
            return failed(self.call, "function_failed", error.message, started=self.started)
        if isinstance(error, ResultError):
            logger.error("Function %s returned what can't be told: %s (%s)", name, error, self)
            text = f"{name} ran, but what it returned can't be shown."
            return failed(self.call, "result_unserializable", text, started=self.started)
        logger.error("Function %s failed (%s).", name, self, exc_info=error)
        return failed(self.call, "function_failed", "The function failed.", started=self.started)


async def _wait_for(value: Any) -> Any:
    return await value


async def _with_own_thread(work: Coroutine[Any, Any, Outcome]) -> Outcome:
    """Run `work` so that its thread-sensitive calls, those of the ORM, have a thread to themselves.

    A server's request has one thread for all of them, and outside a request the whole process has one: a
    function that hangs there would stop everybody else.
    """
    own = ThreadSensitiveContext()
    SyncToAsync.thread_sensitive_context.set(own)
    finished = False
    try:
        outcome = await work
        finished = True
        return outcome
    finally:
        executor = SyncToAsync.context_to_thread_executor.pop(own, None)
        if executor is not None:
            closed = executor.submit(connections.close_all)
            executor.shutdown(wait=False)
            if finished:
                await asyncio.wrap_future(closed)


async def _give_up(task: asyncio.Task[Outcome]) -> None:
    """Cancel a task; one that does not end is left behind, and what it says later goes nowhere."""
    task.cancel()
    _left_behind.add(task)
    task.add_done_callback(_forget)
    await asyncio.wait({task}, timeout=GRACE)


def _forget(task: asyncio.Task[Any]) -> None:
    _left_behind.discard(task)
    if not task.cancelled():
        task.exception()
