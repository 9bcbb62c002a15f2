"""The rows and the counters of the site's functions, on the database of the settings."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from django.apps import apps
from django.db import connection
from pytest_django.fixtures import DjangoAssertNumQueries

from django_chatgpt.core.messages import FunctionCall, FunctionResult
from django_chatgpt.models import AIFunction
from django_chatgpt.storage import functions

THREADS = 8
ROUNDS = 5


def row(name: str, **changes: Any) -> dict[str, Any]:
    return {
        "name": name,
        "description": "Tell the weather.",
        "parameters_schema": {"type": "object", "properties": {"city": {"type": "string"}}},
        "implementation": f"site.ai_functions.{name}",
    } | changes


def result(name: str, duration_ms: int, *, failed: bool = False) -> FunctionResult:
    return FunctionResult(
        call=FunctionCall(id="c", name=name),
        output="x",
        status="failed" if failed else "completed",
        duration_ms=duration_ms,
    )


def counters(name: str = "weather") -> tuple[int, int, int, float | None]:
    function = AIFunction.objects.get(name=name)
    return (
        function.usage_count,
        function.success_count,
        function.error_count,
        function.average_response_time_ms,
    )


@pytest.mark.django_db
class TestSync:
    def test_makes_what_is_new(self) -> None:
        assert functions.sync([row("weather"), row("order")]) == 2
        made = AIFunction.objects.get(name="weather")
        assert {name: getattr(made, name) for name in row("weather")} == row("weather")
        assert made.is_active
        assert counters() == (0, 0, 0, None)

    def test_changes_what_has_changed_and_nothing_else(self) -> None:
        functions.sync([row("weather"), row("order")])
        AIFunction.objects.filter(name="weather").update(is_active=False, usage_count=7, metadata={"a": 1})
        before = AIFunction.objects.get(name="order").updated_at
        assert functions.sync([row("weather", description="New."), row("order")]) == 1
        changed = AIFunction.objects.get(name="weather")
        assert changed.description == "New."
        assert (changed.is_active, changed.usage_count, changed.metadata) == (False, 7, {"a": 1})
        assert changed.updated_at > changed.created_at
        assert AIFunction.objects.get(name="order").updated_at == before

    def test_again_changes_nothing(self, django_assert_num_queries: DjangoAssertNumQueries) -> None:
        functions.sync([row("weather"), row("order")])
        with django_assert_num_queries(3):  # a savepoint around one query
            assert functions.sync([row("weather"), row("order")]) == 0

    def test_keeps_what_is_gone(self) -> None:
        functions.sync([row("weather")])
        functions.sync([row("order")])
        assert AIFunction.objects.filter(name="weather", is_active=True).exists()

    def test_of_nothing_asks_nothing(self, django_assert_num_queries: DjangoAssertNumQueries) -> None:
        with django_assert_num_queries(0):
            assert functions.sync([]) == 0

    def test_names_that_differ_in_case_only(self) -> None:
        functions.sync([row("weather"), row("Weather")])
        assert functions.sync([row("weather"), row("Weather")]) == 0
        assert AIFunction.objects.count() == 2

    def test_a_path_that_is_too_long(self) -> None:
        functions.sync([row("weather", implementation="x" * 1000)])
        assert functions.sync([row("weather", implementation="x" * 1000)]) == 0
        assert AIFunction.objects.get().implementation == "x" * 500

    def test_with_a_model_as_migrations_know_it(self) -> None:
        functions.sync(
            [row("weather")], using="default", model=apps.get_model("django_chatgpt", "AIFunction")
        )
        assert AIFunction.objects.get().name == "weather"


@pytest.mark.django_db(transaction=True)
def test_two_processes_that_migrate_at_once_make_each_row_once() -> None:
    barrier, errors = threading.Barrier(2, timeout=10), []

    def migrate() -> None:
        try:
            barrier.wait()
            functions.sync([row(f"function_{number}") for number in range(20)])
        except Exception as error:
            errors.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=migrate) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert AIFunction.objects.count() == 20


@pytest.mark.django_db
class TestCount:
    def test_one_call(self) -> None:
        functions.sync([row("weather")])
        functions.count([result("weather", 120)])
        assert counters() == (1, 1, 0, 120.0)

    def test_the_average_runs_over_all_calls(self) -> None:
        functions.sync([row("weather")])
        for duration in (100, 200, 600):
            functions.count([result("weather", duration)])
        assert counters() == (3, 3, 0, pytest.approx(300.0))

    def test_several_of_one_step(self) -> None:
        functions.sync([row("weather")])
        functions.count([result("weather", 100)])
        functions.count([result("weather", 200), result("weather", 0, failed=True), result("weather", 300)])
        assert counters() == (4, 3, 1, pytest.approx(150.0))
        assert AIFunction.objects.get().success_rate == 75.0

    def test_each_name_has_its_own(self) -> None:
        functions.sync([row("weather"), row("order"), row("idle")])
        functions.count([result("weather", 10), result("order", 30, failed=True), result("weather", 20)])
        assert counters("weather") == (2, 2, 0, pytest.approx(15.0))
        assert counters("order") == (1, 0, 1, pytest.approx(30.0))
        assert counters("idle") == (0, 0, 0, None)

    def test_an_average_that_was_lost_begins_anew(self) -> None:
        AIFunction.objects.create(name="weather", usage_count=1, success_count=1)
        functions.count([result("weather", 100)])
        assert counters() == (2, 2, 0, pytest.approx(50.0))

    def test_unknown_names_have_no_row(self) -> None:
        functions.count([result("nobody", 10), result("x" * 1000, 1)])
        assert not AIFunction.objects.exists()

    def test_names_that_a_model_made_up(self, django_assert_num_queries: DjangoAssertNumQueries) -> None:
        made_up = result("a\x00\ud800b", 1, failed=True).model_copy(update={"error_code": "unknown_function"})
        with django_assert_num_queries(0):
            functions.count([made_up])

    def test_nothing_asks_nothing(self, django_assert_num_queries: DjangoAssertNumQueries) -> None:
        with django_assert_num_queries(0):
            functions.count([])

    def test_one_update_for_each_name(self, django_assert_num_queries: DjangoAssertNumQueries) -> None:
        functions.sync([row("weather"), row("order")])
        with django_assert_num_queries(4):  # a savepoint around two updates
            functions.count([result("weather", 1), result("order", 1), result("weather", 1)])

    def test_very_many_and_very_long_calls(self) -> None:
        AIFunction.objects.create(
            name="weather", usage_count=10**12, success_count=10**12, average_response_time_ms=1e9
        )
        functions.count([result("weather", 2**40)])
        assert counters()[3] == pytest.approx(1e9)


@pytest.mark.django_db(transaction=True)
def test_counting_at_the_same_time_loses_nothing() -> None:
    names = ["a", "b", "c"]
    functions.sync([row(name) for name in names])
    barrier, errors = threading.Barrier(THREADS, timeout=30), []

    def work(number: int) -> None:
        # Every thread in an order of its own, as steps of different turns have them.
        order = names[number % 3 :] + names[: number % 3]
        try:
            barrier.wait()
            for _ in range(ROUNDS):
                functions.count([result(name, 100 * (number + 1), failed=number == 0) for name in order])
        except Exception as error:
            errors.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=work, args=(number,)) for number in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    calls = THREADS * ROUNDS
    average = 100 * (THREADS + 1) / 2
    for name in names:
        assert counters(name) == (calls, calls - ROUNDS, ROUNDS, pytest.approx(average))
