"""What `manage.py check` says about the settings."""

from pathlib import Path
from typing import Any

import pytest
from django.apps import apps
from django.core.checks import CheckMessage, Error, Warning, registry
from pytest_django import Settings

from django_chatgpt.checks import CHECKS, check_prices, check_settings, nearest_name
from django_chatgpt.conf import NO_API_KEY, SETTINGS

MALFORMED: dict[str, tuple[object, str]] = {
    "OPENAI_API_KEY": (1, "E001"),
    "OPENAI_ORGANIZATION": (1, "E001"),
    "OPENAI_BASE_URL": ("host", "E001"),
    "OPENAI_API": ("soap", "E001"),
    "OPENAI_DEFAULT_MODEL": (None, "E002"),
    "OPENAI_FALLBACK_MODELS": ("gpt-6-sol", "E002"),
    "OPENAI_EMBEDDING_MODEL": ("", "E002"),
    "OPENAI_MODERATION_MODEL": (True, "E002"),
    "OPENAI_MAX_TOKENS": (0, "E003"),
    "OPENAI_TEMPERATURE": (3, "E003"),
    "OPENAI_TIMEOUT": (None, "E003"),
    "OPENAI_MAX_RETRIES": ("3", "E003"),
    "OPENAI_BREAKER_FAILURES": (-1, "E003"),
    "OPENAI_BREAKER_SECONDS": (0, "E003"),
    "OPENAI_CONTEXT_WINDOW": (8192, "E004"),
    "OPENAI_TOKEN_BUFFER": (-1, "E004"),
    "OPENAI_MAX_MESSAGE_CHARS": (0, "E004"),
    "OPENAI_SUMMARIZE_HISTORY": (1, "E004"),
    "OPENAI_ENABLE_CACHING": ("yes", "E005"),
    "OPENAI_CACHE_TTL": (-1, "E005"),
    "OPENAI_CONTENT_FILTER": (None, "E006"),
    "OPENAI_ALLOWED_TOPICS": ("tea", "E006"),
    "OPENAI_FORBIDDEN_PATTERNS": (["("], "E006"),
    "OPENAI_CLASSIFIER_MODEL": (1, "E006"),
    "OPENAI_MODERATE_OUTPUT": ("yes", "E006"),
    "OPENAI_FILTER_FAILURE": ("ajar", "E006"),
    "OPENAI_MAX_TOOL_STEPS": (0, "E007"),
    "OPENAI_TOOL_TIMEOUT": (0, "E007"),
    "OPENAI_APPROVAL_TIMEOUT": (0, "E007"),
    "OPENAI_ON_DISCONNECT": ("abort", "E008"),
    "OPENAI_TURN_TIMEOUT": (0, "E008"),
    "OPENAI_TURN_LEASE": (0, "E008"),
    "OPENAI_TURN_RUNNER": ("thread", "E008"),
    "OPENAI_QUEUE_PATIENCE": (0, "E008"),
    "OPENAI_WAKE_URL": ("http://host", "E008"),
    "OPENAI_EVENT_RETENTION": (-1, "E008"),
    "OPENAI_ARCHIVE_AFTER": (0, "E008"),
    "OPENAI_DELETE_AFTER": ("90", "E008"),
    "OPENAI_EMBEDDING_RETENTION": (0, "E008"),
    "OPENAI_PRICES": ({"m": {"input": 0.1}}, "E009"),
    "OPENAI_DAILY_COST_THRESHOLD": (1.5, "E009"),
    "OPENAI_MONTHLY_COST_THRESHOLD": ("-1", "E009"),
    "OPENAI_RATE_LIMITS": ({"user": "20"}, "E010"),
    "OPENAI_BUDGETS": ([{"scope": "user"}], "E010"),
    "OPENAI_ADAPTER": ("no_such_module.Adapter", "E011"),
    "OPENAI_VECTOR_BACKEND": ("decimal.getcontext", "E011"),
    "OPENAI_VECTOR_MEMORY": (0, "E011"),
    "OPENAI_API_DOCS": (1, "E012"),
}


@pytest.fixture(autouse=True)
def _well_configured(settings: Settings) -> None:
    settings.OPENAI_API_KEY = "sk-1"
    assert check_settings() == []


def only(messages: list[CheckMessage]) -> CheckMessage:
    [message] = messages
    return message


def test_the_check_is_registered() -> None:
    assert check_settings in registry.registry.get_checks()


@pytest.mark.parametrize("name", MALFORMED)
def test_malformed_value(name: str, settings: Settings) -> None:
    raw, check = MALFORMED[name]
    setattr(settings, name, raw)
    message = only(check_settings())
    assert isinstance(message, Error)
    assert message.id == f"django_chatgpt.{check}"
    assert message.msg.startswith(name)
    assert f"; it must be {SETTINGS[name].form.allowed.split(',')[0]}" in message.msg or "[" in message.msg
    assert message.hint == f"{SETTINGS[name].meaning} The default is {SETTINGS[name].default!r}."


def test_the_table_here_names_every_setting_and_every_error() -> None:
    assert set(MALFORMED) == set(SETTINGS)
    assert {f"django_chatgpt.{check}" for _, check in MALFORMED.values()} == {
        each for each in CHECKS if ".E0" in each
    }


def test_every_malformed_value_is_said_at_once(settings: Settings) -> None:
    for name, (raw, _) in MALFORMED.items():
        setattr(settings, name, raw)
    assert [message.msg.split("[")[0].split(" ")[0] for message in check_settings()] == list(SETTINGS)


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("OPENAI_KEY", "OPENAI_API_KEY"),
        ("OPENAI_APIKEY", "OPENAI_API_KEY"),
        ("OPENAI_MODEL", "OPENAI_DEFAULT_MODEL"),
        ("OPENAI_MAX_TOKEN", "OPENAI_MAX_TOKENS"),
        ("OPENAI_TEMPRATURE", "OPENAI_TEMPERATURE"),
        ("OPENAI_ORG_ID", "OPENAI_ORGANIZATION"),
        ("OPENAI_ORG", "OPENAI_ORGANIZATION"),
        ("OPENAI_CACHE_TIMEOUT", "OPENAI_CACHE_TTL"),
        ("OPENAI_RATE_LIMIT", "OPENAI_RATE_LIMITS"),
        ("OPENAI_PRICE", "OPENAI_PRICES"),
    ],
)
def test_unknown_name_with_a_near_one(name: str, nearest: str, settings: Settings) -> None:
    setattr(settings, name, "sk-value-never-shown")
    message = only(check_settings())
    assert isinstance(message, Warning)
    assert message.id == "django_chatgpt.W001"
    assert message.msg == f"{name} is no setting of django-chatgpt, so nothing reads it."
    assert message.hint == f"Did you mean {nearest}?"
    assert "never-shown" not in repr(message)


def test_unknown_name_like_no_other(settings: Settings) -> None:
    settings.OPENAI_ZZZ = 1
    message = only(check_settings())
    assert message.id == "django_chatgpt.W001"
    assert message.hint == "Remove it, or silence django_chatgpt.W001 if something else of the site reads it."


def test_names_of_others_are_theirs(settings: Settings) -> None:
    settings.OPENAIX = settings.MY_OPENAI_KEY = settings.OPEN_AI_KEY = 1
    assert check_settings() == []


@pytest.mark.parametrize("name", SETTINGS)
def test_the_nearest_name_of_a_misspelt_one(name: str) -> None:
    assert nearest_name(name + "X") == name


class TestMissingKey:
    @pytest.mark.parametrize("blank", [None, ""])
    def test_is_a_warning(self, blank: str | None, settings: Settings) -> None:
        settings.OPENAI_API_KEY = blank
        message = only(check_settings())
        assert isinstance(message, Warning)
        assert message.id == "django_chatgpt.W002"
        assert message.msg == NO_API_KEY
        assert message.hint

    def test_the_environment_will_do(self, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
        del settings.OPENAI_API_KEY
        assert only(check_settings()).id == "django_chatgpt.W002"
        monkeypatch.setenv("OPENAI_API_KEY", "sk-2")
        assert check_settings() == []

    def test_an_adapter_may_bring_one(self, settings: Settings) -> None:
        settings.OPENAI_API_KEY = None
        settings.OPENAI_ADAPTER = "collections.OrderedDict"
        assert check_settings() == []


def test_answers_that_nobody_judges(settings: Settings) -> None:
    settings.OPENAI_MODERATE_OUTPUT = True
    message = only(check_settings())
    assert isinstance(message, Warning)
    assert message.id == "django_chatgpt.W004"
    settings.OPENAI_MODERATION_MODEL = "omni-moderation-latest"
    assert check_settings() == []


def test_a_check_of_other_apps_says_nothing(settings: Settings) -> None:
    settings.OPENAI_TIMEOUT = -1
    assert check_settings([apps.get_app_config("auth")]) == []
    assert only(check_settings([apps.get_app_config("django_chatgpt")])).id == "django_chatgpt.E003"


@pytest.mark.django_db
def test_run_with_all_the_others(settings: Settings) -> None:
    settings.ROOT_URLCONF = __name__
    settings.OPENAI_TIMEOUT = -1
    found: list[Any] = registry.run_checks()
    assert [each.msg for each in found if str(each.id).startswith("django_chatgpt.E")] == [
        "OPENAI_TIMEOUT is -1; it must be a number of seconds above 0, at most 86400."
    ]


urlpatterns: list[object] = []


class TestUnsharedCache:
    """Rate limits want a cache that all processes share."""

    @pytest.mark.parametrize("backend", ["locmem.LocMemCache", "dummy.DummyCache"])
    def test_a_cache_of_each_process_is_warned_of(self, settings: Settings, backend: str) -> None:
        settings.OPENAI_RATE_LIMITS = {"user": "20/m"}
        settings.CACHES = {"default": {"BACKEND": f"django.core.cache.backends.{backend}"}}
        [message] = check_settings()
        assert message.id == "django_chatgpt.W003"
        assert backend.partition(".")[2] in message.msg

    def test_a_shared_one_is_not(self, settings: Settings, tmp_path: Path) -> None:
        settings.OPENAI_RATE_LIMITS = {"user": "20/m"}
        files = "django.core.cache.backends.filebased.FileBasedCache"
        settings.CACHES = {"default": {"BACKEND": files, "LOCATION": str(tmp_path)}}
        assert check_settings() == []

    @pytest.mark.parametrize("limits", [{}, {"user": "often"}])
    def test_nor_one_that_nothing_is_counted_in(self, settings: Settings, limits: dict[str, str]) -> None:
        settings.OPENAI_RATE_LIMITS = limits
        assert "django_chatgpt.W003" not in {message.id for message in check_settings()}

    def test_a_cache_that_there_is_not(self, settings: Settings) -> None:
        settings.OPENAI_RATE_LIMITS = {"user": "20/m"}
        settings.CACHES = {"default": {"BACKEND": "nowhere.Cache"}}
        assert check_settings() == []


class TestUnpricedModels:
    """Only where a deployment is checked, since the price list is large."""

    @pytest.fixture(autouse=True)
    def _at_openai(self, settings: Settings) -> None:
        settings.OPENAI_BASE_URL = None

    def test_it_belongs_to_the_deployment(self) -> None:
        assert check_prices in registry.registry.deployment_checks
        assert check_prices not in registry.registry.get_checks()

    def test_known_ones(self, settings: Settings) -> None:
        settings.OPENAI_DEFAULT_MODEL = "gpt-6-luna"
        settings.OPENAI_FALLBACK_MODELS = ["gpt-6-luna", "gpt-5.4-mini"]
        settings.OPENAI_EMBEDDING_MODEL = "text-embedding-3-small"
        assert check_prices() == []

    def test_unknown_ones(self, settings: Settings) -> None:
        settings.OPENAI_DEFAULT_MODEL = "mine"
        settings.OPENAI_FALLBACK_MODELS = ["gpt-6-luna", "mine", "yours"]
        settings.OPENAI_CLASSIFIER_MODEL = "judge"
        settings.OPENAI_EMBEDDING_MODEL = "embedder"
        messages = check_prices()
        assert {message.id for message in messages} == {"django_chatgpt.W005"}
        assert [message.msg.partition(" has")[0] for message in messages] == [
            "mine in OPENAI_DEFAULT_MODEL",
            "yours in OPENAI_FALLBACK_MODELS",
            "judge in OPENAI_CLASSIFIER_MODEL",
            "embedder in OPENAI_EMBEDDING_MODEL",
        ]
        assert messages[0].msg.endswith("so its calls are in the ledger without a cost.")
        settings.OPENAI_BUDGETS = [{"scope": "site", "period": "day", "limit": "1"}]
        assert check_prices()[0].msg.endswith("without a cost, and OPENAI_BUDGETS refuse it.")
        prices = {name: {"input": "0", "output": "0"} for name in ("mine", "yours", "judge")}
        settings.OPENAI_PRICES = {**prices, "embedder": {"input": "0"}}
        assert check_prices() == []

    def test_a_price_of_input_alone_is_none_for_answers(self, settings: Settings) -> None:
        settings.OPENAI_DEFAULT_MODEL = "mine"
        settings.OPENAI_PRICES = {"mine": {"input": "1"}}
        assert only(check_prices()).id == "django_chatgpt.W005"

    def test_another_server_has_no_list(self, settings: Settings) -> None:
        settings.OPENAI_BASE_URL = "http://localhost:8000/v1"
        assert only(check_prices()).msg.startswith("gpt-6-luna in OPENAI_DEFAULT_MODEL")

    @pytest.mark.parametrize("name", ["OPENAI_PRICES", "OPENAI_DEFAULT_MODEL"])
    def test_malformed_ones_are_errors_of_the_other_check(self, name: str, settings: Settings) -> None:
        setattr(settings, name, None if name == "OPENAI_DEFAULT_MODEL" else {"m": 1})
        assert check_prices() == []

    def test_a_check_of_other_apps_says_nothing(self, settings: Settings) -> None:
        settings.OPENAI_DEFAULT_MODEL = "mine"
        assert check_prices([apps.get_app_config("auth")]) == []


def test_workers_that_there_cannot_be(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.OPENAI_TURN_RUNNER = "celery"
    monkeypatch.setattr("django_chatgpt.checks.find_spec", lambda name: None)
    message = only(check_settings())
    assert isinstance(message, Error)
    assert message.id == "django_chatgpt.E301"
    assert "pip install 'django-chatgpt[celery]'" in str(message.hint)
    monkeypatch.setattr("django_chatgpt.checks.find_spec", lambda name: message)
    assert check_settings() == []
