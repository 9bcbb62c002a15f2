"""A report whose numbers are those of the ledger, whatever the ledger is."""

from __future__ import annotations

import json
import random
from collections import defaultdict
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django.contrib.auth.models import User
from django.core import mail
from django.utils import timezone
from pytest_django import Settings

from django_chatgpt.adapter import Adapter
from django_chatgpt.exceptions import InvalidRequestError
from django_chatgpt.models import AIAlert, AIUsage
from django_chatgpt.services import usage_report
from django_chatgpt.services.usage_report import as_lines, generate_usage_report
from tests.models import rows

pytestmark = pytest.mark.django_db


class Office(Adapter):
    def alert_recipients(self, alert: AIAlert) -> list[str]:
        return ["office@example.com"]


PARIS = ZoneInfo("Europe/Paris")
FIRST, LAST = date(2026, 10, 20), date(2026, 11, 10)  # the clocks go back on 25 October


def naive(found: list[AIUsage], name: str) -> dict[str, tuple[int, Decimal | None, int, int]]:
    """Added up by hand: tokens, cost, requests and those of unknown cost, by what `name` is in JSON."""
    groups: dict[str, list[AIUsage]] = defaultdict(list)
    for row in found:
        day = row.timestamp.astimezone(PARIS).date()
        keys = {
            "model": row.model,
            "kind": row.kind,
            "user_id": str(row.user_id),
            "date": day.isoformat(),
            "month": f"{day:%Y-%m}",
            "": "",
        }
        groups[keys[name]].append(row)
    sums = {}
    for key, of_key in groups.items():
        known = [row.estimated_cost for row in of_key if row.estimated_cost is not None]
        cost = sum(known, Decimal(0)) if known else None
        sums[key] = (sum(row.total_tokens for row in of_key), cost, len(of_key), len(of_key) - len(known))
    return sums


def of_report(found: list[dict[str, Any]], name: str) -> dict[str, tuple[int, Decimal | None, int, int]]:
    return {
        str(each.get(name, "")): (
            each["tokens"],
            None if each["cost"] is None else Decimal(each["cost"]),
            each["requests"],
            each["unpriced"],
        )
        for each in found
        if each["requests"]
    }


@pytest.mark.parametrize("seed", range(4))
def test_the_numbers_are_those_of_the_ledger(seed: int, user: User, other_user: User) -> None:
    chance = random.Random(seed)
    start = datetime(2026, 10, 18, tzinfo=PARIS)
    # Costs that SQLite, which adds floats, adds up exactly.
    costs = [None, Decimal(0), Decimal("0.25"), Decimal("3.5"), Decimal("0.0009765625")]
    AIUsage.objects.bulk_create(
        AIUsage(
            user=chance.choice([user, other_user, None]),
            model=chance.choice(["a", "b", "c"]),
            kind=chance.choice(["chat", "embedding", "moderation"]),
            outcome=chance.choice(["completed", "failed", "cancelled", "running"]),
            total_tokens=chance.randrange(1000),
            estimated_cost=chance.choice(costs[: chance.randint(1, 5)]),
            timestamp=start + timedelta(minutes=chance.randrange(26 * 24 * 60)),
        )
        for _ in range(300)
    )
    counted = [
        row
        for row in AIUsage.objects.exclude(outcome="running")
        if FIRST <= row.timestamp.astimezone(PARIS).date() <= LAST
    ]
    for whose, found in ((None, counted), (user, [row for row in counted if row.user_id == user.pk])):
        report = generate_usage_report(start=FIRST, end=LAST, user=whose)
        json.dumps(report)
        assert (report["start"], report["end"]) == ("2026-10-20", "2026-11-10")
        assert of_report([report["total"]], "") == naive(found, "")
        for part, name in (
            ("by_model", "model"),
            ("by_kind", "kind"),
            ("by_user", "user_id"),
            ("daily", "date"),
            ("monthly", "month"),
        ):
            assert of_report(report[part], name) == naive(found, name), part
        assert len(report["daily"]) == 22
        assert [each["month"] for each in report["monthly"]] == ["2026-10", "2026-11"]
        assert report["other_users"]["requests"] == 0


def test_users_beyond_the_first_are_told_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(usage_report, "MOST_USERS", 2)
    people = [User.objects.create_user(f"u{number}") for number in range(5)]
    for number, each in enumerate(people):
        cost = Decimal(number) if number else None
        rows.usage(user=each, outcome="completed", total_tokens=10, estimated_cost=cost)
    report = generate_usage_report(1)
    assert [each["user_id"] for each in report["by_user"]] == [people[4].pk, people[3].pk]
    others = report["other_users"]
    assert (others["tokens"], Decimal(others["cost"]), others["requests"], others["unpriced"]) == (
        30,
        3,
        3,
        1,
    )
    AIUsage.objects.filter(user__in=people[1:3]).delete()
    monkeypatch.setattr(usage_report, "MOST_USERS", 2)
    assert generate_usage_report(1)["other_users"]["cost"] is None


def test_nothing_was_used() -> None:
    report = generate_usage_report()
    assert len(report["daily"]) == 30
    assert report["total"] == {"tokens": 0, "cost": "0.000000000000", "requests": 0, "unpriced": 0}
    assert report["by_user"] == []


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"days": 0}, "days"),
        ({"days": 367}, "days"),
        ({"start": FIRST}, "start"),
        ({"end": LAST}, "start"),
        ({"start": FIRST, "end": LAST, "days": 3}, "start"),
        ({"start": LAST, "end": FIRST}, "end"),
        ({"start": FIRST, "end": FIRST + timedelta(days=366)}, "end"),
    ],
    ids=str,
)
def test_what_is_no_period(options: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        generate_usage_report(**options)
    assert list(caught.value.fields) == [field]


def test_sent_once(settings: Settings, user: User, django_capture_on_commit_callbacks: Any) -> None:
    settings.OPENAI_ADAPTER = "tests.services.test_usage_report.Office"
    settings.MAILERS = {"default": {"BACKEND": "django.core.mail.backends.locmem.EmailBackend"}}
    rows.usage(user=user, outcome="completed", total_tokens=10, estimated_cost=Decimal("1.5"), model="m<b>")
    for _ in range(2):
        with django_capture_on_commit_callbacks(execute=True):
            generate_usage_report(2, send=True)
    [message] = mail.outbox
    assert message.to == ["office@example.com"]
    today = timezone.localdate()
    assert message.subject == f"AI usage, {today - timedelta(days=1)} to {today}"
    assert "m<b>: 1 request, 10 tokens, 1.5 USD" in message.body
    assert AIAlert.objects.get().severity == "info"
    with django_capture_on_commit_callbacks(execute=True):
        generate_usage_report(2, send=True, user=user)
    assert len(mail.outbox) == 2


def test_as_people_read_it(user: User) -> None:
    rows.usage(user=user, outcome="completed", total_tokens=10, estimated_cost=None)
    rows.usage(outcome="completed", total_tokens=1, estimated_cost=Decimal(1))
    text = "\n".join(as_lines(generate_usage_report(1)))
    assert "2 requests, 11 tokens, 1 USD, 1 of them unpriced" in text
    assert f"user {user.pk}: 1 request, 10 tokens, unknown cost, 1 of them unpriced" in text
    assert "the site: 1 request," in text
