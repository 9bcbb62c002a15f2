"""Functions that take too long, are stopped, or use the database."""

from __future__ import annotations

import asyncio
import concurrent.futures
import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any
from unittest import mock

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth.models import User
from django.db import connection, connections, transaction
from pytest_django import Settings

from django_chatgpt.core.messages import FunctionResult
from django_chatgpt.functions import Function, jobs, running
from django_chatgpt.functions import threads as threads_module
from django_chatgpt.functions.calls import FunctionBox
from django_chatgpt.functions.threads import Threads
from tests.functions.cases import call
from tests.functions.conftest import Make, in_a_request, on_a_loop, sync

SHORT = 0.2


@pytest.fixture(autouse=True)
def _little_grace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "GRACE", 0.5)
    monkeypatch.setattr(running, "GRACE", 0.5)


@pytest.fixture
def end() -> Iterator[threading.Event]:
    """Set when the test is over, for functions that would go on for ever."""
    over = threading.Event()
    yield over
    over.set()


@pytest.fixture
def hang(end: threading.Event) -> Function:
    """A function that never returns."""

    def hang() -> None:
        end.wait()

    return Function("hang", hang, timeout=SHORT)


def texts(results: list[FunctionResult]) -> list[str]:
    return [result.output for result in results]


def codes(results: list[FunctionResult]) -> list[str]:
    return [result.error_code for result in results]


async def until(condition: Callable[[], Any]) -> None:
    for _ in range(1000):
        if condition():
            return
        await asyncio.sleep(0.005)
    raise TimeoutError


class TestTimeouts:
    def test_the_model_is_told_and_siblings_are_kept(self, make: Make, hang: Function) -> None:
        async def quick() -> str:
            return "here"

        async def ahang() -> None:
            await asyncio.Event().wait()

        box = FunctionBox([hang, Function("ahang", ahang, timeout=SHORT), quick])
        began = time.monotonic()
        results = make(box, [call("hang"), call("quick"), call("ahang")])
        took_ms = (time.monotonic() - began) * 1000
        assert took_ms < 10_000
        assert texts(results) == [
            "hang did not finish within 0.2 seconds; whether it took effect is not known.",
            "here",
            "ahang did not finish within 0.2 seconds; whether it took effect is not known.",
        ]
        assert codes(results) == ["function_timeout", "", "function_timeout"]
        # The time of a thread runs from when it was wanted, its duration from when it has begun.
        assert 0 < results[0].duration_ms <= took_ms
        assert 190 <= results[2].duration_ms <= took_ms

    def test_is_that_of_the_settings_unless_the_function_has_its_own(
        self, make: Make, settings: Settings, end: threading.Event
    ) -> None:
        settings.OPENAI_TOOL_TIMEOUT = SHORT

        def hang() -> None:
            end.wait()

        def slow() -> str:
            time.sleep(2 * SHORT)
            return "here"

        results = make(FunctionBox([hang, Function("slow", slow, timeout=30)]), [call("hang"), call("slow")])
        assert codes(results) == ["function_timeout", ""]

    def test_a_coroutine_may_clean_up(self, make: Make) -> None:
        seen = []

        async def ahang() -> None:
            try:
                await asyncio.Event().wait()
            finally:
                await asyncio.sleep(0)
                seen.append("cleaned")

        make(FunctionBox([Function("ahang", ahang, timeout=SHORT)]), [call("ahang")])
        assert seen == ["cleaned"]

    def test_a_coroutine_that_will_not_be_cancelled(self, make: Make, end: threading.Event) -> None:
        async def stubborn() -> str:
            while not end.is_set():
                with suppress(asyncio.CancelledError):
                    await asyncio.sleep(0.01)
            return "too late"

        timer = threading.Timer(5 * SHORT, end.set)
        timer.start()
        results = make(FunctionBox([Function("stubborn", stubborn, timeout=SHORT)]), [call("stubborn")])
        assert codes(results) == ["function_timeout"]
        timer.join()

    def test_a_coroutine_that_answers_its_cancellation(self, make: Make) -> None:
        async def late() -> str:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                return "late"
            return "never"

        assert codes(make(FunctionBox([Function("late", late, timeout=SHORT)]), [call("late")])) == [
            "function_timeout"
        ]

    def test_a_timeout_of_its_own_making_is_a_failure(self, make: Make) -> None:
        async def impatient() -> None:
            async with asyncio.timeout(0):
                await asyncio.sleep(10)

        assert codes(make(FunctionBox([impatient]), [call("impatient")])) == ["function_failed"]

    def test_is_logged(self, make: Make, hang: Function, caplog: pytest.LogCaptureFixture) -> None:
        with caplog.at_level(logging.WARNING, "django_chatgpt.functions"):
            make(FunctionBox([hang]), [call("hang")])
        said = [record.getMessage() for record in caplog.records]
        assert said[0].startswith("Function hang is left running in its thread (turn None, call call_hang); ")
        assert said[1] == "Function hang did not finish within 0.2 s (turn None, call call_hang)."

    def test_those_left_behind_do_not_stop_the_next(self, make: Make, hang: Function) -> None:
        box = FunctionBox([hang, Function("add", lambda: 3)])
        make(box, [call("hang", str(number)) for number in range(12)])
        assert texts(make(box, [call("add")])) == ["3"]

    def test_no_thread_is_free(
        self, make: Make, hang: Function, monkeypatch: pytest.MonkeyPatch, end: threading.Event
    ) -> None:
        pool = Threads(1)
        monkeypatch.setattr(threads_module, "_threads", pool)
        ran: list[int] = []
        box = FunctionBox([hang, Function("late", lambda: ran.append(1), timeout=SHORT)])
        results = make(box, [call("hang"), call("late")])
        assert codes(results) == ["function_timeout"] * 2
        assert texts(results)[1] == (
            "late was not begun, for too much else is running. It may be called again."
        )
        end.set()
        assert pool.submit(lambda: 1).result(10) == 1
        assert ran == []

    def test_a_result_that_comes_at_the_very_moment_counts(self, hang: Function) -> None:
        future: concurrent.futures.Future[Any] = concurrent.futures.Future()
        future.set_result(outcome := mock.Mock())
        job = mock.Mock(function=hang)
        assert running._too_late(job, future) is outcome
        job.timed_out.assert_not_called()

    def test_a_result_that_takes_too_long_to_be_told(self, make: Make, end: threading.Event) -> None:
        """What is returned may be lazy: telling it counts, too."""

        def lazy() -> Any:
            def wait() -> Iterator[int]:
                end.wait()
                yield 1

            return wait()

        assert codes(make(FunctionBox([Function("lazy", lazy, timeout=SHORT)]), [call("lazy")])) == [
            "function_timeout"
        ]


@pytest.mark.parametrize(("number", "seconds"), [(0, 0), (1, 31), (8, 31), (9, 62)])
def test_how_long_a_step_takes_at_most(hang: Function, number: int, seconds: float) -> None:
    slow = Function("slow", hang.call, timeout=30)
    calls = [call("slow", str(each)) for each in range(number)] + [call("nobody")]
    assert FunctionBox([hang, slow]).patience(calls) == pytest.approx(seconds)


class TestCancellation:
    async def test_stops_coroutines_and_leaves_threads(self, hang: Function) -> None:
        begun, cleaned = asyncio.Event(), []

        async def ahang() -> None:
            begun.set()
            try:
                await asyncio.Event().wait()
            finally:
                await asyncio.sleep(0)
                cleaned.append(True)

        hang = Function("hang", hang.call, timeout=60)
        box = FunctionBox([hang, Function("ahang", ahang), Function("add", lambda: 3)])
        task = asyncio.ensure_future(box.acall([call("hang"), call("ahang"), call("add")]))
        await begun.wait()
        await until(lambda: "call_add" in box.results)
        began = time.monotonic()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert time.monotonic() - began < 10
        assert cleaned == [True]
        assert {name: result.output for name, result in box.results.items()} == {"call_add": "3"}

    async def test_of_one_that_will_not_be_cancelled(self, end: threading.Event) -> None:
        begun, ended = asyncio.Event(), asyncio.Event()

        async def stubborn() -> None:
            begun.set()
            while not end.is_set():
                with suppress(asyncio.CancelledError):
                    await asyncio.sleep(0.01)
            ended.set()
            raise RuntimeError("nobody hears this")

        task = asyncio.ensure_future(FunctionBox([stubborn]).acall([call("stubborn")]))
        await begun.wait()
        began = time.monotonic()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert time.monotonic() - began < 10
        end.set()
        await ended.wait()

    async def test_before_anything_has_begun(self) -> None:
        ran: list[int] = []
        box = FunctionBox([Function("run", lambda: ran.append(1))])
        task = asyncio.ensure_future(box.acall([call("run")]))
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert ran == []

    async def test_of_many_of_which_some_wait_their_turn(self) -> None:
        begun: list[str] = []

        async def ahang(name: str) -> None:
            begun.append(name)
            await asyncio.Event().wait()

        box = FunctionBox([ahang])
        calls = [call("ahang", str(number), name=str(number)) for number in range(20)]
        task = asyncio.ensure_future(box.acall(calls))
        await until(lambda: len(begun) == running.WIDTH)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert len(begun) == running.WIDTH

    def test_an_interrupt_of_the_waiting_thread(
        self, hang: Function, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        monkeypatch.setattr(concurrent.futures, "wait", mock.Mock(side_effect=KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            FunctionBox([hang]).call([call("hang")])
        assert "is left running in its thread" in caplog.text

    @pytest.mark.parametrize("is_async", [False, True])
    def test_a_keyboard_interrupt_within_a_function_is_not_swallowed(self, is_async: bool) -> None:
        def stop() -> None:
            raise KeyboardInterrupt

        async def astop() -> None:
            raise KeyboardInterrupt

        box = FunctionBox([Function("stop", astop if is_async else stop)])
        with pytest.raises(KeyboardInterrupt):
            box.call([call("stop")])


def who(username: str) -> str:
    """A query, and the thread that made it."""
    return f"{User.objects.get(username=username).username} {threading.get_ident()}"


async def awho(username: str) -> str:
    user = await User.objects.aget(username=username)
    return f"{user.username} {await sync_to_async(threading.get_ident)()}"


def usernames() -> Any:
    return User.objects.order_by("username").values("username")


async def ausernames() -> Any:
    return {"users": User.objects.order_by("username").values("username")}


@pytest.mark.django_db
class TestInATransaction:
    """A test case, or a caller's `atomic`: nobody else sees these rows."""

    @pytest.mark.parametrize("colour", [sync, on_a_loop])
    @pytest.mark.parametrize("function", [who, awho])
    def test_the_function_sees_the_rows_in_the_very_thread(
        self, user: User, function: Callable[..., Any], colour: Any
    ) -> None:
        box = FunctionBox([Function("who", function)])
        results = colour(box, [call("who", str(number), username="ada") for number in range(3)])
        assert texts(results) == [f"ada {threading.get_ident()}"] * 3
        assert not connection.needs_rollback

    @pytest.mark.parametrize("colour", [sync, on_a_loop])
    @pytest.mark.usefixtures("user")
    def test_a_queryset_is_asked_there(self, colour: Any) -> None:
        results = colour(FunctionBox([usernames, ausernames]), [call("usernames"), call("ausernames")])
        assert texts(results) == ['[{"username":"ada"}]', '{"users":[{"username":"ada"}]}']

    @pytest.mark.parametrize("colour", [sync, on_a_loop])
    def test_one_after_the_other_and_failures_are_no_matter(self, colour: Any) -> None:
        ran = []

        def step(number: int) -> int:
            ran.append(number)
            if number == 1:
                raise SystemExit(1)
            return number

        results = colour(FunctionBox([step]), [call("step", str(n), number=n) for n in range(3)])
        assert ran == [0, 1, 2]
        assert codes(results) == ["", "function_failed", ""]

    @pytest.mark.parametrize("colour", [sync, on_a_loop])
    def test_a_synchronous_function_has_all_the_time_it_takes(self, colour: Any) -> None:
        box = FunctionBox([Function("nap", lambda: time.sleep(0.1), timeout=0.01)])
        assert codes(colour(box, [call("nap")])) == [""]

    @pytest.mark.parametrize("colour", [sync, on_a_loop])
    def test_a_coroutine_has_not(self, colour: Any) -> None:
        async def ahang() -> None:
            await asyncio.Event().wait()

        box = FunctionBox([Function("ahang", ahang, timeout=SHORT)])
        assert codes(colour(box, [call("ahang")])) == ["function_timeout"]

    @pytest.mark.usefixtures("user")
    def test_an_awaitable_from_a_function_that_does_not_look_like_one(self) -> None:
        def disguised() -> Any:
            return awho("ada")

        assert texts(FunctionBox([disguised]).call([call("disguised")])) == [f"ada {threading.get_ident()}"]


@pytest.mark.django_db(transaction=True)
class TestOutsideATransaction:
    def test_another_thread_sees_what_is_committed(self, make: Make, user: User) -> None:
        box = FunctionBox([who, awho])
        results = make(box, [call("who", username="ada"), call("awho", username="ada")])
        assert codes(results) == ["", ""]
        assert str(threading.get_ident()) not in texts(results)[0]

    @pytest.mark.usefixtures("user")
    def test_a_queryset_is_asked_there(self, make: Make) -> None:
        results = make(FunctionBox([usernames, ausernames]), [call("usernames"), call("ausernames")])
        assert texts(results) == ['[{"username":"ada"}]', '{"users":[{"username":"ada"}]}']

    def test_the_connections_of_functions_do_not_stay_open(self, make: Make) -> None:
        used: list[Any] = []

        def note() -> None:
            connection.ensure_connection()
            used.append(connections["default"])

        async def anote() -> None:
            await sync_to_async(note)()

        async def afail() -> None:
            await sync_to_async(note)()
            raise ValueError

        box = FunctionBox([note, anote, afail])
        make(box, [call("note"), call("anote"), call("afail")])
        assert len({id(each) for each in used}) >= 2
        # Under `async_to_sync`, the ORM of a coroutine is at home in the thread that waits, as ever.
        elsewhere = [each for each in used if each is not connections["default"]]
        assert [each.connection for each in elsewhere] == [None] * len(elsewhere)

    def test_a_transaction_left_open_is_undone(self, make: Make) -> None:
        def forgetful() -> str:
            transaction.atomic().__enter__()
            User.objects.create(username="ghost")
            return "done"

        assert codes(make(FunctionBox([forgetful]), [call("forgetful")])) == [""]
        assert not User.objects.filter(username="ghost").exists()

    def test_within_atomic_the_rows_of_the_caller_are_seen(self) -> None:
        with transaction.atomic():
            User.objects.create(username="ada")
            [result] = FunctionBox([who]).call([call("who", username="ada")])
        assert result.output == f"ada {threading.get_ident()}"

    @pytest.mark.parametrize("colour", [sync, in_a_request])
    def test_coroutines_do_not_wait_for_each_others_queries(self, colour: Any) -> None:
        barrier = threading.Barrier(2, timeout=10)

        async def meet() -> str:
            await sync_to_async(barrier.wait)()
            return "met"

        assert texts(colour(FunctionBox([meet]), [call("meet", "1"), call("meet", "2")])) == ["met"] * 2
