"""What the people who run the site are told, each thing once."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core import mail
from django.db import connection, connections, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from pytest_django import DjangoCaptureOnCommitCallbacks, Settings

from django_chatgpt.adapter import Adapter
from django_chatgpt.models import AIAlert
from django_chatgpt.services import AIService, alerts
from django_chatgpt.services.periods import period_of
from django_chatgpt.signals import alert_raised
from django_chatgpt.storage.budgets import Standing, Window
from django_chatgpt.testing import Answer, FakeOpenAI, Usage
from tests.models import rows

pytestmark = pytest.mark.django_db

PRICES = {"gpt-6-luna": {"input": "1000000", "output": "1000000"}}
DAY = "2026-11-22"


class Told(Adapter):
    def alert_recipients(self, alert: AIAlert) -> Sequence[str]:
        return ["ops@shop.example"] if alert.severity == "error" else []


class Confused(Adapter):
    def alert_recipients(self, alert: AIAlert) -> Sequence[str]:
        raise LookupError("secret")


def standing(spent: str, reserved: str = "0", kind: Any = "site", owner: Any = None) -> Standing:
    now = timezone.now()
    window = Window(kind, owner, "trial", "day", DAY, now, now, Decimal(10))
    return Standing(window, Decimal(spent), Decimal(reserved))


@pytest.fixture
def heard() -> Any:
    """What receivers of the signal have heard."""
    seen: list[dict[str, Any]] = []

    def listen(sender: Any, **values: Any) -> None:
        seen.append(values)

    alert_raised.connect(listen)
    yield seen
    alert_raised.disconnect(listen)


class TestBudgets:
    @pytest.mark.parametrize(
        ("spent", "reserved", "refused", "severity", "title"),
        [
            ("7.99", "9", False, None, ""),
            ("8", "0", False, "warning", "is used by 80 %"),
            ("9.99", "0.01", False, "warning", "is used by 80 %"),
            ("10", "0", False, "error", "is used up"),
            ("4", "6", True, "error", "is used up"),
            ("1", "0", True, "error", "has too little left for a question"),
        ],
    )
    def test_levels(self, spent: str, reserved: str, refused: bool, severity: str | None, title: str) -> None:
        alerts.budget(standing(spent, reserved), refused=refused)
        found = AIAlert.objects.values_list("severity", "title")
        assert list(found) == (
            [] if severity is None else [(severity, f"The budget of the site for the day {title}")]
        )

    def test_each_level_once_in_the_period(self) -> None:
        for spent in ("8", "9", "10", "11"):
            alerts.budget(standing(spent))
            alerts.told.clear()
        assert list(AIAlert.objects.order_by("pk").values_list("metadata__percent", flat=True)) == [80, 100]

    def test_whose_it_is(self, user: User) -> None:
        alerts.budget(standing("9", kind="user", owner=user.pk))
        alerts.budget(standing("9", kind="group", owner=3))
        mine, groups = AIAlert.objects.order_by("pk")
        assert (mine.user, groups.user) == (user, None)
        assert mine.title.startswith(f"The budget of user {user.pk} ")
        assert groups.title.startswith("The budget of the group trial ")

    def test_a_turn_that_passes_both(self, user: User, fake_openai: FakeOpenAI, settings: Settings) -> None:
        settings.OPENAI_PRICES = PRICES
        settings.OPENAI_MAX_TOKENS = 10
        settings.OPENAI_BUDGETS = [
            {"scope": "user", "period": "day", "limit": "20"},
            {"scope": "site", "period": "month", "limit": "18"},
        ]
        fake_openai.reply("Hello", usage=Usage(8, 10))
        AIService(user).ask("Hi", use_functions=False)
        assert set(AIAlert.objects.values_list("title", flat=True)) == {
            f"The budget of user {user.pk} for the day is used by 80 %",
            "The budget of the site for the month is used up",
        }


class TestThresholds:
    def test_days_and_months(self, user: User, fake_openai: FakeOpenAI, settings: Settings) -> None:
        settings.OPENAI_PRICES = PRICES
        settings.OPENAI_DAILY_COST_THRESHOLD = "22"
        settings.OPENAI_MONTHLY_COST_THRESHOLD = "33"
        titles = []
        for _ in range(5):
            fake_openai.reply("Hello", usage=Usage(8, 3))
            AIService(user).ask("Hi", use_functions=False)
            titles.append(list(AIAlert.objects.order_by("pk").values_list("title", flat=True)))
        day, month = "This day has cost more than 22 USD", "This month has cost more than 33 USD"
        assert titles == [[], [], [day], [day, month], [day, month]]
        assert set(AIAlert.objects.values_list("key", flat=True)) == {
            f"cost:{kind}:{period_of(kind, timezone.now()).label}" for kind in ("day", "month")
        }

    def test_without_them_nothing_is_asked(
        self, user: User, fake_openai: FakeOpenAI, settings: Settings
    ) -> None:
        settings.OPENAI_PRICES = PRICES
        with CaptureQueriesContext(connection) as captured:
            AIService(user).ask("Hi", use_functions=False)
        assert not [query for query in captured.captured_queries if "ai_alert" in query["sql"]]


class TestUnknownPrices:
    def test_once_for_each_model(self, user: User, fake_openai: FakeOpenAI) -> None:
        for model in ("own", "own", "other"):
            AIService(user).ask("Hi", model=model, use_functions=False)
        assert sorted(AIAlert.objects.values_list("metadata__model", flat=True)) == ["other", "own"]

    def test_not_again_tomorrow_while_it_is_open(self, monkeypatch: pytest.MonkeyPatch) -> None:
        alerts.unknown_price("own")
        AIAlert.objects.update(key="price:own:2026-01-01")
        alerts.unknown_price("own")
        assert AIAlert.objects.count() == 1
        AIAlert.objects.update(is_resolved=True, resolved_at=timezone.now())
        alerts.told.clear()
        alerts.unknown_price("own")
        assert AIAlert.objects.count() == 2

    def test_a_free_call_and_an_unknown_usage_say_nothing(self, fake_openai: FakeOpenAI) -> None:
        rows.usage(outcome="failed", usage_source="unknown")
        assert not AIAlert.objects.exists()


class TestTelling:
    def test_the_signal_comes_after_the_commit(
        self, heard: list[Any], django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks
    ) -> None:
        with django_capture_on_commit_callbacks(execute=True):
            assert alerts.raise_alert("cost", "cost:x", severity="warning", title="T", description="D")
            assert heard == []
        [values] = heard
        assert values["alert_id"] == AIAlert.objects.get().pk
        assert (values["kind"], values["severity"]) == ("cost", "warning")

    def test_mail_to_those_the_adapter_names(
        self, settings: Settings, django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks
    ) -> None:
        settings.OPENAI_ADAPTER = f"{__name__}.Told"
        settings.MAILERS = {"default": {"BACKEND": "django.core.mail.backends.locmem.EmailBackend"}}
        with django_capture_on_commit_callbacks(execute=True):
            for spent in ("8", "10", "10"):
                alerts.budget(standing(spent))
            assert mail.outbox == []
        [sent] = mail.outbox
        assert sent.to == ["ops@shop.example"]
        assert sent.subject == "The budget of the site for the day is used up"

    def test_a_mail_that_fails_harms_nothing(
        self,
        settings: Settings,
        monkeypatch: pytest.MonkeyPatch,
        caplog: pytest.LogCaptureFixture,
        django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks,
    ) -> None:
        def refuse(*args: Any, **options: Any) -> None:
            raise OSError("no such server")

        monkeypatch.setattr(alerts, "send_mail", refuse)
        settings.OPENAI_ADAPTER = f"{__name__}.Told"
        with django_capture_on_commit_callbacks(execute=True):
            alerts.budget(standing("10"))
        assert AIAlert.objects.count() == 1
        assert caplog.records

    def test_nor_does_an_adapter_that_fails(
        self, settings: Settings, caplog: pytest.LogCaptureFixture
    ) -> None:
        settings.OPENAI_ADAPTER = f"{__name__}.Confused"
        alerts.budget(standing("10"))
        assert not AIAlert.objects.exists()
        assert "LookupError" in caplog.text
        assert "secret" not in caplog.text

    def test_what_is_too_long_is_cut(self) -> None:
        assert alerts.raise_alert("price", "k" * 300, severity="info", title="t" * 300, description="D")
        found = AIAlert.objects.get()
        assert (len(found.key or ""), len(found.title)) == (255, 200)

    def test_a_process_remembers_only_so_many(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(alerts, "REMEMBERED", 3)
        for number in range(4):
            alerts.told.add(str(number))
        assert [str(number) in alerts.told for number in range(4)] == [False, False, False, True]


@pytest.mark.django_db(transaction=True)
class TestAtOnce:
    def test_one_of_many_raises_it(self, heard: list[Any]) -> None:
        barrier = threading.Barrier(12, timeout=20)

        def work(number: int) -> bool:
            connection.ensure_connection()
            barrier.wait()
            try:
                return alerts.raise_alert("cost", "cost:x", severity="info", title="T", description="D")
            finally:
                connections.close_all()

        with ThreadPoolExecutor(12) as pool:
            went = list(pool.map(work, range(12)))
        assert went.count(True) == len(heard) == AIAlert.objects.count() == 1

    def test_one_that_is_taken_back_is_told_again(self, heard: list[Any]) -> None:
        raised = []
        for _ in range(2):
            with transaction.atomic():
                raised.append(
                    alerts.raise_alert("cost", "cost:x", severity="info", title="T", description="D")
                )
                transaction.set_rollback(len(raised) == 1)
        assert raised == [True, True]
        assert len(heard) == AIAlert.objects.count() == 1
        with CaptureQueriesContext(connection) as captured:
            assert not alerts.raise_alert("cost", "cost:x", severity="info", title="T", description="D")
        assert len(captured) == 0

    def test_turns_at_once_tell_of_a_price_once(self, fake_openai: FakeOpenAI) -> None:
        fake_openai.respond_with(lambda request: Answer("Hello"))

        def work(number: int) -> None:
            try:
                AIService(None).ask("Hi", model="own", use_functions=False)
            finally:
                connections.close_all()

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(work, range(16)))
        assert AIAlert.objects.get().metadata == {"model": "own"}
