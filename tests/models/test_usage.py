"""The ledger: unknown is NULL, money is exact, rows stay."""

from decimal import Decimal
from typing import TYPE_CHECKING

import pytest
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.db.models import Count, Sum

from django_chatgpt.models import AIUsage
from tests.models import rows

if TYPE_CHECKING:
    from django.contrib.auth.models import User

pytestmark = pytest.mark.django_db


def test_a_new_row_is_an_attempt_in_the_air() -> None:
    row = rows.usage()
    row.refresh_from_db()
    assert row.outcome == AIUsage.Outcome.RUNNING
    assert row.kind == AIUsage.Kind.CHAT
    assert row.usage_source == AIUsage.Source.UNKNOWN
    assert (row.estimated_cost, row.latency_ms, row.time_to_first_token_ms) == (None, None, None)
    assert row.total_tokens == row.prompt_tokens == row.completion_tokens == 0
    assert row.price_source == ""


@pytest.mark.parametrize("cost", ["0", "0.000000000001", "0.0000001", "0.123456789012", "999.123456789012"])
def test_costs_are_exact(cost: str) -> None:
    row = rows.usage(estimated_cost=Decimal(cost))
    row.refresh_from_db()
    assert row.estimated_cost == Decimal(cost)


def test_a_sum_ignores_what_is_unknown_and_is_null_of_nothing_else() -> None:
    rows.usage(estimated_cost=None)
    assert AIUsage.objects.aggregate(cost=Sum("estimated_cost"))["cost"] is None
    for _ in range(3):
        rows.usage(estimated_cost=Decimal("0.0000001"))
    assert AIUsage.objects.aggregate(cost=Sum("estimated_cost"))["cost"] == Decimal("0.0000003")


def test_a_negative_cost_is_refused() -> None:
    with pytest.raises(IntegrityError), transaction.atomic():
        rows.usage(estimated_cost=Decimal("-0.01"))
    with pytest.raises(ValidationError, match="estimated_cost"):
        AIUsage(model="m", estimated_cost=Decimal("-0.01")).full_clean()


def test_rows_outlive_what_they_name(user: "User") -> None:
    talk = rows.conversation(user=user)
    turn = rows.turn(talk, user=user)
    row = rows.usage(user=user, conversation=talk, turn=turn, total_tokens=7, estimated_cost=Decimal("0.5"))
    user.delete()
    row.refresh_from_db()
    assert (row.user, row.conversation, row.turn) == (None, None, None)
    assert (row.total_tokens, row.estimated_cost) == (7, Decimal("0.5"))


def test_models_that_differ_in_case_are_counted_apart() -> None:
    for model in ("gpt", "GPT", "GPT"):
        rows.usage(model=model)
    counted = AIUsage.objects.values_list("model").annotate(number=Count("pk")).order_by()
    assert dict(counted) == {"gpt": 1, "GPT": 2}


def test_it_goes_by_what_was_asked_and_how_it_went() -> None:
    assert str(AIUsage(model="gpt-6-luna", outcome="failed")) == "chat gpt-6-luna (failed)"
