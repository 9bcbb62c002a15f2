"""Every setting: its default, that it is read live, and the choices made from several."""

import re
from decimal import Decimal
from typing import Any

import pytest
import regex
from django.test import override_settings
from pytest_django import Settings

from django_chatgpt.conf import DEFAULT_BASE_URL, FAMILIES, SETTINGS, Conf, Price, conf
from django_chatgpt.conf.values import Budget, RateLimit
from django_chatgpt.exceptions import NotConfiguredError

# attribute: (default as read, another raw value, that value as read)
TABLE: dict[str, tuple[object, object, object]] = {
    "api_key": (None, None, None),
    "organization": (None, "org-1", "org-1"),
    "base_url": (DEFAULT_BASE_URL, "http://127.0.0.1:8080/v1", "http://127.0.0.1:8080/v1"),
    "api_choice": ("auto", "chat", "chat"),
    "default_model": ("gpt-6-luna", "gpt-6-sol", "gpt-6-sol"),
    "fallback_models": ((), ["a", "b"], ("a", "b")),
    "embedding_model": ("text-embedding-3-small", "e", "e"),
    "moderation_model": (None, "omni-moderation-latest", "omni-moderation-latest"),
    "max_tokens": (4096, None, None),
    "temperature": (None, 1, 1.0),
    "timeout": (60.0, 5, 5.0),
    "max_retries": (3, 0, 0),
    "breaker_failures": (5, 0, 0),
    "breaker_seconds": (30.0, 0.5, 0.5),
    "context_window": ({}, {"m": 8192}, {"m": 8192}),
    "token_buffer": (500, 0, 0),
    "max_message_chars": (200_000, 10, 10),
    "summarize_history": (False, True, True),
    "enable_caching": (True, False, False),
    "cache_ttl": (3600, 60, 60),
    "content_filter": (True, False, False),
    "allowed_topics": ((), ("tea",), ("tea",)),
    "forbidden_patterns": ((), ["a+", re.compile("b")], (regex.compile("a+"), regex.compile("b"))),
    "classifier_model": (None, "gpt-6-nano", "gpt-6-nano"),
    "moderate_output": (False, True, True),
    "filter_failure": ("closed", "open", "open"),
    "max_tool_steps": (8, 1, 1),
    "tool_timeout": (30.0, 0.5, 0.5),
    "approval_timeout": (86_400.0, 60, 60.0),
    "on_disconnect": ("continue", "drain", "drain"),
    "turn_timeout": (600.0, None, None),
    "turn_lease": (30.0, 3, 3.0),
    "turn_runner": ("inline", "celery", "celery"),
    "queue_patience": (300.0, 5, 5.0),
    "wake_url": (None, "redis://127.0.0.1:6379/1", "redis://127.0.0.1:6379/1"),
    "event_retention": (86_400, 0, 0),
    "archive_after": (None, 90, 90),
    "delete_after": (None, 365, 365),
    "embedding_retention": (None, 30, 30),
    "prices": (
        {},
        {"m": {"input": "0.10", "output": 1}},
        {"m": Price(Decimal("0.10"), Decimal("0.10"), Decimal(1))},
    ),
    "daily_cost_threshold": (None, "20", Decimal(20)),
    "monthly_cost_threshold": (None, Decimal("0.5"), Decimal("0.5")),
    "rate_limits": ((), {"user": "20/m"}, (RateLimit("user", 20, 60),)),
    "budgets": (
        (),
        [{"scope": "site", "period": "day", "limit": "5.00"}],
        (Budget("site", "day", Decimal("5.00")),),
    ),
    "adapter": (None, "collections.OrderedDict", __import__("collections").OrderedDict),
    "vector_backend": (None, "decimal.Decimal", Decimal),
    "vector_memory": (1024, 8, 8),
    "api_docs": (False, True, True),
}
NAMES = {"api_choice": "OPENAI_API"}


def name_of(attribute: str) -> str:
    return NAMES.get(attribute, f"OPENAI_{attribute.upper()}")


def unset(settings: Settings, name: str) -> None:
    if hasattr(settings, name):
        delattr(settings, name)


def test_the_table_here_names_every_setting_there_is() -> None:
    assert {name_of(attribute) for attribute in TABLE} == set(SETTINGS)


@pytest.mark.parametrize("attribute", TABLE)
def test_default(attribute: str, settings: Settings) -> None:
    unset(settings, name_of(attribute))
    value = getattr(conf, attribute)
    assert value == TABLE[attribute][0]
    assert type(value) is type(TABLE[attribute][0]) or attribute in {"context_window", "prices"}


@pytest.mark.parametrize("attribute", TABLE)
def test_read_live(attribute: str, settings: Settings) -> None:
    unset(settings, name_of(attribute))
    default, raw, value = TABLE[attribute]
    for _ in range(2):
        with override_settings(**{name_of(attribute): raw}):
            assert getattr(conf, attribute) == value
        assert getattr(conf, attribute) == default


def test_a_direct_assignment_counts_at_once(settings: Settings) -> None:
    settings.OPENAI_TIMEOUT = 5
    assert conf.timeout == 5
    settings.OPENAI_TIMEOUT = 6
    assert conf.timeout == 6


def test_a_value_that_equals_the_last_but_is_of_another_type_is_read_anew(settings: Settings) -> None:
    settings.OPENAI_MAX_RETRIES = 1
    assert conf.max_retries == 1
    settings.OPENAI_MAX_RETRIES = True
    with pytest.raises(NotConfiguredError, match="is of type bool"):
        _ = conf.max_retries


def test_a_structured_value_is_parsed_once_for_one_object(settings: Settings) -> None:
    settings.OPENAI_PRICES = {"m": {"input": "1"}}
    first = conf.prices
    assert conf.prices is first
    settings.OPENAI_PRICES = {"m": {"input": "1"}}
    assert conf.prices is not first
    assert conf.prices == first


def test_what_is_read_cannot_be_changed(settings: Settings) -> None:
    settings.OPENAI_PRICES = {"m": {"input": "1"}}
    prices: Any = conf.prices
    with pytest.raises(TypeError):
        prices["m"] = None
    with pytest.raises(AttributeError):
        prices["m"].input = Decimal(2)
    changeable: Any = conf
    with pytest.raises(AttributeError, match="OPENAI_TIMEOUT belongs to the Django settings"):
        changeable.timeout = 5


def test_a_malformed_value_is_an_error_each_time_and_forgotten_once_mended(settings: Settings) -> None:
    settings.OPENAI_TIMEOUT = 0
    for _ in range(2):
        with pytest.raises(NotConfiguredError, match=r"^OPENAI_TIMEOUT is 0; it must be a number of seconds"):
            _ = conf.timeout
    settings.OPENAI_TIMEOUT = 1
    assert conf.timeout == 1.0


def test_every_setting_has_a_check_a_sentence_and_a_place() -> None:
    assert all(re.fullmatch(r"django_chatgpt\.E\d{3}", each.check_id) for each in SETTINGS.values())
    assert all(each.meaning.endswith(".") and "|" not in each.meaning for each in SETTINGS.values())
    assert len({family.check_id for family in FAMILIES}) == len(FAMILIES)
    assert all(
        vars(owner)[attribute].name == name_of(attribute)
        for attribute in TABLE
        for owner in owners(attribute)
    )


def owners(attribute: str) -> list[type]:
    found = [family for family in FAMILIES if attribute in vars(family)]
    assert len(found) == 1
    return list(found)


class TestEnvironment:
    @pytest.mark.parametrize(
        ("attribute", "variable", "text"),
        [
            ("organization", "OPENAI_ORG_ID", "org-2"),
            ("base_url", "OPENAI_BASE_URL", "http://localhost:1/v1"),
        ],
    )
    def test_answers_where_the_settings_are_silent(
        self,
        attribute: str,
        variable: str,
        text: str,
        settings: Settings,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        unset(settings, name_of(attribute))
        monkeypatch.setenv(variable, text)
        assert getattr(conf, attribute) == text
        monkeypatch.delenv(variable)
        assert getattr(conf, attribute) == TABLE[attribute][0]

    def test_the_key(self, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
        unset(settings, "OPENAI_API_KEY")
        monkeypatch.setenv("OPENAI_API_KEY", "sk-from-outside")
        assert conf.require_api_key().get_secret_value() == "sk-from-outside"

    def test_a_setting_that_is_none_keeps_the_environment_out(
        self, settings: Settings, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("OPENAI_API_KEY", "sk-from-outside")
        settings.OPENAI_API_KEY = None
        assert conf.api_key is None

    def test_a_malformed_variable_is_named_as_one(
        self, settings: Settings, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        unset(settings, "OPENAI_ORGANIZATION")
        monkeypatch.setenv("OPENAI_ORG_ID", "two words")
        with pytest.raises(
            NotConfiguredError, match=r"^The environment variable OPENAI_ORG_ID has white space"
        ):
            _ = conf.organization

    def test_other_settings_don_t_come_from_it(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("OPENAI_TIMEOUT", "1")
        assert conf.timeout == 60.0


class TestKey:
    @pytest.mark.parametrize("blank", [None, ""])
    def test_none_and_an_empty_text_are_no_key(self, blank: str | None, settings: Settings) -> None:
        settings.OPENAI_API_KEY = blank
        assert conf.api_key is None
        with pytest.raises(NotConfiguredError, match="OPENAI_API_KEY is neither in the Django settings nor"):
            conf.require_api_key()

    def test_a_key_is_revealed_on_demand_only(self, settings: Settings) -> None:
        settings.OPENAI_API_KEY = "sk-1"
        key = conf.require_api_key()
        assert key.get_secret_value() == "sk-1"
        assert "sk-1" not in f"{key} {key!r}"


class TestApi:
    @pytest.mark.parametrize(
        ("choice", "base_url", "dialect"),
        [
            ("auto", None, "responses"),
            ("auto", "", "responses"),
            ("auto", "https://api.openai.com/v1", "responses"),
            ("auto", "https://API.OpenAI.com:443/v1/", "responses"),
            ("auto", "https://eu.api.openai.com/v1", "chat"),
            ("auto", "https://api.openai.com.example.org/v1", "chat"),
            ("auto", "http://127.0.0.1:8080/v1", "chat"),
            ("responses", "http://127.0.0.1:8080/v1", "responses"),
            ("chat", None, "chat"),
        ],
    )
    def test_dialect(self, choice: str, base_url: str | None, dialect: str, settings: Settings) -> None:
        settings.OPENAI_API = choice
        settings.OPENAI_BASE_URL = base_url
        assert conf.api == dialect

    def test_of_an_address_that_is_not_the_configured_one(self, settings: Settings) -> None:
        settings.OPENAI_BASE_URL = "http://127.0.0.1:8080/v1"
        assert conf.api_for("https://api.openai.com/v1") == "responses"


def test_the_class_gives_the_declarations_and_the_object_the_values() -> None:
    assert Conf.timeout is SETTINGS["OPENAI_TIMEOUT"]
    assert repr(Conf.timeout) == "<Setting OPENAI_TIMEOUT>"
    assert repr(conf) == "<django-chatgpt settings>"
