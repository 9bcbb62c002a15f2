"""Prices, budgets and rates as they are read."""

from decimal import Decimal

import pytest
from pytest_django import Settings

from django_chatgpt.conf import Budget, Price, RateLimit, conf


def test_price(settings: Settings) -> None:
    settings.OPENAI_PRICES = {
        "whole": {"input": "0.10", "cached_input": "0.01", "output": "0.50"},
        "without cache": {"input": Decimal(2), "output": 0},
        "embeddings": {"input": "0.02"},
    }
    assert conf.prices == {
        "whole": Price(Decimal("0.10"), Decimal("0.01"), Decimal("0.50")),
        "without cache": Price(Decimal(2), Decimal(2), Decimal(0)),
        "embeddings": Price(Decimal("0.02"), Decimal("0.02"), None),
    }


def test_budgets_keep_their_order_and_know_their_group(settings: Settings) -> None:
    settings.OPENAI_BUDGETS = [
        {"scope": "group:Paying: yes", "period": "month", "limit": 5},
        {"scope": "user", "period": "day", "limit": "0"},
        {"scope": "user", "period": "month", "limit": "1.5"},
    ]
    assert conf.budgets == (
        Budget("group:Paying: yes", "month", Decimal(5)),
        Budget("user", "day", Decimal(0)),
        Budget("user", "month", Decimal("1.5")),
    )
    assert [budget.group for budget in conf.budgets] == ["Paying: yes", None, None]


@pytest.mark.parametrize(
    ("rate", "requests", "seconds"),
    [("1/s", 1, 1), ("20/m", 20, 60), ("1000/h", 1000, 3_600), ("999999999/d", 999_999_999, 86_400)],
)
def test_rates(rate: str, requests: int, seconds: int, settings: Settings) -> None:
    settings.OPENAI_RATE_LIMITS = {"user": rate, "group:trial": "1/m"}
    assert conf.rate_limits == (RateLimit("user", requests, seconds), RateLimit("group:trial", 1, 60))
    assert [limit.group for limit in conf.rate_limits] == [None, "trial"]
