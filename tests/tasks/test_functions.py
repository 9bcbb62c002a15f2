"""Functions of the site that a worker calls for a person: once, and never again where nobody knows."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.utils import timezone
from pytest_django import DjangoCaptureOnCommitCallbacks, Settings

from django_chatgpt.exceptions import (
    AIServiceError,
    ConflictError,
    InvalidRequestError,
    NotFoundError,
    PermissionDeniedError,
    RateLimitedError,
    WorkerUnavailableError,
)
from django_chatgpt.functions import function_registry
from django_chatgpt.models import AIFunctionJob
from django_chatgpt.services import function_jobs, runners
from django_chatgpt.tasks import daily_ai_maintenance, execute_ai_function, sweep_ai_turns

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def made() -> Iterator[list[Any]]:
    """What the functions of these tests were called with."""
    made: list[Any] = []

    def double(number: int) -> dict[str, int]:
        """Double a number."""
        made.append(number)
        return {"doubled": 2 * number}

    def broken() -> None:
        """Fail."""
        made.append("broken")
        raise RuntimeError("what Ada said")

    def pay() -> None:
        """Pay."""

    function_registry.register(double)
    function_registry.register(broken)
    function_registry.register(pay, requires_approval=True)
    yield made
    for name in ("double", "broken", "pay"):
        function_registry.unregister(name)


def overdue(job: AIFunctionJob) -> None:
    AIFunctionJob.objects.filter(pk=job.pk).update(held_until=timezone.now() - timedelta(seconds=1))


def test_it_is_made_once_and_looked_at_later(user: User, made: list[Any]) -> None:
    job = function_jobs.submit(user, "double", {"number": 4})
    assert (job.status, made) == ("queued", [])
    first, second = (execute_ai_function(str(job.pk)) for _ in range(2))
    assert first == second
    assert made == [4]
    assert (first["job_id"], first["function"], first["status"]) == (str(job.pk), "double", "completed")
    assert "doubled" not in json.dumps(first)
    job = function_jobs.find(user, job.pk)
    assert json.loads(job.result) == {"doubled": 8}


def test_one_that_fails_says_nothing_of_why(user: User) -> None:
    job = function_jobs.submit(user, "broken", {})
    told = execute_ai_function(str(job.pk))
    assert (told["status"], told["error_code"]) == ("failed", "function_failed")
    assert "Ada" not in function_jobs.find(user, job.pk).result


@pytest.mark.parametrize(
    ("name", "arguments", "error"),
    [
        ("nothing", {}, NotFoundError),
        ("double", {"number": "many"}, InvalidRequestError),
        ("pay", {}, None),
    ],
)
def test_what_can_be_known_is_said_at_once(
    name: str, arguments: dict[str, Any], error: type[AIServiceError] | None, user: User
) -> None:
    if error is not None:
        with pytest.raises(error):
            function_jobs.submit(user, name, arguments)
        assert not AIFunctionJob.objects.exists()
        return
    # Nobody can agree to it here.
    told = execute_ai_function(str(function_jobs.submit(user, name, arguments).pk))
    assert (told["status"], told["error_code"]) == ("failed", "approval_required")


def test_it_counts_against_the_rate_limits(user: User, settings: Settings) -> None:
    settings.OPENAI_RATE_LIMITS = {"user": "1/h"}
    function_jobs.submit(user, "double", {"number": 1})
    with pytest.raises(RateLimitedError):
        function_jobs.submit(user, "double", {"number": 1})


def test_who_may_not_any_more(user: User, made: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    job = function_jobs.submit(user, "double", {"number": 1})
    monkeypatch.setattr("django_chatgpt.adapter.Adapter.may_use", lambda self, user: False)
    with pytest.raises(PermissionDeniedError):
        function_jobs.submit(user, "double", {"number": 1})
    assert execute_ai_function(str(job.pk))["status"] == "failed"
    assert made == []


def test_only_ones_own(user: User, other_user: User) -> None:
    job = function_jobs.submit(user, "double", {"number": 1})
    with pytest.raises(NotFoundError):
        function_jobs.find(other_user, job.pk)
    with pytest.raises(NotFoundError):
        execute_ai_function("01990000-0000-7000-8000-000000000000")


def test_while_another_process_makes_it(user: User, made: list[Any]) -> None:
    job = function_jobs.submit(user, "double", {"number": 1})
    assert function_jobs.storage.begin(job.pk, timedelta(seconds=60))
    with pytest.raises(ConflictError) as caught:
        execute_ai_function(str(job.pk))
    assert 50 < (caught.value.retry_after or 0) <= 60
    overdue(job)
    told = execute_ai_function(str(job.pk))
    assert (told["status"], told["error_code"], made) == ("unknown", "interrupted", [])


def test_one_that_was_broken_off(user: User, monkeypatch: pytest.MonkeyPatch) -> None:
    def end(self: Any, calls: Any) -> Any:
        raise SystemExit

    job = function_jobs.submit(user, "double", {"number": 1})
    monkeypatch.setattr("django_chatgpt.functions.calls.FunctionBox.execute", end)
    with pytest.raises(SystemExit):
        function_jobs.run(job.pk)
    assert function_jobs.find(user, job.pk).status == "unknown"


def test_none_waits_for_ever(user: User) -> None:
    waits, runs = (function_jobs.submit(user, "double", {"number": 1}) for _ in range(2))
    function_jobs.storage.begin(runs.pk, timedelta(seconds=60))
    assert sweep_ai_turns()["jobs"] == 0
    overdue(waits)
    overdue(runs)
    assert sweep_ai_turns()["jobs"] == 2
    assert (function_jobs.find(user, waits.pk).status, function_jobs.find(user, runs.pk).status) == (
        "failed",
        "unknown",
    )


def test_those_that_are_over_go(user: User, settings: Settings) -> None:
    job = function_jobs.submit(user, "double", {"number": 1})
    settings.OPENAI_EVENT_RETENTION = 0
    assert daily_ai_maintenance()["jobs_deleted"] == 0
    execute_ai_function(str(job.pk))
    assert daily_ai_maintenance()["jobs_deleted"] == 1


class TestWithWorkers:
    @pytest.fixture(autouse=True)
    def workers(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(runners, "queues", lambda: True)

    def test_one_is_told_its_id(
        self,
        user: User,
        monkeypatch: pytest.MonkeyPatch,
        django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks,
    ) -> None:
        sent: list[Any] = []
        monkeypatch.setattr(runners, "send", lambda *args, **options: sent.append(args))
        with django_capture_on_commit_callbacks(execute=True):
            job = function_jobs.submit(user, "double", {"number": 1})
            assert sent == []
        assert sent == [("django_chatgpt.tasks.execute_ai_function", str(job.pk))]

    def test_where_none_can_be_told_it_fails(
        self,
        user: User,
        monkeypatch: pytest.MonkeyPatch,
        django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks,
    ) -> None:
        def send(*args: Any, **options: Any) -> None:
            raise WorkerUnavailableError()

        monkeypatch.setattr(runners, "send", send)
        with pytest.raises(WorkerUnavailableError), django_capture_on_commit_callbacks(execute=True):
            function_jobs.submit(user, "double", {"number": 1})
        job = AIFunctionJob.objects.get()
        assert (job.status, job.error_code) == ("failed", "worker_unavailable")
