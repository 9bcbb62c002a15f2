"""A loop that is wound up cancels every task, also those that work for a turn."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from django_chatgpt.core.effects import CloseStream, Db, Effect, Stopped, Wait
from django_chatgpt.runtime.coroutines import TaskWorld


def perform_while_winding_up(world: TaskWorld, effects: list[Effect], begun: threading.Event) -> list[Any]:
    """Perform each in a task of its own; leave as soon as the first has begun. What each came to."""
    tasks: list[asyncio.Task[Any]] = []

    async def main() -> None:
        tasks.extend(asyncio.ensure_future(world.perform(effect)) for effect in effects)
        while not begun.is_set():  # noqa: ASYNC110 - a thread sets it
            await asyncio.sleep(0.01)

    asyncio.run(main())
    return [task.result() for task in tasks]


def test_what_a_thread_does_is_waited_for_and_what_it_has_not_begun_is_done() -> None:
    """The thread serves one after the other, so the second waits when the loop is wound up."""
    begun, done = threading.Event(), []

    def work(number: int) -> Callable[[], int]:
        def do() -> int:
            begun.set()
            time.sleep(0.2)
            done.append(number)
            return number

        return do

    effects: list[Effect] = [Db(work(1)), Db(work(2))]
    assert perform_while_winding_up(TaskWorld(), effects, begun) == [1, 2]
    assert done == [1, 2]


def test_what_it_raises_is_heard() -> None:
    begun = threading.Event()

    def fail() -> None:
        begun.set()
        time.sleep(0.1)
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        perform_while_winding_up(TaskWorld(), [Db(fail)], begun)


def test_a_close_never_fails() -> None:
    """What comes after it is to store the turn; it is stopped where it may be."""
    begun = threading.Event()

    class Stream:
        async def aclose(self) -> None:
            begun.set()
            await asyncio.sleep(3600)

    world = TaskWorld()
    world._stream = Stream()  # type: ignore[assignment]
    assert perform_while_winding_up(world, [CloseStream()], begun) == [None]
    with pytest.raises(Stopped) as stopped:
        asyncio.run(world.perform(Wait(0)))
    assert stopped.value.why == "interrupted"
