"""The key appears nowhere: not in a text, nor in the variables of a frame that a report would print."""

import copy
import logging
import traceback
from types import TracebackType
from typing import Any

import pytest
from django.core.management import call_command
from django.core.management.base import SystemCheckError
from django.test import RequestFactory
from django.views.debug import ExceptionReporter
from pydantic_core import to_json
from pytest_django import Settings

from django_chatgpt import checks
from django_chatgpt.conf import SETTINGS, Reading, conf
from django_chatgpt.exceptions import NotConfiguredError

urlpatterns: list[object] = []

KEY = "sk-proj-Zk4nKsQ0aVbT"

MALFORMED_KEYS: list[Any] = [f"{KEY}\n", f" {KEY}", f"{KEY}é", (KEY,), [KEY], {KEY: KEY}, KEY.encode()]
MISPLACED: list[tuple[str, Any]] = [
    ("OPENAI_ORGANIZATION", f"{KEY} {KEY}"),
    ("OPENAI_BASE_URL", KEY),
    ("OPENAI_BASE_URL", f"https://user:{KEY}@host/v1"),
    ("OPENAI_API", KEY),
    ("OPENAI_DEFAULT_MODEL", f"{KEY}\n"),
    ("OPENAI_FALLBACK_MODELS", KEY),
    ("OPENAI_TIMEOUT", KEY),
    ("OPENAI_CONTENT_FILTER", KEY),
    ("OPENAI_FORBIDDEN_PATTERNS", [f"({KEY}"]),
    ("OPENAI_DAILY_COST_THRESHOLD", KEY),
    ("OPENAI_RATE_LIMITS", {"user": KEY}),
    ("OPENAI_BUDGETS", [{"scope": KEY, "period": "day", "limit": "1"}]),
    ("OPENAI_ADAPTER", KEY),
]


@pytest.fixture(autouse=True)
def _no_pages(settings: Settings) -> None:
    settings.ROOT_URLCONF = __name__


def frames(trace: TracebackType | None) -> str:
    """The variables of every frame below the test's own, as a debugging tool prints them."""
    inner = [frame for frame, _ in traceback.walk_tb(trace)][1:]
    assert inner
    return "\n".join(f"{name} = {value!r}" for frame in inner for name, value in frame.f_locals.items())


@pytest.mark.parametrize("raw", MALFORMED_KEYS, ids=repr)
def test_a_malformed_key_is_refused_without_being_shown(
    raw: object, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    settings.OPENAI_API_KEY = raw
    with pytest.raises(NotConfiguredError) as caught:
        conf.require_api_key()
    report = ExceptionReporter(RequestFactory().get("/"), caught.type, caught.value, caught.tb)
    for shown in (
        str(caught.value),
        repr(caught.value),
        "".join(traceback.format_exception(caught.value)),
        frames(caught.tb),
        report.get_traceback_text(),
        caplog.text,
    ):
        assert KEY not in shown
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None


@pytest.mark.parametrize(("name", "raw"), MISPLACED)
def test_a_key_in_a_wrong_setting_is_not_shown_either(name: str, raw: object, settings: Settings) -> None:
    setattr(settings, name, raw)
    attribute = "api_choice" if name == "OPENAI_API" else name.removeprefix("OPENAI_").lower()
    with pytest.raises(NotConfiguredError) as caught:
        getattr(conf, attribute)
    assert KEY not in f"{caught.value} {caught.value!r} {frames(caught.tb)}"
    messages = checks.check_settings()
    assert name in str(messages)
    assert KEY not in "".join(f"{message} {message!r}" for message in messages)


@pytest.mark.django_db
def test_the_command_does_not_show_a_malformed_key(settings: Settings) -> None:
    settings.OPENAI_API_KEY = (KEY,)
    with pytest.raises(SystemCheckError) as failed:
        call_command("check")
    assert "django_chatgpt.E001" in str(failed.value)
    assert KEY not in str(failed.value)


def test_nothing_of_the_package_shows_a_good_key(settings: Settings) -> None:
    settings.OPENAI_API_KEY = KEY
    key = conf.require_api_key()
    reading = SETTINGS["OPENAI_API_KEY"].read()
    assert isinstance(reading, Reading)
    assert reading.value == key
    shown = [str(key), repr(key), f"{key}", "%s" % key, "%r" % (key,), repr({"key": key})]  # noqa: UP031
    shown += [repr(copy.deepcopy(key)), to_json({"key": key}).decode()]
    shown += [repr(conf), str(conf), repr(SETTINGS), repr(reading), str(reading), repr(vars(type(conf)))]
    assert all(KEY not in text for text in shown)


def test_an_error_of_another_setting_does_not_show_the_key_that_was_read_before(
    settings: Settings,
) -> None:
    settings.OPENAI_API_KEY = KEY
    assert conf.api_key is not None
    settings.OPENAI_API_KEY = (KEY,)
    with pytest.raises(NotConfiguredError) as caught:
        _ = conf.api_key
    assert KEY not in frames(caught.tb)
