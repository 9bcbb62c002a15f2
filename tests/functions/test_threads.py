from __future__ import annotations

import contextvars
import logging
import os
import subprocess
import sys
import threading
import time
from concurrent.futures import Future, wait
from typing import Any
from unittest import mock

import pytest
from django.db import connection, connections
from django.utils import timezone, translation

from django_chatgpt.functions import threads as module
from django_chatgpt.functions.threads import Threads

PATIENCE = 10

number: contextvars.ContextVar[int] = contextvars.ContextVar("number", default=0)


def idle(pool: Threads) -> bool:
    """Whether all threads are gone, after a moment."""
    until = time.monotonic() + PATIENCE
    while pool.running and time.monotonic() < until:
        time.sleep(0.01)
    return pool.running == 0


def test_a_result_and_an_error() -> None:
    pool = Threads(2)
    assert pool.submit(lambda: 3).result(PATIENCE) == 3
    error = pool.submit(lambda: 1 // 0).exception(PATIENCE)
    assert isinstance(error, ZeroDivisionError)
    assert idle(pool)


def test_what_was_given_up_does_not_wait_for_a_thread() -> None:
    """A function that never returns keeps its place; those behind it are not kept with it."""
    pool, held = Threads(1), threading.Event()
    first = pool.submit(lambda: held.wait(PATIENCE))
    behind = [pool.submit(lambda: 1) for _ in range(5)]
    assert pool.waiting == 5
    for each in behind[:4]:
        assert each.cancel()
    assert pool.waiting == 1
    held.set()
    assert (first.result(PATIENCE), behind[4].result(PATIENCE)) == (True, 1)
    assert pool.waiting == 0


@pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt, GeneratorExit])
def test_whatever_is_raised_comes_back(error: type[BaseException]) -> None:
    pool = Threads(1)
    assert isinstance(pool.submit(mock.Mock(side_effect=error)).exception(PATIENCE), error)
    assert pool.submit(lambda: 1).result(PATIENCE) == 1


def test_never_more_than_the_limit() -> None:
    pool = Threads(3)
    lock, now, most = threading.Lock(), 0, 0

    def work() -> None:
        nonlocal now, most
        with lock:
            now += 1
            most = max(most, now)
        time.sleep(0.01)
        with lock:
            now -= 1

    futures = [pool.submit(work) for _ in range(20)]
    done, _ = wait(futures, PATIENCE)
    assert len(done) == 20
    assert most == 3
    assert idle(pool)


def test_one_that_waits_can_be_cancelled() -> None:
    pool = Threads(1)
    go, ran = threading.Event(), mock.Mock()
    first: Future[Any] = pool.submit(lambda: go.wait(PATIENCE))
    second = pool.submit(ran)
    third = pool.submit(lambda: 3)
    assert second.cancel()
    assert not first.cancel()
    go.set()
    assert third.result(PATIENCE) == 3
    ran.assert_not_called()


def test_context_language_and_time_zone_come_along() -> None:
    pool = Threads(1)
    number.set(7)
    with translation.override("fr"), timezone.override("Asia/Tokyo"):
        future = pool.submit(
            lambda: (number.get(), translation.get_language(), timezone.get_current_timezone_name())
        )
    assert future.result(PATIENCE) == (7, "fr", "Asia/Tokyo")


def test_what_a_function_changes_is_its_own_affair() -> None:
    pool = Threads(1)
    number.set(7)

    def change() -> None:
        number.set(8)
        translation.activate("de")

    pool.submit(change).result(PATIENCE)
    assert number.get() == 7
    assert pool.submit(lambda: (number.get(), translation.get_language())).result(PATIENCE) == (7, "en-us")


@pytest.mark.django_db(transaction=True)
def test_no_connection_stays_open() -> None:
    pool, seen = Threads(1), []

    def ask() -> None:
        connection.ensure_connection()
        seen.append(connections["default"])

    pool.submit(ask).result(PATIENCE)
    assert seen[0] is not connections["default"]
    assert seen[0].connection is None


@pytest.mark.django_db(transaction=True)
def test_a_connection_that_can_not_be_closed_spoils_nothing(caplog: pytest.LogCaptureFixture) -> None:
    def ask() -> int:
        connection.ensure_connection()
        close = connection.close

        def fail() -> None:
            close()
            raise RuntimeError("gone away")

        connection.close = fail  # type: ignore[method-assign]
        return 3

    with caplog.at_level(logging.WARNING, "django_chatgpt.functions"):
        assert Threads(1).submit(ask).result(PATIENCE) == 3
    assert "could not be closed" in caplog.text


def test_a_machine_without_threads_to_spare(monkeypatch: pytest.MonkeyPatch) -> None:
    pool = Threads(1)
    monkeypatch.setattr(
        threading.Thread, "start", mock.Mock(side_effect=RuntimeError("can't start new thread"))
    )
    with pytest.raises(RuntimeError):
        pool.submit(lambda: 1)
    monkeypatch.undo()
    assert pool.running == 0
    assert pool.submit(lambda: 1).result(PATIENCE) == 1


def test_a_function_that_never_returns_does_not_keep_the_process() -> None:
    code = (
        "import django; django.setup()\n"
        "import threading\n"
        "from django_chatgpt.functions.threads import threads\n"
        "threads().submit(threading.Event().wait)\n"
        "print('done', flush=True)\n"
    )
    environment = {**os.environ, "DJANGO_SETTINGS_MODULE": "tests.settings.sqlite"}
    ended = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert (ended.returncode, ended.stdout) == (0, "done\n"), ended.stderr


def test_a_forked_worker_begins_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_threads", before := Threads(1))
    module._new_threads()
    assert module.threads() is not before
    assert module.threads().limit == module.MAX_THREADS
