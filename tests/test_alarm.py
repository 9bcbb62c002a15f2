"""The timer that is put off."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from django_chatgpt.alarm import Alarm


class Loop:
    """An event loop's clock and timers, moved by hand."""

    def __init__(self) -> None:
        self.now = 0.0
        self.timers: list[Timer] = []

    def time(self) -> float:
        return self.now

    def call_at(self, when: float, function: Callable[[], object]) -> Timer:
        timer = Timer(self, when, function)
        self.timers.append(timer)
        return timer

    def move(self, to: float) -> None:
        while self.timers and min(timer.when() for timer in self.timers) <= to:
            timer = min(self.timers, key=Timer.when)
            self.timers.remove(timer)
            self.now = max(self.now, timer.when())
            timer.function()
        self.now = to


class Timer:
    def __init__(self, loop: Loop, when: float, function: Callable[[], object]) -> None:
        self.loop, self._when, self.function = loop, when, function

    def when(self) -> float:
        return self._when

    def cancel(self) -> None:
        self.loop.timers.remove(self)


def alarm() -> tuple[Loop, Alarm, list[float]]:
    loop, rung = Loop(), list[float]()
    made: Any = loop
    return loop, Alarm(made, lambda: rung.append(loop.now)), rung


def test_it_rings_once_when_the_time_is_over() -> None:
    loop, it, rung = alarm()
    it.set(5)
    loop.move(4)
    assert rung == []
    loop.move(20)
    assert rung == [5]


def test_it_is_put_off_with_one_timer_of_the_loop() -> None:
    loop, it, rung = alarm()
    for now in range(5):
        loop.move(now)
        it.set(5)
        assert len(loop.timers) == 1
    loop.move(20)
    assert rung == [9]
    assert loop.timers == []


def test_a_shorter_time_counts_too() -> None:
    loop, it, rung = alarm()
    it.set(50)
    it.set(1)
    assert len(loop.timers) == 1
    loop.move(60)
    assert rung == [1]


def test_switched_off_it_does_not_ring_and_can_be_set_again() -> None:
    loop, it, rung = alarm()
    it.set(5)
    it.switch_off()
    loop.move(6)
    assert rung == []
    it.set(5)
    loop.move(20)
    assert rung == [11]


def test_cancelled_it_leaves_no_timer() -> None:
    loop, it, rung = alarm()
    it.cancel()
    it.set(5)
    it.cancel()
    assert loop.timers == []
    loop.move(10)
    assert rung == []


async def test_a_real_loop_has_what_it_needs() -> None:
    rung = asyncio.Event()
    Alarm(asyncio.get_running_loop(), rung.set).set(0.001)
    await rung.wait()
