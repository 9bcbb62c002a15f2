"""Whether gunicorn is about to kill its worker, told from the handler that it has installed."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import pytest

from django_chatgpt.runtime import servers, shutdown, stops


class Worker:
    """What gunicorn's workers have in common."""

    def __init__(self) -> None:
        self.alive = True
        self.cfg = SimpleNamespace(graceful_timeout=30)

    def handle_exit(self, number: int, frame: object) -> None:
        self.alive = False

    async def callback_notify(self) -> None:
        """Tell the master that it lives."""


class Uvicorn:
    def __init__(self, notify: Callable[[], Any] | None) -> None:
        self.should_exit = False
        self.config = SimpleNamespace(callback_notify=notify)

    def handle_exit(self, number: int, frame: object) -> None:
        self.should_exit = True


class Clock:
    now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[Clock]:
    clock = Clock()
    monkeypatch.setattr(servers, "time", clock)
    monkeypatch.setattr(servers, "_going_since", None)
    before = signal.getsignal(signal.SIGTERM)
    yield clock
    signal.signal(signal.SIGTERM, before)


SERVERS = {
    "gunicorn": lambda: Worker().handle_exit,
    "uvicorn in gunicorn": lambda: Uvicorn(Worker().callback_notify).handle_exit,
    "behind our own": lambda: shutdown.Handler(Uvicorn(Worker().callback_notify).handle_exit),
}


@pytest.mark.parametrize("server", SERVERS)
def test_a_worker_of_gunicorn(server: str, clock: Clock) -> None:
    signal.signal(signal.SIGTERM, SERVERS[server]())
    assert not servers.overdue()
    clock.now += 1000
    assert not servers.overdue()
    signal.raise_signal(signal.SIGTERM)
    assert not servers.overdue()
    clock.now += 24.5
    assert not servers.overdue()
    clock.now += 1
    assert servers.overdue()


def test_a_short_grace_is_halved(clock: Clock) -> None:
    worker = Worker()
    worker.cfg.graceful_timeout = 2
    signal.signal(signal.SIGTERM, worker.handle_exit)
    signal.raise_signal(signal.SIGTERM)
    assert not servers.overdue()
    clock.now += 1
    assert servers.overdue()


@pytest.mark.parametrize("handler", [Uvicorn(None).handle_exit, lambda *_: None], ids=["uvicorn", "a site's"])
def test_others_do_not_kill(handler: Any, clock: Clock) -> None:
    signal.signal(signal.SIGTERM, handler)
    signal.raise_signal(signal.SIGTERM)
    assert not servers.overdue()
    clock.now += 1000
    assert not servers.overdue()


def test_turns_are_interrupted_when_it_is_time(clock: Clock) -> None:
    """And the database is not asked about them any more."""
    turn_id, told = uuid4(), []
    signal.signal(signal.SIGTERM, Worker().handle_exit)
    signal.raise_signal(signal.SIGTERM)
    servers.overdue()
    clock.now += 30
    with stops.heard(turn_id, told.append):
        stops.look()
        stops.look()
    assert told == ["interrupted"]
