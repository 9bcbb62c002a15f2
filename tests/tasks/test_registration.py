"""How a function becomes a task: with Celery, without it, and under Django's own tasks."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import Any
from unittest import mock

import django
import pytest
from django.db import OperationalError

from django_chatgpt import tasks
from django_chatgpt.exceptions import (
    AIServiceError,
    ConflictError,
    InvalidRequestError,
    ProviderUnavailableError,
    WorkerUnavailableError,
)
from django_chatgpt.schedule import BEAT_SCHEDULE
from django_chatgpt.services import runners
from django_chatgpt.tasks import registration

ROOT = Path(__file__).parents[2]

WITHOUT_CELERY = """
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("celery", "kombu", "billiard"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Absent())
import django
django.setup()
from types import FunctionType
from django.test import override_settings
from django_chatgpt import tasks
from django_chatgpt.exceptions import NotConfiguredError
from django_chatgpt.services import runners
for name in tasks.__all__:
    assert type(getattr(tasks, name)) is FunctionType, name
with override_settings(OPENAI_TURN_RUNNER="celery"):
    try:
        runners.queues()
    except NotConfiguredError as error:
        print(error)
"""


def test_without_celery_they_are_functions() -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", WITHOUT_CELERY],
        cwd=ROOT,
        env={**os.environ, "DJANGO_SETTINGS_MODULE": "tests.settings.sqlite"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "pip install 'django-chatgpt[celery]'" in done.stdout


class TestWithCelery:
    @pytest.fixture(autouse=True)
    def celery(self) -> None:
        pytest.importorskip("celery")

    @pytest.mark.parametrize("name", tasks.__all__)
    def test_each_is_registered_and_may_be_run_twice(self, name: str) -> None:
        task: Any = getattr(tasks, name)
        assert task.name == f"django_chatgpt.tasks.{name}"
        assert (task.acks_late, task.reject_on_worker_lost) == (True, True)
        assert task.soft_time_limit < task.time_limit
        assert task.__doc__

    def test_the_schedule_names_tasks_that_there_are(self) -> None:
        names = {entry["task"] for entry in BEAT_SCHEDULE.values()}
        assert names <= {f"django_chatgpt.tasks.{name}" for name in tasks.__all__}
        assert all(
            entry["options"]["expires"] == entry["schedule"].total_seconds()
            for entry in BEAT_SCHEDULE.values()
        )


class Bound:
    """A task as it runs in a worker."""

    name = "test"

    def __init__(self, retries: int = 0) -> None:
        self.request = mock.Mock(retries=retries, is_eager=False, called_directly=False)
        self.asked: dict[str, Any] = {}

    def retry(self, **options: Any) -> Exception:
        self.asked = options
        return ValueError("retry")


class TestRetries:
    def test_what_is_in_vain_is_raised(self) -> None:
        task, error = Bound(), InvalidRequestError("no")
        assert registration._retried(task, error) is error
        assert task.asked == {}

    def test_as_late_as_the_error_says(self) -> None:
        task = Bound()
        registration._retried(task, ProviderUnavailableError(retry_after=7))
        assert task.asked["countdown"] == 7

    def test_later_each_time_and_not_for_ever(self) -> None:
        pauses = []
        for retries in range(registration.MOST_RETRIES):
            task = Bound(retries)
            registration._retried(task, WorkerUnavailableError())
            pauses.append(task.asked["countdown"])
        assert 1.5 <= pauses[0] <= 2.5
        assert pauses[3] > pauses[0]
        error = WorkerUnavailableError()
        assert registration._retried(Bound(registration.MOST_RETRIES), error) is error

    def test_who_waits_for_another_process_waits_on(self) -> None:
        task = Bound(100)
        registration._retried(task, ConflictError("busy", code="turn_running", retry_after=3))
        assert task.asked["countdown"] == 3
        assert task.asked["max_retries"] > 100

    def test_run_at_once_nobody_waits(self) -> None:
        task, error = Bound(), ProviderUnavailableError()
        task.request.is_eager = True
        assert registration._retried(task, error) is error


class TestInAWorker:
    """`apply` runs a task as a worker does."""

    @pytest.fixture(autouse=True)
    def celery(self) -> None:
        pytest.importorskip("celery")

    def apply(self, function: Any) -> Any:
        function.__name__ = function.__qualname__ = f"made_for_{function.__name__}"
        return registration.task(function).apply()  # type: ignore[attr-defined]

    def test_an_error_that_nobody_foresaw_says_nothing(self, caplog: pytest.LogCaptureFixture) -> None:
        def broken() -> None:
            raise RuntimeError(" ".join(("what", "Ada", "said")))

        logger = logging.getLogger("django_chatgpt.tasks")
        with mock.patch.object(logger, "propagate", True):
            result = self.apply(broken)
        assert type(result.result) is AIServiceError
        ours = [record.getMessage() for record in caplog.records if record.name == logger.name]
        assert len(ours) == 1
        assert "RuntimeError" in ours[0]
        assert "what Ada said" not in caplog.text + str(result.traceback)

    def test_a_database_that_is_away_is_worth_a_retry(self) -> None:
        def away() -> None:
            raise OperationalError("gone")

        result = self.apply(away)
        assert result.result.retryable

    def test_a_word_of_celery_s_is_passed_on(self) -> None:
        from celery.exceptions import Ignore

        def ignored() -> None:
            raise Ignore()

        assert self.apply(ignored).state == "IGNORED"

    def test_progress_is_told(self) -> None:
        def works() -> bool:
            registration.report({"done": 1})
            return registration.is_in_worker()

        with mock.patch("celery.app.task.Task.update_state") as told:
            result = self.apply(works)
        assert result.result is True
        told.assert_called_once_with(state="PROGRESS", meta={"done": 1})
        registration.report({"done": 2})
        assert not registration.is_in_worker()


class TestSending:
    @pytest.fixture
    def app(self) -> Any:
        celery = pytest.importorskip("celery")
        app = celery.Celery("test", set_as_current=False, broker="amqp://127.0.0.1:9//")
        app.conf.broker_connection_timeout = 1
        app.conf.task_publish_retry = False
        with mock.patch.object(celery, "current_app", app):
            yield app

    def test_a_broker_that_is_not_there(self, app: Any) -> None:
        with pytest.raises(WorkerUnavailableError):
            runners.send(runners.ANSWER, "1")

    def test_run_at_once_where_celery_is_told_so(self, app: Any) -> None:
        app.conf.task_always_eager = True
        done: list[str] = []

        def answer(turn_id: str) -> None:
            done.append(turn_id)

        app.task(answer, name="tests.answer")
        runners.send("tests.answer", "1")
        assert done == ["1"]


if django.VERSION >= (6, 0):

    @pytest.mark.django_db
    def test_django_s_own_tasks_may_run_them() -> None:
        result = import_module("tests.tasks.django_tasks").watch_costs.enqueue()
        assert (result.status, result.return_value) == ("SUCCESSFUL", {})
