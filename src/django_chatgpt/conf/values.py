"""Prices, budgets and rate limits: the settings whose values have a shape of their own."""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal
from types import MappingProxyType
from typing import Literal

from django_chatgpt.conf.forms import Form, a_key, dict_of, fields_of, list_of, of_wrong_type, refuse
from django_chatgpt.conf.scalars import choice, money

Period = Literal["day", "month"]

SECONDS = MappingProxyType({"s": 1, "m": 60, "h": 3_600, "d": 86_400})
RATE = re.compile(r"([1-9][0-9]{0,8})/([smhd])")
GROUP = "group:"


@dataclass(frozen=True, slots=True)
class Price:
    """What a model costs, in USD per million tokens.

    Cached input without a price of its own costs what input costs. `output` is None where it has no
    price, as for embeddings: the cost of a reply with output tokens is then unknown.
    """

    input: Decimal
    cached_input: Decimal
    output: Decimal | None


@dataclass(frozen=True, slots=True)
class Budget:
    """At most `limit` USD per `period`, which begins at midnight of the site's time zone.

    `scope` is "user" (each user), "site" (everybody together) or "group:NAME" (the members of the
    Django group NAME together).
    """

    scope: str
    period: Period
    limit: Decimal

    @property
    def group(self) -> str | None:
        """The name of the group, None for another scope."""
        return group_of(self.scope)


@dataclass(frozen=True, slots=True)
class RateLimit:
    """At most `requests` within `seconds`, for the same scopes as a budget's."""

    scope: str
    requests: int
    seconds: int

    @property
    def group(self) -> str | None:
        """The name of the group, None for another scope."""
        return group_of(self.scope)


def group_of(scope: str) -> str | None:
    """NAME of "group:NAME", None for another scope."""
    return scope.removeprefix(GROUP) if scope.startswith(GROUP) else None


def _scope(raw: object) -> str:
    if not isinstance(raw, str):
        of_wrong_type(raw)
    if raw not in ("user", "site") and not group_of(raw):
        refuse("names no scope")
    return raw


scope = Form("str", '"user", "site" or "group:NAME"', _scope)
period: Form[Period] = choice("day", "month")


def _price(raw: object) -> Price:
    given = fields_of(raw, required={"input"}, extra={"cached_input", "output"})
    amounts = {name: money(amount, at=f"[{name!r}]") for name, amount in given.items()}
    return Price(amounts["input"], amounts.get("cached_input", amounts["input"]), amounts.get("output"))


price_table = dict_of(
    Form("dict", 'a dict with "input" and, where they apply, "cached_input" and "output"', _price),
    allowed='a dict such as {"model": {"input": "0.10", "cached_input": "0.01", "output": "0.50"}}',
)


def _budget(raw: object) -> Budget:
    given = fields_of(raw, required={"scope", "period", "limit"})
    return Budget(
        scope(given["scope"], at="['scope']"),
        period(given["period"], at="['period']"),
        money(given["limit"], at="['limit']"),
    )


_any_budgets = list_of(
    Form("dict", 'a dict with "scope", "period" and "limit"', _budget),
    allowed='a list such as [{"scope": "user", "period": "month", "limit": "5.00"}], each for another window',
)


def _budgets(raw: object) -> tuple[Budget, ...]:
    found = _any_budgets.read(raw)
    if len({(budget.scope, budget.period) for budget in found}) < len(found):
        refuse("has two budgets for the same scope and period")
    return found


budget_list = Form(_any_budgets.type, _any_budgets.allowed, _budgets)


def _rate(raw: object) -> tuple[int, int]:
    if not isinstance(raw, str):
        of_wrong_type(raw)
    match = RATE.fullmatch(raw)
    if match is None:
        refuse("is no rate")
    return int(match[1]), SECONDS[match[2]]


_rates = dict_of(
    Form("str", 'a count of requests above 0, "/" and one of s, m, h, d, such as "20/m"', _rate),
    allowed='a dict such as {"user": "20/m"}',
)


def _rate_limits(raw: object) -> tuple[RateLimit, ...]:
    rates = _rates.read(raw)
    return tuple(RateLimit(scope(key, at=a_key(key)), *rate) for key, rate in rates.items())


rate_table = Form(_rates.type, _rates.allowed, _rate_limits)
