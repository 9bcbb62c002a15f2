"""What was used: totals of exactly what is filtered, in the site's days; charts; a table to take along."""

from __future__ import annotations

import csv
import io
import sys
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any
from unittest import mock
from xml.etree import ElementTree
from zoneinfo import ZoneInfo

import pytest
from asgiref.sync import async_to_sync
from django.contrib.auth import get_user_model
from django.contrib.auth.models import User
from django.db import connection
from django.test import AsyncClient, Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from django_chatgpt.admin import charts, export, report
from django_chatgpt.models import AIUsage
from tests.admin.makers import address
from tests.admin.staff import staff_browser
from tests.models import rows

pytestmark = pytest.mark.django_db

PAGE = "report"


def need_charts() -> None:
    """Skip without the extra; with it, import the library as the admin does, leaving no finder behind."""
    if charts.missing():
        pytest.importorskip("pygal")


def use(cost: str | None = "0.25", **fields: Any) -> AIUsage:
    return rows.usage(
        **{
            "outcome": "completed",
            "total_tokens": 100,
            "estimated_cost": None if cost is None else Decimal(cost),
            **fields,
        }
    )


def reported(browser: Client, **query: Any) -> report.Report:
    found: report.Report = browser.get(address(AIUsage, PAGE), {"period": "all", **query}).context["report"]
    return found


def test_it_adds_up_what_is_filtered_and_says_what_is_unknown(
    admin_browser: Client, user: User, other_user: User
) -> None:
    use("0.10", user=user)
    use("0.20", user=user, model="gpt-6-sol")
    use(None, user=other_user, model="mine")
    use("0.40", kind="embedding")
    use(None, outcome="running", total_tokens=5)
    every = reported(admin_browser)
    assert (every.total.requests, every.total.tokens) == (4, 400)
    assert every.total.cost == Decimal("0.70")
    assert every.total.unpriced == 1
    assert every.running == 1
    text = admin_browser.get(address(AIUsage, PAGE), {"period": "all"}).text
    assert "1 request has no known cost" in text
    assert "1 request is still being made" in text
    assert reported(admin_browser, kind__exact="embedding").total.cost == Decimal("0.40")
    assert reported(admin_browser, user=user.pk).total.cost == Decimal("0.30")
    assert reported(admin_browser, user="-").total.cost == Decimal("0.40")
    assert reported(admin_browser, q="bob").total.cost is None
    assert reported(admin_browser, model="gpt-6-sol").total.cost == Decimal("0.20")
    by_user = every.section("user").bars
    assert [(row.label, row.choice) for row in by_user] == [
        ("the site itself", "-"),
        ("ada", str(user.pk)),
        ("bob", str(other_user.pk)),
    ]
    assert by_user[2].used.cost is None


def test_days_are_the_sites_whatever_zone_is_active(admin_browser: Client) -> None:
    paris = ZoneInfo("Europe/Paris")
    use(timestamp=datetime(2026, 5, 31, 23, 59, tzinfo=paris))
    use(timestamp=datetime(2026, 6, 1, 0, 1, tzinfo=paris))
    use(timestamp=datetime(2026, 6, 3, 12, tzinfo=paris))
    with timezone.override("America/Los_Angeles"):
        june = reported(admin_browser, timestamp__year=2026, timestamp__month=6)
    assert june.total.requests == 2
    days = reported(admin_browser).section("time").bars
    assert [(row.label, row.used.requests) for row in days] == [
        ("2026-05-31", 1),
        ("2026-06-01", 1),
        ("2026-06-02", 0),
        ("2026-06-03", 1),
    ]


def test_a_long_time_is_shown_by_months(admin_browser: Client) -> None:
    now = timezone.now()
    use(timestamp=now)
    use(None, timestamp=now - timedelta(days=report.MOST_DAYS + 40))
    months = reported(admin_browser).section("time").bars
    assert 4 <= len(months) <= 6
    assert months[0].used.cost is None
    assert (months[1].used.requests, months[1].used.cost) == (0, 0)
    assert months[-1].used.cost == Decimal("0.25")


def test_of_many_users_and_models_the_dearest_are_shown_and_the_rest_as_one(
    admin_browser: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(report, "MOST_USERS", 2)
    monkeypatch.setattr(report, "MOST_MODELS", 1)
    for number, cost in enumerate(["0.10", "0.20", "0.30", None]):
        use(cost, user=get_user_model().objects.create_user(f"u{number}"), model=f"m{number}")
    found = reported(admin_browser)
    assert [(row.label, row.used.cost) for row in found.section("user").bars] == [
        ("u2", Decimal("0.30")),
        ("u1", Decimal("0.20")),
        ("all others", Decimal("0.10")),
    ]
    assert [(row.label, row.used.requests) for row in found.section("model").bars] == [
        ("m2", 1),
        ("all others", 3),
    ]


def test_without_a_period_it_is_the_last_thirty_days(admin_browser: Client) -> None:
    use(timestamp=timezone.now() - timedelta(days=31))
    answer = admin_browser.get(address(AIUsage, PAGE), {"kind__exact": "chat"}, follow=True)
    assert answer.redirect_chain[0][0] == "?kind__exact=chat&period=30"
    assert answer.context["report"].total.requests == 0
    assert "Nothing was used." in answer.text


@pytest.mark.parametrize(
    ("period", "days", "in_it"),
    [
        ("today", 0, True),
        ("today", 1, False),
        ("7", 6, True),
        ("7", 7, False),
        ("90", 89, True),
        ("year", 400, False),
    ],
)
def test_periods_end_today(period: str, days: int, in_it: bool, admin_browser: Client) -> None:
    use(timestamp=timezone.now() - timedelta(days=days))
    assert reported(admin_browser, period=period).total.requests == int(in_it)


def test_last_month_is_whole(admin_browser: Client) -> None:
    from django_chatgpt.admin.filters import days_of

    day = datetime(2026, 3, 15, tzinfo=ZoneInfo("UTC")).date()
    assert [str(each) for each in days_of("last-month", day)] == ["2026-02-01", "2026-02-28"]
    assert [str(each) for each in days_of("month", day)] == ["2026-03-01", "2026-03-15"]
    assert [str(each) for each in days_of("year", day)] == ["2026-01-01", "2026-03-15"]


@pytest.mark.parametrize("query", [{"nothing": "such"}, {"timestamp__gte": "yesterday"}, {"user": "no-key"}])
def test_what_is_asked_wrongly_is_asked_anew(query: dict[str, str], admin_browser: Client) -> None:
    use()
    for page in (PAGE, "export"):
        answer = admin_browser.get(address(AIUsage, page), {"period": "all", **query}, follow=True)
        assert answer.status_code == 200


@pytest.mark.parametrize("section", ["time", "model", "user"])
@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("cost", ["0.25", None])
def test_charts_are_pictures_without_scripts(
    section: str, theme: str, cost: str | None, admin_browser: Client, user: User
) -> None:
    need_charts()
    user.username = "</text><script>alert(1)</script>"
    user.save()
    for days in range(20):
        use(cost, user=user, model='"><script>', timestamp=timezone.now() - timedelta(days=days))
    answer = admin_browser.get(address(AIUsage, "chart", section, theme), {"period": "all"})
    assert answer["Content-Type"] == "image/svg+xml"
    assert answer["Content-Security-Policy"] == "default-src 'none'; style-src 'unsafe-inline'"
    drawn = ElementTree.fromstring(answer.content)
    assert drawn.tag == "{http://www.w3.org/2000/svg}svg"
    assert not [node for node in drawn.iter() if "script" in str(node.tag)]


def test_a_chart_is_drawn_whatever_things_are_called(admin_browser: Client) -> None:
    need_charts()
    use(model="a\x0bb\x1b[31m\ufffe")
    drawn = admin_browser.get(address(AIUsage, "chart", "model", "light"), {"period": "all"})
    assert "a\ufffdb\ufffd[31m\ufffd" in "".join(ElementTree.fromstring(drawn.content).itertext())


def test_the_library_leaves_nothing_behind(admin_browser: Client) -> None:
    need_charts()
    admin_browser.get(address(AIUsage, "chart", "time", "light"), {"period": "all"})
    assert "pygal" not in {type(finder).__module__ for finder in sys.meta_path}


def test_an_empty_chart_is_drawn(admin_browser: Client) -> None:
    need_charts()
    for section in report.SECTIONS:
        assert (
            admin_browser.get(address(AIUsage, "chart", section, "light"), {"period": "all"}).status_code
            == 200
        )


def test_there_are_no_other_charts(admin_browser: Client) -> None:
    for section, theme in (("weather", "light"), ("time", "pink")):
        assert admin_browser.get(address(AIUsage, "chart", section, theme)).status_code == 404


def test_without_the_extra_there_are_tables_and_a_sentence(admin_browser: Client) -> None:
    use()
    with mock.patch.dict("sys.modules", {"pygal": None}):
        page = admin_browser.get(address(AIUsage, PAGE), {"period": "all"}).text
        chart = admin_browser.get(address(AIUsage, "chart", "time", "light"))
    assert "pip install &#x27;django-chatgpt[charts]&#x27;" in page
    assert "<img" not in page.partition("ai-page")[2]
    assert chart.status_code == 404


def test_every_page_is_for_those_who_may_view_the_ledger() -> None:
    pages = [address(AIUsage, PAGE), address(AIUsage, "export"), address(AIUsage, "chart", "time", "light")]
    stranger, viewer = staff_browser("view_aiturn"), staff_browser("view_aiusage", name="viewer")
    for page in pages:
        assert stranger.get(page).status_code == 403
        assert viewer.get(page, {"period": "all"}).status_code in (200, 404)


def test_the_report_asks_as_often_for_many_rows_as_for_few(admin_browser: Client) -> None:
    def asked() -> int:
        with CaptureQueriesContext(connection) as captured:
            admin_browser.get(address(AIUsage, PAGE), {"period": "all"})
        return len(captured)

    def fill(number: int) -> None:
        use(user=get_user_model().objects.create_user(f"u{number}"), model=f"m{number}")

    fill(0)
    asked()
    few = asked()
    for number in range(1, 9):
        fill(number)
    assert asked() == few <= 12


def exported(browser: Client, **query: Any) -> list[dict[str, str]]:
    answer = browser.get(address(AIUsage, "export"), query)
    assert answer.streaming
    return list(csv.DictReader(io.StringIO(b"".join(answer).decode())))


def test_the_ledger_can_be_taken_along(admin_browser: Client, user: User) -> None:
    user.username = "=cmd|' /C calc'!A0"
    user.save()
    use("0.000000100000", user=user, model="@SUM(1)", request_id="-1", error_code="+1")
    use(None, kind="embedding")
    newer, older = exported(admin_browser)
    assert newer["estimated_cost"] == ""
    assert older["estimated_cost"] == "0.000000100000"
    assert older["user"] == "'=cmd|' /C calc'!A0"
    assert (older["model"], older["request_id"], older["error_code"]) == ("'@SUM(1)", "'-1", "'+1")
    assert older["time"].endswith(("+01:00", "+02:00"))
    assert [row["kind"] for row in exported(admin_browser, kind__exact="chat")] == ["chat"]


def test_keys_of_users_may_be_texts() -> None:
    row = AIUsage(user=User(pk="=1+1"), timestamp=timezone.now())
    assert export._line(row)[2] == "'=1+1"


@pytest.mark.parametrize("number", [1, 5, 6, 11])
@pytest.mark.parametrize("handler", ["wsgi", "asgi"])
def test_each_row_is_exported_once_page_by_page(
    number: int, handler: str, staff_user: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export, "PER_PAGE", 5)
    same = timezone.now()
    keys = {str(use(timestamp=same - timedelta(seconds=each % 2)).pk) for each in range(number)}
    if handler == "wsgi":
        browser = Client()
        browser.force_login(staff_user)
        found = exported(browser)
    else:
        visitor = AsyncClient()
        visitor.force_login(staff_user)

        async def read() -> bytes:
            answer = await visitor.get(address(AIUsage, "export"))
            return b"".join([part async for part in answer])

        found = list(csv.DictReader(io.StringIO(async_to_sync(read)().decode())))
    assert len(found) == number
    assert {row["id"] for row in found} == keys


def test_the_list_leads_from_years_to_days_and_keeps_its_filters(admin_browser: Client) -> None:
    zone = ZoneInfo("Europe/Paris")
    for year, month, day in ((2024, 12, 31), (2026, 5, 4), (2026, 6, 5)):
        use(timestamp=datetime(year, month, day, 12, tzinfo=zone))

    def dates(**query: Any) -> dict[str, Any]:
        found: dict[str, Any] = admin_browser.get(address(AIUsage, "changelist"), query).context["dates"]
        return found

    assert [each["title"] for each in dates()["choices"]] == ["2024", "2025", "2026"]
    year = dates(timestamp__year=2026, kind__exact="chat")
    assert [each["title"] for each in year["choices"]][-1] == "June 2026"
    assert "kind__exact=chat" in year["choices"][0]["link"]
    assert year["back"]["title"] == "All dates"
    month = dates(timestamp__year=2026, timestamp__month=6)
    assert [each["title"] for each in month["choices"]] == [f"June {day}" for day in range(1, 6)]
    day = dates(timestamp__year=2026, timestamp__month=6, timestamp__day=5)
    assert day["back"]["title"] == "June 2026"
    tools = admin_browser.get(address(AIUsage, "changelist"), {"timestamp__year": 2026, "p": 0}).context[
        "tools"
    ]
    assert tools[0].address.endswith("?timestamp__year=2026")


def test_an_empty_ledger_has_no_dates(admin_browser: Client) -> None:
    assert admin_browser.get(address(AIUsage, "changelist")).context["dates"] == {"show": False}
