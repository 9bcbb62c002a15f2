"""The calls of one step, side by side.

Two drivers for one rule: at most WIDTH calls at a time, each with its timeout, the outcomes in the order of
the calls, and what has finished stays finished whatever becomes of the others.

A synchronous function runs in a thread; it can't be stopped there, so after its timeout it is left behind.
Only where its data are in a transaction that no other thread sees (`here`) does it run in that very thread,
one after the other and without a timeout.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import logging
import math
import time
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

from asgiref.sync import async_to_sync, sync_to_async

from django_chatgpt.functions.jobs import GRACE, Job
from django_chatgpt.functions.outcomes import Outcome
from django_chatgpt.functions.threads import threads

WIDTH: Final = 8

logger = logging.getLogger("django_chatgpt.functions")

Finished = Callable[[int, Outcome], None]


def patience(calls: int, longest: float) -> float:
    """The seconds that so many calls take at most, of which the longest may take `longest`."""
    return math.ceil(calls / WIDTH) * (longest + 2 * GRACE)


def run(
    jobs: Sequence[Job],
    finished: Finished,
    *,
    here: bool,
    tick: float | None = None,
    on_tick: Callable[[], object] | None = None,
) -> None:
    """Perform the jobs and hand each outcome to `finished` with the place of its job, as they come.

    `on_tick` is called about every `tick` seconds. What it raises leaves behind what is not finished.
    """
    on_tick = on_tick or _nothing
    if not here:
        _run_in_threads(jobs, finished, math.inf if tick is None else tick, on_tick)
        return
    for job in jobs:
        on_tick()
        if job.function.is_async:
            finished(job.place, async_to_sync(partial(job.aperform, shared=True))())
        else:
            finished(job.place, job.perform())


async def arun(jobs: Sequence[Job], finished: Finished, *, here: bool) -> None:
    """Like `run`, in a coroutine. Cancelled, it cancels what is a coroutine and leaves the rest behind."""
    if not jobs:
        return
    free = asyncio.Semaphore(WIDTH)

    async def perform(job: Job) -> None:
        async with free:
            if job.function.is_async:
                finished(job.place, await job.aperform(shared=here))
            elif here:
                finished(job.place, await sync_to_async(job.perform)())
            else:
                finished(job.place, await _in_thread(job))

    tasks = [asyncio.ensure_future(perform(job)) for job in jobs]
    try:
        await asyncio.gather(*tasks)
    except BaseException:
        for task in tasks:
            task.cancel()
        # Longer than any of them takes to clean up, so that none is destroyed while it does.
        await asyncio.wait(tasks, timeout=2 * GRACE)
        raise


async def _in_thread(job: Job) -> Outcome:
    job.started = time.monotonic()
    future = threads().submit(job.perform)
    wrapped = asyncio.wrap_future(future)
    try:
        done, _ = await asyncio.wait({wrapped}, timeout=job.timeout)
    except asyncio.CancelledError:
        wrapped.cancel()
        _leave_behind(job, future)
        raise
    if done:
        return wrapped.result()
    wrapped.cancel()
    return _too_late(job, future)


def _nothing() -> None:
    """Where nobody wants to be called."""


def _run_in_threads(
    jobs: Sequence[Job], finished: Finished, tick: float, on_tick: Callable[[], object]
) -> None:
    waiting = deque(jobs)
    running: dict[concurrent.futures.Future[Outcome], tuple[Job, float]] = {}
    try:
        while waiting or running:
            while waiting and len(running) < WIDTH:
                job = waiting.popleft()
                job.started = time.monotonic()
                patience = job.timeout + (2 * GRACE if job.function.is_async else 0)
                running[_submit(job)] = (job, job.started + patience)
            on_tick()
            until = min(deadline for _, deadline in running.values())
            done, _ = concurrent.futures.wait(
                running, max(0.0, min(until - time.monotonic(), tick)), concurrent.futures.FIRST_COMPLETED
            )
            for future in done:
                job, _ = running.pop(future)
                finished(job.place, future.result())
            now = time.monotonic()
            for future, (job, deadline) in list(running.items()):
                if deadline <= now and not future.done():
                    del running[future]
                    finished(job.place, _too_late(job, future))
    finally:
        for future, (job, _) in running.items():
            _leave_behind(job, future)


def _submit(job: Job) -> concurrent.futures.Future[Outcome]:
    return threads().submit(job.perform_on_own_loop if job.function.is_async else job.perform)


def _too_late(job: Job, future: concurrent.futures.Future[Outcome]) -> Outcome:
    """The outcome of a thread that took too long, unless it came at this very moment."""
    if _leave_behind(job, future):
        return job.not_begun()
    return future.result() if future.done() else job.timed_out()


def _leave_behind(job: Job, future: concurrent.futures.Future[Outcome]) -> bool:
    """Stop waiting for a thread; what comes out of it later goes nowhere. True: it never began."""
    if future.cancel():
        return True
    if not future.done():
        busy = threads()
        logger.warning(
            "Function %s is left running in its thread (%s); %d of %d threads are taken.",
            job.function.name,
            job,
            busy.running,
            busy.limit,
        )
    return False
