"""The pages about workers say what the code says."""

from __future__ import annotations

import inspect
import re
from typing import Any

import django
import pytest
from django.core.management import get_commands
from pytest_django import Settings

from django_chatgpt import tasks
from django_chatgpt.functions import function_registry
from django_chatgpt.models import AITurn
from django_chatgpt.schedule import BEAT_SCHEDULE
from django_chatgpt.services import runners
from django_chatgpt.tasks import registration
from tests.docs.test_snippets import DOCS, snippets

TEXT = (DOCS / "reference/tasks.md").read_text(encoding="utf-8")
PAGE = "how-to/celery.md"


def called(name: str) -> str:
    """The task as it is called."""
    run = getattr(getattr(tasks, name), "run", getattr(tasks, name))
    function: Any = inspect.unwrap(getattr(run, "__func__", run))
    parameters = inspect.signature(function).parameters.values()
    shown = [
        each.name if each.default is each.empty else f"{each.name}={each.default!r}" for each in parameters
    ]
    return f"{name}({', '.join(shown)})"


def test_the_table_has_each_task_with_its_arguments() -> None:
    rows = re.findall(r"^\| `(\w+\([^`]*\))` \|", TEXT, re.MULTILINE)
    assert sorted(rows) == sorted(called(name) for name in tasks.__all__)


def test_the_commands_exist() -> None:
    named = set(re.findall(r"`(chatgpt_\w+)", TEXT))
    assert named
    assert named <= set(get_commands())


def test_the_figures() -> None:
    assert f"{registration.SOFT_LIMIT:,} seconds" in TEXT
    assert registration.HARD_LIMIT - registration.SOFT_LIMIT == 60
    assert f"at most {registration.MOST_RETRIES} times" in TEXT
    assert f"after 2, 4, 8 … up to {registration.LAST_PAUSE:.0f}" in TEXT
    assert registration.FIRST_PAUSE == 2


def test_the_page_runs(user: Any, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    celery = pytest.importorskip("celery")
    given: dict[str, Any] = {"request": type("Request", (), {"user": user})}
    site, switch, leave, own = snippets(PAGE)
    current = celery.current_app._get_current_object()
    try:
        exec(site, given)
        assert given["app"].conf.beat_schedule == BEAT_SCHEDULE
        exec(switch, given)
        settings.OPENAI_TURN_RUNNER = given["OPENAI_TURN_RUNNER"]
        monkeypatch.setattr(runners, "send", lambda *args, **options: None)
        exec(leave, given)
        assert isinstance(given["turn"], AITurn)
        assert given["turn"].status == "queued"
    finally:
        given["app"].close()
        current.set_current()
    if django.VERSION >= (6, 0):
        compile(own, PAGE, "exec")


def test_the_snippet_of_the_reference_runs(user: Any, capsys: pytest.CaptureFixture[str]) -> None:
    def get_weather(city: str) -> dict[str, str]:
        """The weather of a city."""
        return {"city": city, "sky": "rain"}

    function_registry.register(get_weather)
    [code] = snippets("reference/tasks.md")
    exec(code, {"request": type("Request", (), {"user": user})})
    assert capsys.readouterr().out == 'completed {"city":"Bergen","sky":"rain"}\n'
