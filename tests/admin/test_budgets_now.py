"""How each budget stands now: settled, reserved, left, and when it begins anew."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group, User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from django_chatgpt.models import AIBudget
from django_chatgpt.services import standings
from django_chatgpt.services.periods import period_of
from tests.admin.makers import address
from tests.admin.staff import staff_browser
from tests.models import rows

pytestmark = pytest.mark.django_db

BUDGETS = [
    {"scope": "user", "period": "day", "limit": "1"},
    {"scope": "group:writers", "period": "month", "limit": "10"},
    {"scope": "group:nobody", "period": "month", "limit": "10"},
    {"scope": "site", "period": "month", "limit": "4"},
]


def use(spent: str | None, reserved: str | None = None, **fields: Any) -> None:
    money = {"estimated_cost": spent, "reserved_cost": reserved}
    rows.usage(
        outcome="completed" if reserved is None else "running",
        **{name: None if value is None else Decimal(value) for name, value in money.items()},
        **fields,
    )


@pytest.fixture(autouse=True)
def budgets(settings: Any) -> None:
    settings.OPENAI_BUDGETS = BUDGETS


def page(browser: Client, **query: str) -> Any:
    return browser.get(address(AIBudget, "now"), query)


def test_each_budget_is_told_with_what_is_left(admin_browser: Client, user: User, other_user: User) -> None:
    writers = Group.objects.create(name="writers")
    use("0.50", user=user, budget_groups=f",{writers.pk},")
    use(None, "0.25", user=user)
    use("1.50", user=other_user)
    use("2.00")
    found = page(admin_browser)
    group, site = found.context["shared"]
    assert (group["name"], group["spent"], group["left"]) == ("writers", Decimal("0.5"), Decimal("9.5"))
    assert (site["spent"], site["reserved"], site["left"]) == (4, Decimal("0.25"), Decimal("-0.25"))
    assert site["state"] == "full"
    assert site["resets"] == period_of("month", timezone.now()).end
    bob, ada = found.context["users"]
    assert (bob["user"], bob["spent"], bob["percent"], bob["state"]) == (
        other_user,
        Decimal("1.5"),
        150,
        "full",
    )
    assert (ada["user"], ada["spent"], ada["reserved"]) == (user, Decimal("0.5"), Decimal("0.25"))
    assert (ada["left"], ada["period"], ada["state"]) == (Decimal("0.25"), "day", "calm")
    assert "writers" in found.text


def test_one_user_can_be_looked_up_even_without_use(admin_browser: Client, user: User) -> None:
    use("0.50")
    [ada] = page(admin_browser, user="ada").context["users"]
    assert (ada["user"], ada["spent"], ada["left"]) == (user, 0, 1)
    assert "There is no user nobody." in page(admin_browser, user="nobody").text


def test_without_budgets_it_says_so(admin_browser: Client, settings: Any) -> None:
    settings.OPENAI_BUDGETS = []
    text = page(admin_browser).text
    assert "There is no budget for the whole site" in text
    assert "Nobody has used anything" in text


def test_a_limit_of_nothing_is_used_up(settings: Any) -> None:
    settings.OPENAI_BUDGETS = [{"scope": "site", "period": "day", "limit": "0"}]
    [standing] = standings.shared()
    assert standings.share_of(standing) == 1


def test_many_users_take_no_more_queries_than_few(admin_browser: Client) -> None:
    def asked() -> int:
        with CaptureQueriesContext(connection) as captured:
            page(admin_browser)
        return len(captured)

    use("0.1", user=get_user_model().objects.create_user("u0"))
    asked()
    few = asked()
    for number in range(1, 9):
        use("0.1", user=get_user_model().objects.create_user(f"u{number}"))
    assert asked() == few


def test_it_needs_the_permission_to_view_budgets() -> None:
    assert page(staff_browser("view_aiusage")).status_code == 403
    assert page(staff_browser("view_aibudget", name="viewer")).status_code == 200
