"""The command that says what was used."""

from __future__ import annotations

import csv
import io
import json
import re
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.db.models import Sum

from django_chatgpt.models import AIUsage
from django_chatgpt.services.periods import local
from tests.models import rows

pytestmark = pytest.mark.django_db

DAY = ("--from", "2026-03-10", "--to", "2026-03-10")


def said(*arguments: str) -> str:
    out, err = io.StringIO(), io.StringIO()
    call_command("chatgpt_usage", *arguments, stdout=out, stderr=err)
    assert err.getvalue() == ""
    return out.getvalue()


def found(*arguments: str) -> dict[str, Any]:
    body: dict[str, Any] = json.loads(said(*arguments, "--format", "json"))
    return body


def call(cost: str | None, tokens: int = 10, *, at: str = "2026-03-10T12:00", **fields: Any) -> AIUsage:
    return rows.usage(
        estimated_cost=None if cost is None else Decimal(cost),
        total_tokens=tokens,
        outcome="completed",
        timestamp=datetime.fromisoformat(at).replace(tzinfo=UTC),
        **fields,
    )


def test_a_table_with_its_totals_and_what_is_unknown(user: User) -> None:
    call("0.25", 1500, user=user)
    call(None, 20, model="own-model")
    call("0.5", 10, model="own-model", kind="embedding")
    lines = said(*DAY, "--by", "model").splitlines()
    assert lines[0] == "2026-03-10 to 2026-03-10"
    assert [re.split("  +", line.strip()) for line in lines if "---" not in line][1:-1] == [
        ["model", "requests", "tokens", "cost (USD)"],
        ["own-model", "2", "30", "0.5 + 1 unknown"],
        ["gpt-6-luna", "1", "1,500", "0.25"],
        ["total", "3", "1,530", "0.75 + 1 unknown"],
    ]
    assert lines[-1].startswith("1 of 3 requests have no known cost")
    assert len({len(line) for line in lines[1:7]}) == 1


def test_what_has_no_known_cost_is_unknown_and_never_nothing() -> None:
    call(None)
    line = said(*DAY, "--by", "kind").splitlines()[3]
    assert line.split() == ["chat", "1", "10", "unknown"]
    assert found(*DAY)["total"]["cost"] is None
    assert said(*DAY, "--format", "csv").splitlines()[1] == "2026-03-10,1,10,,1"


def test_the_numbers_are_those_of_the_ledger(user: User, other_user: User) -> None:
    for number, owner in enumerate([user, other_user, None] * 3):
        call(f"0.00000{number}01", number, user=owner, kind="chat" if number % 2 else "embedding")
    later = call("7", at="2026-03-12T12:00")
    sums = AIUsage.objects.exclude(pk=later.pk).aggregate(Sum("estimated_cost"), Sum("total_tokens"))
    for by in ("day", "model", "user", "kind"):
        body = found(*DAY, "--by", by)
        assert Decimal(body["total"]["cost"]) == sums["estimated_cost__sum"].normalize()
        assert sum(Decimal(row["cost"]) for row in body["rows"]) == Decimal(body["total"]["cost"])
        assert (
            sum(row["tokens"] for row in body["rows"]) == sums["total_tokens__sum"] == body["total"]["tokens"]
        )
    names = {row["user"] for row in found(*DAY, "--by", "user")["rows"]}
    assert names == {"ada", "bob", "(the site)"}
    assert found(*DAY, "--user", "ada")["total"]["requests"] == 3
    assert found(*DAY, "--user", str(user.pk))["total"]["requests"] == 3


def test_a_day_is_one_of_the_site() -> None:
    call("1", at="2026-03-09T22:59")
    call("2", at="2026-03-09T23:01")
    call("4", at="2026-03-10T23:01")
    assert found(*DAY)["total"]["cost"] == "2"


def test_the_last_days_each_have_a_row_and_what_runs_is_in_none() -> None:
    rows.usage(outcome="running", timestamp=datetime.now(UTC))
    body = found("--days", "3")
    today = local(datetime.now(UTC)).date()
    assert [date.fromisoformat(row["day"]) for row in body["rows"]][-1] in (today, today + timedelta(days=1))
    assert [row["requests"] for row in body["rows"]] == [0, 0, 0]
    assert body["total"]["cost"] == "0"
    assert len(found()["rows"]) == 30


def test_a_table_begins_with_the_first_day_that_used_anything() -> None:
    call("1", at="2026-03-08T12:00")
    lines = said("--from", "2026-02-10", "--to", "2026-03-10").splitlines()
    assert lines[0] == "2026-02-10 to 2026-03-10"
    assert [line.split()[0] for line in lines[3:6]] == ["2026-03-08", "2026-03-09", "2026-03-10"]


def test_a_terminal_obeys_no_name() -> None:
    call("1", model="a\x1b]0;b\x07\u202ec")
    shown = said(*DAY, "--by", "model")
    assert "a]0;bc" in shown
    assert shown.replace("\n", "").isprintable()


def test_a_spreadsheet_calculates_no_name() -> None:
    call("1", model="=1+1")
    table = list(csv.reader(io.StringIO(said(*DAY, "--by", "model", "--format", "csv"))))
    assert table == [
        ["model", "requests", "tokens", "cost", "unpriced_requests"],
        ["'=1+1", "1", "10", "1", "0"],
        ["total", "1", "10", "1", "0"],
    ]


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["--days", "0"], "There is no day in that"),
        (["--from", "2026-03-10", "--to", "2026-03-09"], "There is no day in that"),
        (["--days", "2", "--from", "2026-03-10"], "not both"),
        (["--from", "1990-01-01", "--to", "2026-03-09"], "more than 3660 days"),
        (["--from", "tomorrow"], "no date such as"),
        (["--from", "2026-02-31"], "no date such as"),
        (["--user", "nobody"], "no user 'nobody'"),
    ],
)
def test_what_makes_no_sense_is_said(arguments: list[str], problem: str) -> None:
    with pytest.raises(CommandError, match=problem):
        said(*arguments)
