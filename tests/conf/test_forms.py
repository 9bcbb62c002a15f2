"""What each setting refuses, word for word, where it is used."""

import re
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pytest_django import Settings

from django_chatgpt.conf import SETTINGS, Problem, conf
from django_chatgpt.conf.forms import Malformed
from django_chatgpt.conf.scalars import duration, header_value, integer, money, number, text, url
from django_chatgpt.exceptions import NotConfiguredError

BEYOND = 10**5000  # its repr is an error, and so is making it a float

PRICE = 'a dict with "input" and, where they apply, "cached_input" and "output"'
USD = 'an amount in USD from 0 to below a billion, as a string such as "0.10"'
SCOPE = '"user", "site" or "group:NAME"'

REFUSED: list[tuple[str, object, str]] = [
    (
        "OPENAI_API_KEY",
        5,
        "is of type int; it must be None or a text of visible ASCII characters, without white",
    ),
    (
        "OPENAI_API_KEY",
        "sk-x\n",
        "has white space or characters outside ASCII in it; it must be None or a text",
    ),
    (
        "OPENAI_API_KEY",
        "sk-\u00e9",
        "has white space or characters outside ASCII in it; it must be None or a text",
    ),
    (
        "OPENAI_ORGANIZATION",
        "a\r\nX-Evil: 1",
        "has white space or characters outside ASCII in it; it must be None",
    ),
    (
        "OPENAI_BASE_URL",
        "api.openai.com",
        "is no http URL with a host; it must be None or an http or https URL",
    ),
    ("OPENAI_BASE_URL", "ftp://host/", "is no http URL with a host;"),
    ("OPENAI_BASE_URL", "https://", "is no http URL with a host;"),
    ("OPENAI_BASE_URL", "http://host:port/", "is no URL;"),
    ("OPENAI_BASE_URL", "http://[::1/", "is no URL;"),
    ("OPENAI_BASE_URL", "https://me:pw@host/v1", "holds a user or password;"),
    ("OPENAI_BASE_URL", "https://host/v1?key=1", "has a query or fragment;"),
    ("OPENAI_BASE_URL", " http://host", "has white space or characters outside ASCII in it;"),
    ("OPENAI_API", "Chat", 'is some other text; it must be "auto", "responses" or "chat".'),
    ("OPENAI_API", None, 'is None; it must be "auto", "responses" or "chat".'),
    ("OPENAI_DEFAULT_MODEL", "", "is empty; it must be a text that is not empty."),
    ("OPENAI_DEFAULT_MODEL", None, "is None; it must be a text that is not empty."),
    ("OPENAI_DEFAULT_MODEL", "gpt ", "has white space around it or characters that do not print;"),
    ("OPENAI_EMBEDDING_MODEL", "a\x00b", "has white space around it or characters that do not print;"),
    ("OPENAI_MODERATION_MODEL", True, "is of type bool; it must be None or a text that is not empty."),
    ("OPENAI_FALLBACK_MODELS", "gpt-6-sol", "is of type str; it must be a list of model names."),
    ("OPENAI_FALLBACK_MODELS", ["a", None], "[1] is None; it must be a text that is not empty."),
    ("OPENAI_MAX_TOKENS", 0, "is 0; it must be None or a whole number from 1 to 2147483647."),
    ("OPENAI_MAX_TOKENS", "4096", "is of type str; it must be None or a whole number"),
    ("OPENAI_MAX_TOKENS", 1.5, "is of type float; it must be None or a whole number"),
    ("OPENAI_MAX_TOKENS", BEYOND, "is far out of range; it must be None or a whole number"),
    ("OPENAI_TEMPERATURE", 2.1, "is 2.1; it must be None or a number from 0 to 2."),
    ("OPENAI_TEMPERATURE", float("nan"), "is not finite or far out of range;"),
    ("OPENAI_TEMPERATURE", True, "is of type bool;"),
    ("OPENAI_TIMEOUT", None, "is None; it must be a number of seconds above 0, at most 86400."),
    ("OPENAI_TIMEOUT", 0, "is 0; it must be a number of seconds above 0, at most 86400."),
    ("OPENAI_TIMEOUT", float("inf"), "is not finite or far out of range;"),
    ("OPENAI_TIMEOUT", BEYOND, "is not finite or far out of range;"),
    ("OPENAI_EVENT_RETENTION", -1, "is -1; it must be a whole number from 0 to 2147483647."),
    ("OPENAI_TURN_RUNNER", "thread", 'is some other text; it must be "inline" or "celery".'),
    ("OPENAI_QUEUE_PATIENCE", 0, "is 0; it must be a number of seconds above 0, at most 86400."),
    (
        "OPENAI_WAKE_URL",
        "http://host",
        "is no Redis URL; it must be None, False or a redis, rediss or unix URL.",
    ),
    ("OPENAI_WAKE_URL", "redis://host:port", "is no URL;"),
    ("OPENAI_WAKE_URL", "redis://", "is no Redis URL;"),
    ("OPENAI_WAKE_URL", True, "is of type bool;"),
    ("OPENAI_ARCHIVE_AFTER", 0, "is 0; it must be None or a whole number from 1 to 2147483647."),
    ("OPENAI_DELETE_AFTER", "90", "is of type str; it must be None or a whole number"),
    ("OPENAI_EMBEDDING_RETENTION", 0.5, "is of type float; it must be None or a whole number"),
    ("OPENAI_TURN_TIMEOUT", 0, "is 0; it must be None or a number of seconds above 0, at most 86400."),
    ("OPENAI_TURN_LEASE", 1e6, "is 1e+06; it must be a number of seconds above 0, at most 86400."),
    ("OPENAI_TOOL_TIMEOUT", "30", "is of type str;"),
    ("OPENAI_APPROVAL_TIMEOUT", 0, "is 0;"),
    ("OPENAI_MAX_RETRIES", -1, "is -1; it must be a whole number from 0 to 20."),
    ("OPENAI_BREAKER_FAILURES", -1, "is -1; it must be a whole number from 0 to"),
    ("OPENAI_BREAKER_SECONDS", 0, "is 0; it must be a number of seconds above 0"),
    ("OPENAI_MAX_TOOL_STEPS", 0, "is 0; it must be a whole number from 1 to 1000."),
    ("OPENAI_VECTOR_MEMORY", 0, "is 0; it must be a whole number from 1 to 2147483647."),
    ("OPENAI_TOKEN_BUFFER", -1, "is -1; it must be a whole number from 0 to 2147483647."),
    ("OPENAI_MAX_MESSAGE_CHARS", 0, "is 0; it must be a whole number from 1 to 2147483647."),
    ("OPENAI_CACHE_TTL", None, "is None; it must be a whole number"),
    ("OPENAI_ENABLE_CACHING", 1, "is of type int; it must be True or False."),
    ("OPENAI_CONTENT_FILTER", "False", "is of type str; it must be True or False."),
    ("OPENAI_API_DOCS", None, "is None; it must be True or False."),
    ("OPENAI_CONTEXT_WINDOW", 8192, 'is of type int; it must be a dict such as {"model": 128000}.'),
    ("OPENAI_CONTEXT_WINDOW", {"m": 0}, "['m'] is 0; it must be a whole number from 1 to 2147483647."),
    ("OPENAI_CONTEXT_WINDOW", {"m" * 50: 0}, f"['{'m' * 40}…'] is 0; it must be"),
    ("OPENAI_CONTEXT_WINDOW", {1: 1}, "has a key that is empty or no text; it must be a dict such as"),
    ("OPENAI_ALLOWED_TOPICS", {"tea"}, "is of type set; it must be a list of texts."),
    (
        "OPENAI_FORBIDDEN_PATTERNS",
        ["a", "("],
        "[1] does not compile; it must be a regular expression as re.compile",
    ),
    ("OPENAI_FORBIDDEN_PATTERNS", [""], "[0] is empty, which would forbid every text;"),
    ("OPENAI_FORBIDDEN_PATTERNS", [b"a"], "[0] is of type bytes;"),
    ("OPENAI_FORBIDDEN_PATTERNS", [re.compile(b"a")], "[0] is of type bytes;"),
    ("OPENAI_CLASSIFIER_MODEL", True, "is of type bool; it must be None or a text that is not empty."),
    ("OPENAI_SUMMARIZE_HISTORY", 1, "is of type int; it must be True or False."),
    ("OPENAI_MODERATE_OUTPUT", None, "is None; it must be True or False."),
    ("OPENAI_FILTER_FAILURE", "ajar", 'is some other text; it must be "closed" or "open".'),
    ("OPENAI_ON_DISCONNECT", "stop", 'is some other text; it must be "continue", "drain" or "cancel".'),
    ("OPENAI_PRICES", [], 'is of type list; it must be a dict such as {"model": {"input": "0.10",'),
    ("OPENAI_PRICES", {"m": "1"}, f"['m'] is of type str; it must be {PRICE}."),
    ("OPENAI_PRICES", {"m": {"output": "1"}}, f"['m'] has no 'input'; it must be {PRICE}."),
    (
        "OPENAI_PRICES",
        {"m": {"input": "1", "out": "1"}},
        f"['m'] has the unknown key 'out'; it must be {PRICE}.",
    ),
    (
        "OPENAI_PRICES",
        {"m": {"input": 0.1}},
        f"['m']['input'] is a float, which can't hold cents exactly; it must be {USD}.",
    ),
    ("OPENAI_PRICES", {"m": {"input": "1", "output": None}}, f"['m']['output'] is None; it must be {USD}."),
    (
        "OPENAI_PRICES",
        {"m": {"input": "free"}},
        f"['m']['input'] is a text that is no number; it must be {USD}.",
    ),
    ("OPENAI_PRICES", {"m": {"input": "-1"}}, "['m']['input'] is negative, not finite or far out of range;"),
    (
        "OPENAI_PRICES",
        {"m": {"input": Decimal("NaN")}},
        "['m']['input'] is negative, not finite or far out of range;",
    ),
    (
        "OPENAI_DAILY_COST_THRESHOLD",
        20.0,
        f"is a float, which can't hold cents exactly; it must be None or {USD}.",
    ),
    ("OPENAI_DAILY_COST_THRESHOLD", True, "is of type bool;"),
    ("OPENAI_MONTHLY_COST_THRESHOLD", "Infinity", "is negative, not finite or far out of range;"),
    ("OPENAI_MONTHLY_COST_THRESHOLD", 10**9, "is negative, not finite or far out of range;"),
    ("OPENAI_BUDGETS", {}, "is of type dict; it must be a list such as"),
    ("OPENAI_BUDGETS", ["5"], '[0] is of type str; it must be a dict with "scope", "period" and "limit".'),
    ("OPENAI_BUDGETS", [{"scope": "user", "period": "day"}], "[0] has no 'limit';"),
    (
        "OPENAI_BUDGETS",
        [{"scope": "all", "period": "day", "limit": "1"}],
        f"[0]['scope'] names no scope; it must be {SCOPE}.",
    ),
    ("OPENAI_BUDGETS", [{"scope": "group:", "period": "day", "limit": "1"}], "[0]['scope'] names no scope;"),
    ("OPENAI_BUDGETS", [{"scope": 1, "period": "day", "limit": "1"}], "[0]['scope'] is of type int;"),
    (
        "OPENAI_BUDGETS",
        [{"scope": "user", "period": "year", "limit": "1"}],
        '[0][\'period\'] is some other text; it must be "day" or "month".',
    ),
    ("OPENAI_BUDGETS", [{"scope": "user", "period": "day", "limit": 0.5}], "[0]['limit'] is a float,"),
    (
        "OPENAI_BUDGETS",
        [{"scope": "user", "period": "day", "limit": n} for n in "12"],
        "has two budgets for the same scope and period;",
    ),
    ("OPENAI_RATE_LIMITS", "20/m", 'is of type str; it must be a dict such as {"user": "20/m"}.'),
    ("OPENAI_RATE_LIMITS", {"everyone": "20/m"}, f"['everyone'] names no scope; it must be {SCOPE}."),
    ("OPENAI_RATE_LIMITS", {"user": "0/m"}, "['user'] is no rate; it must be a count of requests above 0,"),
    ("OPENAI_RATE_LIMITS", {"user": "20/min"}, "['user'] is no rate;"),
    ("OPENAI_RATE_LIMITS", {"user": "٣/m"}, "['user'] is no rate;"),
    ("OPENAI_RATE_LIMITS", {"user": 20}, "['user'] is of type int;"),
    (
        "OPENAI_ADAPTER",
        "Adapter",
        'is no dotted path; it must be None or the dotted path of a class, such as "shop.ai.Adapter".',
    ),
    ("OPENAI_ADAPTER", Decimal, "is of type type;"),
    ("OPENAI_ADAPTER", "no_such_module.Adapter", "can't be imported (No module named 'no_such_module');"),
    ("OPENAI_ADAPTER", "decimal.NoSuchName", 'can\'t be imported (Module "decimal" does not define'),
    ("OPENAI_ADAPTER", "decimal.getcontext", "names something that is no class;"),
    (
        "OPENAI_VECTOR_BACKEND",
        "tests.conf.breaks_when_imported.Backend",
        "can't be imported (ZeroDivisionError);",
    ),
]


@pytest.mark.parametrize(("name", "raw", "complaint"), REFUSED, ids=[f"{row[0]} {row[2]}" for row in REFUSED])
def test_refused(name: str, raw: object, complaint: str, settings: Settings) -> None:
    setattr(settings, name, raw)
    attribute = "api_choice" if name == "OPENAI_API" else name.removeprefix("OPENAI_").lower()
    with pytest.raises(NotConfiguredError) as caught:
        getattr(conf, attribute)
    gap = "" if complaint.startswith("[") else " "
    assert caught.value.message.startswith(f"{name}{gap}{complaint}")
    assert caught.value.code == "not_configured"
    found = SETTINGS[name].read()
    assert isinstance(found, Problem)
    assert found.sentence == caught.value.message


def test_every_setting_refuses_something_here() -> None:
    assert {name for name, _, _ in REFUSED} == set(SETTINGS)


def test_the_failure_of_the_sites_own_module_stays_attached(settings: Settings) -> None:
    settings.OPENAI_VECTOR_BACKEND = "tests.conf.breaks_when_imported.Backend"
    with pytest.raises(NotConfiguredError) as caught:
        _ = conf.vector_backend
    assert isinstance(caught.value.__cause__, ZeroDivisionError)


ANYTHING = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.decimals(),
    st.text(),
    st.binary(),
    st.just(Fraction(1, 3)),
    st.recursive(
        st.one_of(st.text(), st.integers(), st.none(), st.floats()),
        lambda inner: st.one_of(
            st.lists(inner, max_size=3),
            st.dictionaries(
                st.one_of(st.text(), st.integers(), st.sampled_from(["user", "input"])), inner, max_size=3
            ),
        ),
        max_leaves=6,
    ),
)


@pytest.mark.parametrize("name", SETTINGS)
@given(raw=ANYTHING)
def test_any_value_is_either_read_or_refused(name: str, raw: object) -> None:
    try:
        SETTINGS[name].form(raw)
    except Malformed as error:
        complaint = error
    else:
        return
    assert complaint.allowed
    assert complaint.sentence(name).startswith(f"{name}{complaint.path} {complaint.problem}; it must be ")


@given(st.integers(0, 20))
def test_integers_are_kept(value: int) -> None:
    assert integer(0, 20)(value) == value


@given(st.floats(0, 2))
def test_numbers_are_kept(value: float) -> None:
    assert number(0, 2)(value) == value


@given(st.floats(0, 86_400, exclude_min=True))
def test_durations_are_kept(value: float) -> None:
    assert duration(value) == value


@given(st.decimals(0, 10**9 - 1, places=12))
def test_money_is_kept_to_the_last_place(value: Decimal) -> None:
    assert money(str(value)) == value == money(value)


@pytest.mark.parametrize("value", ["https://host", "http://[::1]:8000/v1/", "https://host:443/a/b"])
def test_addresses_are_kept(value: str) -> None:
    assert url(value) == value


def test_texts_are_kept() -> None:
    assert text("ft:gpt-6-luna:acme::7") == "ft:gpt-6-luna:acme::7"
    assert text("modèle") == "modèle"
    assert header_value("org-1") == "org-1"
