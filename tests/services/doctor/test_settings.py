"""Each diagnosis of the settings: where it fires, and where it does not."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from datetime import UTC, date, datetime
from types import SimpleNamespace
from typing import Any
from unittest import mock

import pytest
from django.test import override_settings
from django.utils.decorators import sync_only_middleware

from django_chatgpt.adapter import Adapter
from django_chatgpt.services import doctor
from django_chatgpt.services.doctor import Finding, Level, Site, models, workers
from django_chatgpt.services.doctor.retirements import retired_on

pytestmark = pytest.mark.django_db

WSGI, ASGI = Site("wsgi"), Site("asgi")
PAIR = Site("asgi", workers=2)
LAYER = {"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}}
REDIS_LAYER = {"default": {"BACKEND": "channels_redis.core.RedisChannelLayer"}}
LOCMEM = {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}}
DUMMY = {"default": {"BACKEND": "django.core.cache.backends.dummy.DummyCache"}}
FILES = {"default": {"BACKEND": "django.core.cache.backends.filebased.FileBasedCache", "LOCATION": "/tmp"}}
HERE = "tests.services.doctor.test_settings"
OPENAI = {"OPENAI_BASE_URL": "https://api.openai.com/v1"}


@sync_only_middleware
def slow_middleware(get_response: Any) -> Any:
    return get_response


def gzipping_middleware(get_response: Any) -> Any:
    return get_response


gzipping_middleware.async_capable = True  # type: ignore[attr-defined]


class Telling(Adapter):
    def alert_recipients(self, alert: Any) -> list[str]:
        return ["ops@example.com"]


def look(subject: str, site: Site, **settings: Any) -> list[Finding]:
    [diagnosis] = [each for each in doctor.DIAGNOSES if each.id == subject]
    with override_settings(**settings):
        return list(diagnosis.look(site))


BUDGETS = [{"scope": "site", "period": "day", "limit": "1"}]
CASES: list[tuple[str, Site, Level | None, dict[str, Any]]] = [
    ("settings", WSGI, Level.ERROR, {"OPENAI_TIMEOUT": -1}),
    ("settings", WSGI, Level.WARNING, {"OPENAI_MODLE": "x"}),
    ("settings", WSGI, None, {}),
    ("key", WSGI, Level.ERROR, {"OPENAI_API_KEY": None}),
    ("key", WSGI, None, {"OPENAI_API_KEY": None, "OPENAI_ADAPTER": "django_chatgpt.adapter.Adapter"}),
    ("server", WSGI, Level.INFO, {}),
    ("server", ASGI, Level.ERROR, {"ASGI_APPLICATION": "nowhere.application"}),
    ("server", ASGI, None, {}),
    ("gzip", WSGI, Level.INFO, {"MIDDLEWARE": ["django.middleware.gzip.GZipMiddleware"]}),
    ("gzip", WSGI, Level.WARNING, {"MIDDLEWARE": [f"{HERE}.gzipping_middleware"]}),
    ("gzip", WSGI, None, {}),
    ("middleware", ASGI, Level.WARNING, {"MIDDLEWARE": [f"{HERE}.slow_middleware"]}),
    ("middleware", WSGI, Level.ERROR, {"MIDDLEWARE": ["nowhere.Middleware"]}),
    ("middleware", WSGI, None, {"MIDDLEWARE": [f"{HERE}.slow_middleware"]}),
    ("middleware", ASGI, None, {}),
    ("cache", WSGI, Level.WARNING, {"CACHES": LOCMEM, "OPENAI_RATE_LIMITS": {"user": "1/m"}}),
    ("cache", WSGI, Level.WARNING, {"CACHES": DUMMY, "OPENAI_RATE_LIMITS": {"user": "1/m"}}),
    ("cache", PAIR, Level.INFO, {"CACHES": LOCMEM}),
    ("cache", WSGI, Level.INFO, {"CACHES": DUMMY}),
    ("cache", WSGI, Level.ERROR, {"CACHES": {"default": {"BACKEND": "nowhere.Cache"}}}),
    ("cache", WSGI, None, {"CACHES": LOCMEM}),
    ("cache", PAIR, None, {"CACHES": FILES, "OPENAI_RATE_LIMITS": {"user": "1/m"}}),
    ("prices", WSGI, Level.WARNING, {"OPENAI_DEFAULT_MODEL": "own-model"}),
    ("prices", WSGI, Level.ERROR, {"OPENAI_DEFAULT_MODEL": "own-model", "OPENAI_BUDGETS": BUDGETS}),
    ("prices", WSGI, None, {"OPENAI_PRICES": {"gpt-6-luna": {"input": "1", "output": "1"}}}),
    ("vocabulary", WSGI, Level.INFO, {"OPENAI_DEFAULT_MODEL": "own-model"}),
    ("vocabulary", WSGI, None, {}),
    ("mail", WSGI, Level.INFO, {"OPENAI_DAILY_COST_THRESHOLD": "5"}),
    ("mail", WSGI, None, {}),
    ("mail", WSGI, None, {"OPENAI_ADAPTER": "nowhere.Adapter"}),
]


@pytest.mark.parametrize(("subject", "site", "level", "settings"), CASES, ids=str)
def test_what_fires_and_what_does_not(
    subject: str, site: Site, level: Level | None, settings: dict[str, Any]
) -> None:
    found = look(subject, site, **settings)
    assert [each.level for each in found] == ([] if level is None else [level])
    assert all(each.what and each.why and each.mend for each in found)


def test_no_vocabulary(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("django_chatgpt.services.tokens.is_exact", lambda model: False)
    [found] = look("vocabulary", WSGI)
    assert found.level is Level.WARNING


@pytest.mark.parametrize(
    ("site", "age", "fires"), [(ASGI, 60, True), (ASGI, None, True), (ASGI, 0, False), (WSGI, 60, False)]
)
def test_connections_that_live_on(
    site: Site, age: int | None, fires: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    databases = {"default": {"CONN_MAX_AGE": age, "PASSWORD": "secret"}}
    monkeypatch.setattr(
        "django_chatgpt.services.doctor.database.settings", SimpleNamespace(DATABASES=databases)
    )
    assert bool(look("connections", site)) is fires


@pytest.mark.parametrize(
    ("mailers", "fires"),
    [
        ({"MAILERS": {"default": {"BACKEND": "django.core.mail.backends.console.EmailBackend"}}}, True),
        ({"MAILERS": {"default": {"BACKEND": "django.core.mail.backends.smtp.EmailBackend"}}}, False),
        ({"EMAIL_BACKEND": "django.core.mail.backends.dummy.EmailBackend"}, True),
        ({"EMAIL_BACKEND": "anymail.backends.mailgun.EmailBackend"}, False),
    ],
)
def test_mail_that_goes_nowhere(
    mailers: dict[str, Any], fires: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("django_chatgpt.services.doctor.mail.settings", SimpleNamespace(**mailers))
    assert bool(look("mail", WSGI, OPENAI_ADAPTER=f"{HERE}.Telling")) is fires


def celery_of(**conf: Any) -> Callable[[], Any]:
    app = mock.MagicMock()
    app.conf = SimpleNamespace(**{"task_always_eager": False, **conf})
    return lambda: app


@pytest.fixture
def everything_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: object())
    monkeypatch.setattr(workers, "_app", celery_of())


@pytest.fixture
def nothing_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)


@pytest.fixture
def in_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Site, "runs_in_celery", True)


@pytest.mark.parametrize(
    ("site", "level", "layers"),
    [
        (WSGI, Level.INFO, LAYER),
        (PAIR, Level.WARNING, LAYER),
        (WSGI, Level.WARNING, {"other": {}}),
        (PAIR, None, REDIS_LAYER),
        (PAIR, None, {}),
    ],
    ids=["one process", "several", "no default", "redis", "not used"],
)
def test_channel_layers(
    site: Site, level: Level | None, layers: dict[str, Any], everything_installed: None
) -> None:
    found = look("channel-layer", site, CHANNEL_LAYERS=layers)
    assert [each.level for each in found] == ([] if level is None else [level])


def test_without_the_extras_what_needs_them_says_which(nothing_installed: None, in_workers: None) -> None:
    [found, _] = look("channel-layer", WSGI, CHANNEL_LAYERS=LAYER)
    assert "django-chatgpt[channels]" in found.mend
    [found] = look("celery", WSGI)
    assert "django-chatgpt[celery]" in found.mend
    assert look("broker", WSGI) == []


def test_without_celery_nothing_is_missed(nothing_installed: None) -> None:
    assert look("celery", WSGI) == look("broker", WSGI) == []


def test_eager_tasks(everything_installed: None, monkeypatch: pytest.MonkeyPatch) -> None:
    assert look("celery", WSGI) == []
    assert [each.level for each in look("celery", WSGI, CELERY_TASK_ALWAYS_EAGER=True)] == [Level.WARNING]
    monkeypatch.setattr(workers, "_app", celery_of(task_always_eager=True))
    assert [each.level for each in look("celery", WSGI)] == [Level.WARNING]
    monkeypatch.setattr(Site, "runs_in_celery", True)
    assert [each.level for each in look("celery", WSGI)] == [Level.ERROR]
    assert look("broker", WSGI) == []


def test_a_broker_that_is_there_and_one_that_is_not(
    everything_installed: None, in_workers: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = celery_of()()
    monkeypatch.setattr(workers, "_app", lambda: app)
    app.control.inspect.return_value.ping.return_value = {"celery@here": {"ok": "pong"}}
    assert look("broker", WSGI) == []
    app.control.inspect.return_value.ping.return_value = None
    assert [each.level for each in look("broker", WSGI)] == [Level.WARNING]
    app.connection_for_write.side_effect = OSError("amqp://guest:secret@nowhere")
    [found] = look("broker", WSGI)
    assert found.level is Level.ERROR
    assert "secret" not in str(found)


def test_a_real_broker_that_is_not_there(in_workers: None, monkeypatch: pytest.MonkeyPatch) -> None:
    celery = pytest.importorskip("celery")
    app = celery.Celery(broker="amqp://guest:secret@127.0.0.1:9//")
    monkeypatch.setattr(workers, "_app", lambda: app)
    with warnings.catch_warnings(action="ignore"):
        [found] = look("broker", WSGI)
    assert "can't be reached" in found.what


@pytest.mark.parametrize(
    ("model", "day", "level"),
    [
        ("gpt-5-mini", date(2026, 12, 10), Level.WARNING),
        ("gpt-5-mini-2025-08-07", date(2026, 12, 11), Level.ERROR),
        ("gpt-4o", date(2026, 6, 1), Level.INFO),
        ("gpt-6-luna", date(2026, 12, 11), None),
    ],
)
def test_models_that_are_switched_off(
    model: str, day: date, level: Level | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = datetime(day.year, day.month, day.day, 12, tzinfo=UTC)
    monkeypatch.setattr(models.timezone, "now", lambda: now)
    found = look("retired", WSGI, OPENAI_DEFAULT_MODEL=model, **OPENAI)
    assert [each.level for each in found] == ([] if level is None else [level])
    assert look("retired", WSGI, OPENAI_DEFAULT_MODEL=model, OPENAI_BASE_URL="http://localhost:1/v1") == []


def test_a_version_of_a_model_may_go_before_it() -> None:
    assert retired_on("gpt-4o-2024-05-13") == date(2026, 10, 23)
    assert retired_on("openai/gpt-4o-2024-08-06") == date(2027, 1, 14)
    assert retired_on("ft:gpt-4o-mini:acme::x") == date(2027, 1, 14)
    assert retired_on("llama") is None


def test_what_the_site_is_taken_for(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Site.of_settings() == Site("wsgi", 1)
    monkeypatch.setenv("WEB_CONCURRENCY", "3")
    with override_settings(ASGI_APPLICATION="example.asgi.application"):
        assert Site.of_settings() == Site("asgi", 3)
        assert Site.of_settings("wsgi", 8, offline=True) == Site("wsgi", 8, True)


def test_daphne_without_an_application() -> None:
    site = SimpleNamespace(INSTALLED_APPS=["daphne"], WSGI_APPLICATION=None)
    with mock.patch("django_chatgpt.services.doctor.servers.settings", site):
        assert [each.level for each in look("server", WSGI)] == [Level.WARNING, Level.INFO]
