"""Amounts are worked out by hand, from the prices per million tokens that stand beside them."""

import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, date, datetime
from decimal import Decimal, getcontext
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from django.test import override_settings
from genai_prices import data_snapshot
from genai_prices.data_snapshot import DataSnapshot, set_custom_snapshot
from genai_prices.types import ClauseEquals, ClauseStartsWith, ModelInfo, ModelPrice, Provider

from django_chatgpt.core.messages import TokenUsage
from django_chatgpt.services.prices import Price, price

LIST = f"genai-prices {version('genai-prices')}"
UNKNOWN = Price(None, "")
NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
AZURE = "https://acme.openai.azure.com/openai/v1/"


def usage(
    prompt: int = 0, completion: int = 0, cached: int = 0, written: int = 0, thought: int = 0
) -> TokenUsage:
    return TokenUsage(
        prompt_tokens=prompt,
        completion_tokens=completion,
        total_tokens=prompt + completion,
        cached_tokens=cached,
        cache_write_tokens=written,
        reasoning_tokens=thought,
    )


def cost(model: str, used: TokenUsage, **asked: Any) -> Decimal | None:
    return price(model, used, at=NOW, **asked).cost


# The price list ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "used", "expected"),
    [
        # gpt-6-luna: 0.10 in, 0.01 cached, 0.125 written to the cache, 0.50 out;
        # of more than 272k in: 0.20, 0.02, 0.25 and 0.75
        ("gpt-6-luna", usage(1, 0), "0.0000001"),
        ("gpt-6-luna", usage(1000, 500), "0.00035"),
        ("gpt-6-luna", usage(10_000, 2_000, cached=4_000, written=1_000), "0.001665"),
        ("gpt-6-luna", usage(10_000, 0, cached=10_000), "0.0001"),
        ("gpt-6-luna", usage(272_000, 1_000), "0.0277"),
        ("gpt-6-luna", usage(272_001, 1_000), "0.0551502"),
        # gpt-5.4-mini: 0.75 in, 0.075 cached, 4.50 out
        ("gpt-5.4-mini", usage(1_000, 1_000, cached=600), "0.004845"),
        # text-embedding-3-small: 0.02 in, nothing ever comes out
        ("text-embedding-3-small", usage(8_000), "0.00016"),
        # ft:gpt-4o-mini: 0.30 in, 1.20 out; twice the price of gpt-4o-mini itself
        ("ft:gpt-4o-mini-2024-07-18:acme::x", usage(1_000, 1_000), "0.0015"),
        ("gpt-4o-mini", usage(1_000, 1_000), "0.00075"),
    ],
)
def test_a_known_model_costs_what_is_listed(model: str, used: TokenUsage, expected: str) -> None:
    assert price(model, used, at=NOW) == Price(Decimal(expected), LIST)


def test_costs_have_twelve_places() -> None:
    assert f"{cost('gpt-6-luna', usage(1)):f}" == "0.000000100000"
    assert f"{cost('gpt-6-luna', usage()):f}" == "0.000000000000"


def test_thinking_is_part_of_the_output_and_not_paid_twice() -> None:
    assert cost("gpt-6-luna", usage(10, 1_000, thought=900)) == cost("gpt-6-luna", usage(10, 1_000))


def test_nothing_used_of_a_known_model_costs_nothing_and_of_an_unknown_one_who_knows() -> None:
    assert price("gpt-6-luna", usage(), at=NOW) == Price(Decimal(0), LIST)
    assert price("nobody-knows", usage(), at=NOW) == UNKNOWN


def test_moderation_is_free_and_listed_as_such() -> None:
    for model in ("omni-moderation-latest", "omni-moderation-2024-09-26", "text-moderation-stable"):
        assert price(model, usage(100)) == Price(Decimal(0), LIST)
    assert price("my-moderation-model", usage(100)) == UNKNOWN


@pytest.mark.parametrize(
    "model", ["gpt-6-luna-2026-09-22", "GPT-6-Luna", "gpt-6-luna", "gpt-6-luna-20260922"]
)
def test_a_version_costs_what_its_model_does(model: str) -> None:
    assert cost(model, usage(1_000_000 // 4)) == Decimal("0.025")


def test_latest_is_its_model_where_the_list_says_so() -> None:
    assert cost("gpt-5-chat-latest", usage(1_000)) == cost("gpt-5", usage(1_000)) == Decimal("0.00125")


@pytest.mark.parametrize(
    "model",
    [
        "gpt-5.1-mini",  # listed under gpt-5.1-codex-mini
        "gpt-4o-mini-search-preview",  # listed under gpt-4o-mini, without the fee of a search
        "ft:gpt-4-0613:acme::x",  # listed under gpt-4
        "ft:gpt-4.1-mini:acme::x",
        "gpt-6.2-sol",
        "gpt-6-lunar",
        "gpt-6-luna-mini",
        "openai/gpt-6-luna",
        "smollm2-135m",
        "",
        "gpt-5-nano-banana",  # whatever begins with gpt-5-nano- is listed under gpt-5-nano
    ],
)
def test_what_is_not_known_for_certain_has_no_cost(model: str) -> None:
    assert price(model, usage(1_000, 1_000), at=NOW) == UNKNOWN


def test_prices_are_those_of_the_day() -> None:
    used = usage(1_000, 1_000)  # gpt-5.6-luna: 1.00 and 6.00, a fifth of it since 30 July 2026
    before = datetime(2026, 7, 29, 23, 59, tzinfo=UTC)
    after = datetime(2026, 7, 30, 0, 0, tzinfo=UTC)
    assert price("gpt-5.6-luna", used, at=before).cost == Decimal("0.007")
    assert price("gpt-5.6-luna", used, at=after).cost == Decimal("0.0014")


@pytest.mark.parametrize("tier", ["", "default", "auto", "standard", "Default"])
def test_the_standard_tier_has_many_names(tier: str) -> None:
    assert cost("gpt-6-luna", usage(1_000), service_tier=tier) == Decimal("0.0001")


def test_other_tiers_cost_more_or_less() -> None:
    used = usage(1_000, 1_000)
    assert cost("gpt-6-luna", used, service_tier="flex") == Decimal("0.0003")
    assert cost("gpt-6-luna", used, service_tier="priority") == Decimal("0.0012")


def test_batches_cost_half() -> None:
    used = usage(1_000)
    for model, whole in (("text-embedding-3-small", "0.00002"), ("gpt-6-luna", None)):
        half = cost(model, used, service_tier="batch")
        assert half == (Decimal(whole) if whole else cost(model, used, service_tier="default")) / 2
    assert price("text-embedding-3-small", used, base_url=AZURE, service_tier="batch", at=NOW) == UNKNOWN


def test_a_tier_without_a_listed_price_is_not_given_the_standard_one() -> None:
    used = usage(1_000, 1_000)
    assert cost("gpt-6-luna", used, service_tier="scale") is None
    assert cost("text-embedding-3-small", usage(1_000), service_tier="flex") is None
    before_it_was_listed = datetime(2026, 10, 1, tzinfo=UTC)
    assert price("gpt-6-luna", used, service_tier="flex", at=before_it_was_listed) == UNKNOWN
    assert price("gpt-6-luna", used, base_url=AZURE, service_tier="flex", at=NOW) == UNKNOWN


@pytest.mark.parametrize(
    "used",
    [
        usage(100, 10, cached=101),
        usage(100, 10, cached=60, written=60),
        usage(-1, 10),
        usage(10, -1),
        usage(10, 1, cached=-1),
        usage(10**20, 1),
    ],
)
def test_usage_that_cannot_be_has_no_cost(used: TokenUsage) -> None:
    assert price("gpt-6-luna", used, at=NOW) == UNKNOWN
    with override_settings(OPENAI_PRICES={"gpt-6-luna": {"input": "1", "output": "1"}}):
        assert price("gpt-6-luna", used, at=NOW) == UNKNOWN


def test_output_of_a_model_without_an_output_price_has_no_cost() -> None:
    assert cost("text-embedding-3-small", usage(100, 1)) is None


def test_the_precision_of_the_caller_does_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(getcontext(), "prec", 3)
    assert cost("gpt-6-luna", usage(123_456, 1_234)) == Decimal("0.0129626")


# Whose price list ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "base_url",
    [None, "", "https://api.openai.com/v1", "https://API.openai.com", "https://api.openai.com:443/"],
)
def test_openai_is_priced_by_its_own_list(base_url: str | None) -> None:
    assert cost("gpt-6-luna", usage(1_000), base_url=base_url) == Decimal("0.0001")


@pytest.mark.parametrize(
    "base_url",
    [
        "http://localhost:8080/v1",
        "http://127.0.0.1:11434/v1",
        "http://[::1]:8000/v1",
        "http://ollama:11434/v1",
        "https://llm.example.org/v1",
        "https://api.openai.com.example.org/v1",
        "https://example.org/api.openai.com/v1",
        "not a url",
    ],
)
def test_another_server_is_not_priced_as_openai(base_url: str) -> None:
    for model in ("gpt-6-luna", "omni-moderation-latest", "gpt-4o"):
        assert price(model, usage(1_000, 1_000), base_url=base_url, at=NOW) == UNKNOWN


def test_a_provider_that_the_list_knows_is_priced_by_its_part_of_it() -> None:
    assert cost("gpt-4o", usage(1_000), base_url=AZURE) == Decimal("0.0025")
    # llama-3.3-70b-versatile at Groq: 0.59 in, 0.79 out
    assert cost(
        "llama-3.3-70b-versatile", usage(1_000, 1_000), base_url="https://api.groq.com/openai/v1"
    ) == Decimal("0.00138")
    assert cost("gpt-6-luna", usage(1_000), base_url="https://api.groq.com/openai/v1") is None


@pytest.fixture
def updated_list() -> Iterator[None]:
    """A price list that the site has fetched itself; it knows two models."""
    model = ModelInfo(
        id="gpt-6-luna",
        match=ClauseStartsWith(starts_with="gpt-6"),
        prices=ModelPrice(input_mtok=Decimal("7"), output_mtok=Decimal("7")),
    )
    half = ModelInfo(
        id="half", match=ClauseEquals(equals="half"), prices=ModelPrice(output_mtok=Decimal("7"))
    )
    pattern = r"https://api\.openai\.com"
    openai = Provider(id="openai", name="OpenAI", api_pattern=pattern, models=[model, half])
    fetched = datetime(2026, 11, 20, tzinfo=UTC)
    set_custom_snapshot(DataSnapshot([openai], from_auto_update=True, timestamp=fetched))
    yield
    set_custom_snapshot(None)


@pytest.mark.usefixtures("updated_list")
def test_a_list_that_the_site_keeps_up_to_date_is_used_and_dated() -> None:
    assert price("gpt-6-luna", usage(1_000)) == Price(Decimal("0.007"), f"{LIST} of {date(2026, 11, 20)}")
    assert price("gpt-6-sol", usage(1_000)) == UNKNOWN


@pytest.mark.usefixtures("updated_list")
def test_a_price_that_the_list_lacks_is_not_taken_for_zero() -> None:
    assert price("half", usage(1_000, 1_000)) == UNKNOWN
    assert price("half", usage(0, 1_000)).cost == Decimal("0.007")


def test_threads_may_ask_for_the_first_price_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    data_snapshot._bundled_snapshot.cache_clear()
    start, costs = threading.Barrier(8), []

    def ask() -> None:
        start.wait()
        costs.append(cost("gpt-6-luna", usage(1_000)))

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert costs == [Decimal("0.0001")] * 8


SCRIPT = """
import json, sys
from django.conf import settings
import django

settings.configure(
    INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes", "django_chatgpt"],
    USE_TZ=True,
    OPENAI_PRICES={"own": {"input": "1"}},
)
django.setup()
from django_chatgpt.core.messages import TokenUsage
from django_chatgpt.services.prices import price

def refuse(event, args):
    if event.startswith("socket."):
        raise AssertionError(event)

sys.addaudithook(refuse)
used = TokenUsage(prompt_tokens=1000)
out = {"own": str(price("own", used).cost), "local": price("m", used, base_url="http://localhost/v1").cost}
out["loaded"] = "genai_prices" in sys.modules
out["listed"] = str(price("gpt-6-luna", used).cost)
out["loaded_then"] = "genai_prices" in sys.modules
import threading
out["threads"] = threading.active_count()
print(json.dumps(out))
"""


def test_the_list_is_loaded_only_for_who_needs_it_and_never_fetched() -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], capture_output=True, text=True, env=dict(os.environ), timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {
        "own": "0.001000000000",
        "local": None,
        "loaded": False,
        "listed": "0.000100000000",
        "loaded_then": True,
        "threads": 1,
    }


# The site's own prices ----------------------------------------------------------------------------------

PAGE = Path(__file__).parents[2] / "docs" / "explanation" / "money.md"


def test_the_prices_on_the_page_about_money_are_ones(settings: Any) -> None:
    (snippet,) = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    given: dict[str, Any] = {}
    exec(snippet, given)
    settings.OPENAI_PRICES = given["OPENAI_PRICES"]
    for model in given["OPENAI_PRICES"]:
        assert price(model, usage(1_000_000, cached=500_000)).source == "settings"


OWN = {
    "gpt-6-luna": {"input": "10", "cached_input": "1", "output": "20"},
    "no-discount": {"input": "2", "output": "4"},
    "embedder": {"input": "0.01"},
    "ft:gpt-4.1-mini": {"input": "0.80", "output": "3.20"},
    "free": {"input": 0, "output": 0},
    "tiny": {"input": "0.0000015", "output": "0.0000005"},
}


@override_settings(OPENAI_PRICES=OWN)
@pytest.mark.parametrize(
    ("model", "used", "expected"),
    [
        ("gpt-6-luna", usage(1_000, 100, cached=400), "0.0084"),  # 600 at 10, 400 at 1, 100 at 20
        ("gpt-6-luna", usage(1_000, 100, cached=400, written=200), "0.0084"),
        ("gpt-6-luna-2026-09-22", usage(1_000), "0.01"),
        ("no-discount", usage(1_000, 1_000, cached=1_000), "0.006"),
        ("embedder", usage(1_000), "0.00001"),
        ("ft:gpt-4.1-mini:acme::x", usage(1_000, 1_000), "0.004"),
        ("ft:gpt-4.1-mini-2025-04-14:acme::x", usage(1_000, 1_000), "0.004"),
        ("free", usage(1_000, 1_000), "0"),
        ("tiny", usage(1), "0.000000000002"),  # 1.5e-12, rounded half to even
        ("tiny", usage(0, 1), "0"),  # 0.5e-12
        ("gpt-6-luna", usage(), "0"),
    ],
)
def test_own_prices_go_first(model: str, used: TokenUsage, expected: str) -> None:
    assert price(model, used) == Price(Decimal(expected), "settings")


@override_settings(OPENAI_PRICES=OWN)
def test_own_prices_hold_for_every_server_tier_and_time() -> None:
    used, expected = usage(1_000), Price(Decimal("0.01"), "settings")
    assert price("gpt-6-luna", used, base_url="http://localhost:8080/v1") == expected
    assert price("gpt-6-luna", used, service_tier="flex") == expected
    assert price("gpt-6-luna", used, at=datetime(2020, 1, 1, tzinfo=UTC)) == expected


@override_settings(OPENAI_PRICES={**OWN, "my-deployment": {"input": "3", "output": "3"}})
def test_an_own_price_may_stand_under_the_name_that_was_asked_for() -> None:
    used = usage(1_000)
    assert price("gpt-4o-2024-11-20", used, asked="my-deployment") == Price(Decimal("0.003"), "settings")
    assert price("gpt-6-luna", used, asked="my-deployment") == Price(Decimal("0.003"), "settings")
    assert price("gpt-6-luna", used, asked="another") == Price(Decimal("0.01"), "settings")
    assert price("who-knows", used, asked="gpt-5.4-mini") == UNKNOWN


@override_settings(OPENAI_PRICES=OWN)
def test_an_own_price_that_lacks_what_is_needed_is_not_completed_from_the_list() -> None:
    assert price("embedder", usage(1_000, 1)) == UNKNOWN
    with override_settings(OPENAI_PRICES={"gpt-6-luna": {"input": "1"}}):
        assert price("gpt-6-luna", usage(1, 1)) == UNKNOWN


@override_settings(OPENAI_PRICES=OWN)
def test_a_model_without_an_own_price_is_priced_by_the_list() -> None:
    assert price("gpt-5.4-mini", usage(1_000)) == Price(Decimal("0.00075"), LIST)


@override_settings(OPENAI_PRICES={"gpt-6-luna": {"input": "cheap"}})
def test_malformed_prices_leave_the_cost_unknown_and_say_so(caplog: pytest.LogCaptureFixture) -> None:
    assert price("gpt-6-luna", usage(1_000)) == UNKNOWN
    assert "OPENAI_PRICES['gpt-6-luna']['input']" in caplog.text
