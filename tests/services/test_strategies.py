"""The ready adapters."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries, Settings

from django_chatgpt.models import AITurn, AIUsage
from django_chatgpt.services import AIService
from django_chatgpt.strategies import SteppingDown
from django_chatgpt.testing import FakeOpenAI
from tests.models import rows

pytestmark = pytest.mark.django_db

PRICES = {name: {"input": "1", "output": "2"} for name in ("sol", "terra", "luna")}


class Careful(SteppingDown):
    steps = (("0.9", "luna"), (Decimal("0.5"), "terra"))


class NotAtAll(SteppingDown):
    """No steps."""


def share_used(user: User | None) -> Decimal:
    return Careful().share_used(user)


@pytest.fixture(autouse=True)
def site(settings: Settings) -> None:
    settings.OPENAI_ADAPTER = f"{__name__}.Careful"
    settings.OPENAI_DEFAULT_MODEL = "sol"
    settings.OPENAI_PRICES = PRICES
    settings.OPENAI_BUDGETS = [
        {"scope": "user", "period": "month", "limit": "10"},
        {"scope": "site", "period": "day", "limit": "100"},
    ]


def spend(user: User | None, amount: str) -> None:
    rows.usage(user=user, outcome="completed", estimated_cost=Decimal(amount), timestamp=timezone.now())


@pytest.mark.parametrize(
    ("spent", "wanted", "model"),
    [
        ("0", None, "sol"),
        ("4.99", None, "sol"),
        ("5", None, "terra"),
        ("8.99", "sol", "terra"),
        ("8.99", "terra", "terra"),
        ("8.99", "luna", "luna"),
        ("9", "sol", "luna"),
        ("9", "terra", "luna"),
        ("9.5", None, "luna"),
    ],
)
def test_cheaper_models_as_a_budget_runs_low(
    user: User, fake_openai: FakeOpenAI, spent: str, wanted: str | None, model: str
) -> None:
    spend(user, spent)
    fake_openai.reply("Hi")
    AIService(user).ask("Hello", model=wanted)
    assert fake_openai.calls[0].model == model
    assert AITurn.objects.get().options["model"] == model


def test_completions_too(user: User, fake_openai: FakeOpenAI) -> None:
    spend(user, "6")
    fake_openai.reply("Hi")
    AIService(user).chat_completion([{"role": "user", "content": "Hello"}])
    assert fake_openai.calls[0].model == "terra"


def test_the_budget_that_is_used_up_most_counts(user: User, other_user: User, settings: Settings) -> None:
    assert share_used(user) == 0
    spend(user, "2")
    assert share_used(user) == Decimal("0.2")
    spend(other_user, "58")
    assert share_used(user) == Decimal("0.6")
    assert share_used(None) == Decimal("0.6")
    assert share_used(other_user) == Decimal("5.8")


def test_what_was_spent_before_does_not_count(user: User, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timezone, "now", lambda: datetime(2026, 11, 22, 12, tzinfo=UTC))
    begins = datetime(2026, 10, 31, 23, tzinfo=UTC)
    for cost, late in (("1", -1), ("2", 1)):
        when = begins + timedelta(minutes=late)
        rows.usage(user=user, outcome="completed", estimated_cost=Decimal(cost), timestamp=when)
    # The month begins an hour earlier in Paris.
    assert share_used(user) == Decimal("0.2")


def test_what_is_reserved_counts(user: User) -> None:
    until = timezone.now() + timedelta(minutes=1)
    rows.usage(user=user, reserved_cost=4, reserved_until=until)
    assert share_used(user) == Decimal("0.4")


def test_nothing_to_spend(user: User, settings: Settings) -> None:
    settings.OPENAI_BUDGETS = [{"scope": "user", "period": "day", "limit": "0"}]
    assert share_used(user) == 1


def test_groups(user: User, other_user: User, settings: Settings) -> None:
    settings.OPENAI_BUDGETS = [{"scope": "group:trial", "period": "day", "limit": "1"}]
    spend(user, "0.25")
    assert share_used(user) == share_used(None) == 0
    trial = Group.objects.create(name="trial")
    user.groups.add(trial)
    other_user.groups.add(trial)
    spend(other_user, "0.5")
    AIUsage.objects.update(budget_groups=f",{trial.pk},")
    spend(None, "7")
    assert share_used(user) == Decimal("0.75")


def test_without_budgets_or_steps_nothing_is_asked(
    user: User, settings: Settings, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    adapters: list[Any] = [NotAtAll()]
    settings.OPENAI_ADAPTER = f"{__name__}.NotAtAll"
    with django_assert_num_queries(0):
        assert [each.model_for(user, "sol") for each in adapters] == ["sol"]
    settings.OPENAI_BUDGETS = []
    with django_assert_num_queries(0):
        assert Careful().model_for(user, "sol") == "sol"
