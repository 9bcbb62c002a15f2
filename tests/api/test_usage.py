"""GET usage/: one's own, staff more; in the shape that is promised, and as a table."""

from __future__ import annotations

import csv
from datetime import date
from decimal import Decimal
from io import StringIO
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.utils import timezone

from tests.api.conftest import Answer, Door, Handler
from tests.models import rows

pytestmark = pytest.mark.django_db


@pytest.fixture
def staff_door(handler: Handler, staff_user: User) -> Door:
    return Door(handler, staff_user)


def used(user: User | None, **fields: Any) -> None:
    cost = Decimal("0.0000001")
    rows.usage(user=user, **{"outcome": "completed", "total_tokens": 7, "estimated_cost": cost, **fields})


def table(answer: Answer) -> list[list[str]]:
    assert answer.headers["Content-Type"] == "text/csv; charset=utf-8"
    assert "usage.csv" in answer.headers["Content-Disposition"]
    return list(csv.reader(StringIO(answer.body.decode())))


def test_the_shape(door: Door, user: User, other_user: User) -> None:
    used(user)
    used(user, total_tokens=8)
    used(user, model="no-price", estimated_cost=None)
    used(other_user)
    answer = door.get("/ai/usage/?days=2")
    assert answer.status == 200
    today = timezone.localdate(timezone=timezone.get_default_timezone())
    *_, yesterday, last = answer.json["daily"]
    assert answer.json == {
        "total": {"tokens": 22, "cost": "0.0000002", "requests": 3, "avg_tokens_per_request": 7.33},
        "by_model": {
            "gpt-6-luna": {"tokens": 15, "cost": "0.0000002", "requests": 2},
            "no-price": {"tokens": 7, "cost": None, "requests": 1},
        },
        "daily": [yesterday, last],
        "unpriced_requests": 1,
    }
    assert last == {"date": today.isoformat(), "tokens": 22, "cost": "0.0000002", "requests": 3}
    assert yesterday | {"date": ""} == {"date": "", "tokens": 0, "cost": "0", "requests": 0}
    assert date.fromisoformat(yesterday["date"]).toordinal() == today.toordinal() - 1


@pytest.mark.parametrize(("query", "days"), [("", 30), ("?days=1", 1), ("?days=366", 366)])
def test_one_row_for_each_day(door: Door, query: str, days: int) -> None:
    daily = door.get(f"/ai/usage/{query}").json["daily"]
    assert len({row["date"] for row in daily}) == len(daily) == days


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("days=0", "days"),
        ("days=367", "days"),
        ("days=-1", "days"),
        ("days=many", "days"),
        ("scope=group", "scope"),
        ("format=xls", "format"),
        ("user_id=" + "7" * 101, "user_id"),
        ("scope=site&user_id=1", "user_id"),
    ],
)
def test_bad_input_is_named(staff_door: Door, query: str, field: str) -> None:
    answer = staff_door.get(f"/ai/usage/?{query}")
    assert answer.status == 400
    assert list(answer.error["fields"]) == [field]


class TestOthers:
    def test_are_none_of_a_users_business(self, door: Door, other_user: User) -> None:
        used(other_user)
        for query in (f"user_id={other_user.pk}", "user_id=999999", "user_id=%27--", "user_id="):
            answer = door.get(f"/ai/usage/?{query}")
            assert answer.status == 404
            assert answer.error["code"] == "not_found"
        assert door.get("/ai/usage/?scope=site").status == 403
        assert door.get("/ai/usage/?scope=site&format=csv").status == 403

    def test_oneself_may_be_named(self, door: Door, user: User) -> None:
        used(user)
        assert door.get(f"/ai/usage/?user_id={user.pk}").json["total"]["requests"] == 1

    def test_staff_may_ask(self, staff_door: Door, user: User, other_user: User) -> None:
        used(user)
        used(other_user)
        used(None)
        assert staff_door.get("/ai/usage/").json["total"]["requests"] == 0
        assert staff_door.get(f"/ai/usage/?user_id={user.pk}").json["total"]["requests"] == 1
        assert staff_door.get("/ai/usage/?scope=site").json["total"]["requests"] == 3

    def test_staff_who_may_not_view_the_ledger_may_not(
        self, handler: Handler, door: Door, user: User, other_user: User
    ) -> None:
        used(user)
        used(other_user)
        user.is_staff = True
        user.save()
        assert door.get(f"/ai/usage/?user_id={other_user.pk}").status == 404
        assert door.get("/ai/usage/?scope=site").status == 403
        user.user_permissions.add(Permission.objects.get(codename="view_aiusage"))
        assert Door(handler, user).get("/ai/usage/?scope=site").json["total"]["requests"] == 2

    @pytest.mark.parametrize("pk", ["999999", "nobody", "%00", "9" * 60])
    def test_nobody_of_that_name(self, staff_door: Door, pk: str) -> None:
        assert staff_door.get(f"/ai/usage/?user_id={pk}").status == 404


class TestTable:
    def test_each_day_and_model(self, door: Door, user: User) -> None:
        used(user)
        used(user, model="no-price", estimated_cost=None)
        today = timezone.localdate(timezone=timezone.get_default_timezone()).isoformat()
        assert table(door.get("/ai/usage/?format=csv")) == [
            ["date", "model", "requests", "tokens", "cost", "unpriced_requests"],
            [today, "gpt-6-luna", "1", "7", "0.0000001", "0"],
            [today, "no-price", "1", "7", "", "1"],
        ]

    @pytest.mark.parametrize(
        "name", ['=HYPERLINK("x")', "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\uff1d1", "\uff0b1"]
    )
    def test_nothing_is_a_formula(self, door: Door, user: User, name: str) -> None:
        """Anybody may ask for a model of any name, and it is in the ledger then."""
        used(user, model=name)
        assert table(door.get("/ai/usage/?format=csv"))[1][1] == f"'{name}"

    def test_nor_is_one_behind_a_semicolon(self, door: Door, user: User) -> None:
        used(user, model="gpt;=1+1; @x;y")
        assert table(door.get("/ai/usage/?format=csv"))[1][1] == "gpt;'=1+1;' @x;y"

    @pytest.mark.parametrize(
        ("accept", "kind"),
        [
            ("text/csv", "text/csv"),
            ("text/csv;q=0.9, application/json;q=0.1", "text/csv"),
            ("*/*", "application/json"),
            ("image/png", "application/json"),
        ],
    )
    def test_who_prefers_it_gets_it(self, door: Door, accept: str, kind: str) -> None:
        answer = door.send("GET", "/ai/usage/", headers={"Accept": accept})
        assert answer.headers["Content-Type"].partition(";")[0] == kind
        assert "Accept" in answer.headers["Vary"]
        named = door.send("GET", "/ai/usage/?format=json", headers={"Accept": accept})
        assert named.json["by_model"] == {}
