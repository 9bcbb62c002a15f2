"""Budgets: reserved before a call, settled after it, released on every ending; refused with the time."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from django.contrib.auth.models import Group, User
from django.db import connection
from django.db.models import Sum
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from pytest_django import Settings

from django_chatgpt.core.events import Content, Failed
from django_chatgpt.exceptions import (
    InvalidRequestError,
    NotFoundError,
    ProviderRejectedError,
    QuotaExceededError,
)
from django_chatgpt.functions import function_registry
from django_chatgpt.functions.calls import Function
from django_chatgpt.models import AIAlert, AIBudget, AIConversation, AIMessage, AITurn, AIUsage
from django_chatgpt.services import AIService, alerts, approvals, chat
from django_chatgpt.services.budgets import Payer
from django_chatgpt.services.sweeper import sweep_expired
from django_chatgpt.storage import budgets as storage
from django_chatgpt.storage import ledger
from django_chatgpt.storage.alerts import MOST_OPEN
from django_chatgpt.testing import Answer, Call, Drop, Failure, FakeOpenAI, Usage
from tests.models import rows

if TYPE_CHECKING:
    from tests.services.conftest import Async, Sync

    Colour = Sync | Async

pytestmark = pytest.mark.django_db

# A token is a dollar, whichever way it goes, and an answer has 10 of them at most.
PRICES = {"gpt-6-luna": {"input": "1000000", "output": "1000000"}}
ASKED = 8  # what "Hi" is to the model: the word, and seven around it


@pytest.fixture(autouse=True)
def _money(settings: Settings) -> None:
    settings.OPENAI_PRICES = PRICES
    settings.OPENAI_MAX_TOKENS = 10
    settings.OPENAI_MAX_RETRIES = 0
    settings.OPENAI_ENABLE_CACHING = False


def budget(limit: int | str, scope: str = "user", period: str = "day") -> dict[str, str]:
    return {"scope": scope, "period": period, "limit": str(limit)}


def payer(user: User | None) -> Payer:
    found = Payer.of(user)
    assert found is not None
    return found


def reserved() -> Decimal | None:
    total: Decimal | None = AIUsage.objects.aggregate(sum=Sum("reserved_cost"))["sum"]
    return total


@pytest.fixture
def holds(monkeypatch: pytest.MonkeyPatch) -> list[Decimal]:
    """What was reserved as each attempt was announced."""
    seen: list[Decimal] = []
    announce = ledger.announce

    def spy(*args: Any, hold: ledger.Hold | None = None, **fields: Any) -> None:
        announce(*args, hold=hold, **fields)
        assert hold is not None
        assert reserved() == hold.cost
        seen.append(hold.cost)

    monkeypatch.setattr(ledger, "announce", spy)
    return seen


def at_rest() -> bool:
    held = AIUsage.objects.exclude(reserved_cost=None, reserved_until=None)
    return not held.exists() and not AIUsage.objects.filter(outcome="running").exists()


def ask(user: User | None, **options: Any) -> chat.Prepared:
    prepared = chat.begin(chat.Ask(user=user, text="Hi", use_functions=False, **options))
    assert isinstance(prepared, chat.Prepared)
    return prepared


class TestReserving:
    def test_the_worst_case_is_held_until_the_real_one_is_known(
        self, user: User, fake_openai: FakeOpenAI, settings: Settings
    ) -> None:
        settings.OPENAI_BUDGETS = [budget(100)]
        fake_openai.reply("Hello", usage=Usage(8, 3))
        prepared = ask(user)
        row = AIUsage.objects.get()
        assert (row.reserved_cost, row.estimated_cost) == (ASKED + 10, None)
        assert row.reserved_until is not None
        list(chat.run(prepared))
        row.refresh_from_db()
        assert (row.reserved_cost, row.reserved_until, row.estimated_cost) == (None, None, 11)
        assert row.priced_at is not None

    def test_what_is_reserved_is_not_there_for_others(
        self, user: User, other_user: User, settings: Settings
    ) -> None:
        settings.OPENAI_BUDGETS = [budget(3 * (ASKED + 10) - 1, "site")]
        ask(user)
        ask(other_user)
        with pytest.raises(QuotaExceededError):
            ask(user)
        assert AITurn.objects.count() == AIConversation.objects.count() == AIUsage.objects.count() == 2

    def test_a_limit_may_be_used_to_the_last_cent(self, user: User, settings: Settings) -> None:
        settings.OPENAI_BUDGETS = [budget(2 * (ASKED + 10))]
        ask(user)
        ask(user)
        with pytest.raises(QuotaExceededError):
            ask(user)

    def test_each_user_has_their_own(self, user: User, other_user: User, settings: Settings) -> None:
        settings.OPENAI_BUDGETS = [budget(ASKED + 10)]
        ask(user)
        with pytest.raises(QuotaExceededError, match="your budget, 18 USD a day"):
            ask(user)
        ask(other_user)
        ask(None)

    def test_a_group_shares_one(self, user: User, other_user: User, settings: Settings) -> None:
        settings.OPENAI_BUDGETS = [budget(ASKED + 10, "group:trial")]
        trial, other = Group.objects.create(name="trial"), Group.objects.create(name="trials")
        user.groups.add(trial, other)
        other_user.groups.add(trial)
        ask(user)
        with pytest.raises(QuotaExceededError, match="the budget of your group for the day"):
            ask(other_user)
        other_user.groups.set([other])
        ask(other_user)
        assert list(AIUsage.objects.order_by("pk").values_list("budget_groups", flat=True)) == [
            f",{trial.pk},",
            "",
        ]
        # What was spent as a member stays the group's.
        user.groups.clear()
        other_user.groups.set([trial])
        with pytest.raises(QuotaExceededError):
            ask(other_user)

    def test_a_group_is_called_exactly_so(self, user: User, settings: Settings) -> None:
        settings.OPENAI_BUDGETS = [budget(1, "group:trial")]
        user.groups.add(Group.objects.create(name="Trial"))
        ask(user)
        assert AIUsage.objects.get().budget_groups == ""

    def test_the_last_reset_of_several_is_told(self, user: User, settings: Settings) -> None:
        settings.OPENAI_BUDGETS = [budget(18), budget(20, period="month"), budget(50, "site")]
        ask(user)
        with pytest.raises(QuotaExceededError) as refused:
            ask(user)
        [_, month, _] = payer(user).windows(timezone.now())
        assert "20 USD a month" in str(refused.value)
        assert f"{timezone.localtime(month.end):%Y-%m-%d} 00:00" in str(refused.value)
        left = (month.end - timezone.now()).total_seconds()
        assert refused.value.retry_after == pytest.approx(left, abs=60)
        assert refused.value.code == "quota_exceeded"

    @pytest.mark.parametrize(("scope", "whose"), [("site", "the site"), ("group:trial", "your group")])
    def test_what_others_pay_for_too_is_told_without_figures(
        self, user: User, settings: Settings, scope: str, whose: str
    ) -> None:
        user.groups.add(Group.objects.create(name="trial"))
        settings.OPENAI_BUDGETS = [budget(17, scope, "month")]
        with pytest.raises(QuotaExceededError) as refused:
            ask(user)
        told = refused.value.public_message
        assert f"the budget of {whose} for the month. It begins anew at 20" in told
        assert "USD" not in told
        assert "trial" not in told

    def test_a_question_that_no_period_has_enough_for(self, user: User, settings: Settings) -> None:
        settings.OPENAI_BUDGETS = [budget(10)]
        with pytest.raises(QuotaExceededError, match="This may cost 18 USD, more than your budget allows"):
            ask(user)

    def test_a_reply_without_a_cap_may_fill_the_window(self, user: User, settings: Settings) -> None:
        settings.OPENAI_MAX_TOKENS = None
        settings.OPENAI_CONTEXT_WINDOW = {"gpt-6-luna": 1000}
        settings.OPENAI_TOKEN_BUFFER = 0
        settings.OPENAI_BUDGETS = [budget(1000)]
        ask(user)
        assert reserved() == 1000

    def test_without_budgets_nothing_is_asked(self, user: User, fake_openai: FakeOpenAI) -> None:
        with CaptureQueriesContext(connection) as captured:
            list(chat.run(ask(user)))
        assert not [query for query in captured.captured_queries if "ai_budget" in query["sql"]]
        assert not [query for query in captured.captured_queries if "SUM(" in query["sql"]]
        assert at_rest()

    def test_a_model_without_a_price_is_refused(self, user: User, settings: Settings) -> None:
        settings.OPENAI_BUDGETS = [budget(100)]
        with pytest.raises(InvalidRequestError, match="model: smollm2 has no known price"):
            ask(user, model="smollm2")
        assert not AITurn.objects.exists()
        assert AIAlert.objects.get().metadata == {"model": "smollm2"}

    def test_a_free_model_is_not_refused_when_all_is_spent(self, user: User, settings: Settings) -> None:
        settings.OPENAI_PRICES = {**PRICES, "own": {"input": "0", "output": "0"}}
        settings.OPENAI_BUDGETS = [budget(18)]
        ask(user)
        ask(user, model="own")

    def test_a_new_day_has_its_own_money(self, user: User, settings: Settings) -> None:
        settings.OPENAI_BUDGETS = [budget(18)]
        [today] = payer(user).windows(timezone.now())
        rows.usage(
            user=user, estimated_cost=18, outcome="completed", timestamp=today.start - timedelta(seconds=1)
        )
        ask(user)
        AIUsage.objects.update(timestamp=today.start)
        AIBudget.objects.all().delete()
        with pytest.raises(QuotaExceededError):
            ask(user)


class TestReleasing:
    """No phantom 429 after an error, whatever the error."""

    @pytest.mark.parametrize(
        "step",
        [
            Answer("Hello", usage=Usage(8, 3)),
            Failure(500),
            Failure(429, code="insufficient_quota"),
            Failure(400),
            Drop(),
            Answer("Hello there", cut_after=1),
        ],
        ids=repr,
    )
    def test_every_ending(
        self, colour: Colour, user: User, fake_openai: FakeOpenAI, settings: Settings, step: Any
    ) -> None:
        settings.OPENAI_BUDGETS = [budget(1000), budget(1000, "site", "month")]
        fake_openai.script(step)
        colour.stream(AIService(user), "Hi")
        assert at_rest()

    def test_a_listener_that_leaves(
        self, colour: Colour, user: User, fake_openai: FakeOpenAI, settings: Settings
    ) -> None:
        settings.OPENAI_BUDGETS = [budget(1000)]
        settings.OPENAI_ON_DISCONNECT = "cancel"
        fake_openai.reply(chunks=["one ", "two ", "three "] * 20, delay=0.01)
        colour.leave_after(AIService(user), Content, "Hi")
        row = AIUsage.objects.get()
        assert (row.outcome, row.usage_source) == ("cancelled", "estimated")
        assert row.estimated_cost == row.prompt_tokens + row.completion_tokens > 0
        assert at_rest()

    def test_a_retry_carries_on_with_what_is_left(
        self, user: User, fake_openai: FakeOpenAI, settings: Settings
    ) -> None:
        settings.OPENAI_MAX_RETRIES = 2
        settings.OPENAI_BUDGETS = [budget(18)]
        fake_openai.script(Failure(500, retry_after=0))
        fake_openai.reply("Hello", usage=Usage(8, 3))
        assert AIService(user).ask("Hi").cost == 11
        assert list(AIUsage.objects.order_by("pk").values_list("estimated_cost", flat=True)) == [0, 11]
        assert at_rest()

    def test_a_dead_process_holds_nothing_for_long(self, user: User, settings: Settings) -> None:
        settings.OPENAI_BUDGETS = [budget(30)]
        ask(user)
        with pytest.raises(QuotaExceededError):
            ask(user)
        AITurn.objects.update(lease_expires_at=timezone.now() - timedelta(seconds=1))
        ask(user)
        first = AIUsage.objects.order_by("pk")[0]
        assert (first.outcome, first.usage_source, first.estimated_cost) == (
            "interrupted",
            "estimated",
            ASKED,
        )

    def test_nor_does_a_dead_call_outside_a_turn(self, user: User, settings: Settings) -> None:
        settings.OPENAI_BUDGETS = [budget(18)]
        row = rows.usage(user=user, reserved_cost=18, reserved_until=timezone.now() + timedelta(minutes=1))
        with pytest.raises(QuotaExceededError):
            ask(user)
        AIUsage.objects.update(reserved_until=timezone.now() - timedelta(seconds=1))
        ask(user)
        row.refresh_from_db()
        assert (row.reserved_cost, row.outcome) == (None, "running")


def lookup(city: str) -> str:
    return city


LOOKUP = Function(
    "lookup",
    lookup,
    "Look a city up.",
    {
        "type": "object",
        "properties": {"city": {"type": "string"}},
        "required": ["city"],
        "additionalProperties": False,
    },
)


class TestSteps:
    def test_all_steps_are_reserved_and_carried_along(
        self, colour: Colour, user: User, fake_openai: FakeOpenAI, settings: Settings, holds: list[Decimal]
    ) -> None:
        settings.OPENAI_MAX_TOOL_STEPS = 2
        settings.OPENAI_BUDGETS = [budget(1000)]
        fake_openai.reply(calls=[Call("lookup", {"city": "Rome"})], usage=Usage(20, 5))
        fake_openai.reply("Rome", usage=Usage(30, 2))
        assert colour.ask(AIService(user), "Hi", functions=[LOOKUP]).cost == 57
        first, second = holds
        assert first % 3 == 0
        assert first > 3 * (ASKED + 10)
        assert second == first - 25
        assert at_rest()

    def test_a_step_that_grew_takes_more(
        self, user: User, fake_openai: FakeOpenAI, settings: Settings
    ) -> None:
        settings.OPENAI_MAX_TOOL_STEPS = 1
        settings.OPENAI_BUDGETS = [budget(3000)]
        fake_openai.reply(calls=[Call("lookup", {"city": "Rome " * 500})], usage=Usage(20, 505))
        fake_openai.reply("Rome", usage=Usage(1050, 2))
        assert AIService(user).ask("Hi", functions=[LOOKUP]).cost == 525 + 1052
        assert at_rest()

    def test_and_ends_the_turn_where_there_is_no_more(
        self, colour: Colour, user: User, fake_openai: FakeOpenAI, settings: Settings
    ) -> None:
        settings.OPENAI_MAX_TOOL_STEPS = 1
        settings.OPENAI_BUDGETS = [budget(600)]
        fake_openai.reply(calls=[Call("lookup", {"city": "Rome " * 500})], usage=Usage(20, 505))
        *_, failed, _ = colour.stream(AIService(user), "Hi", functions=[LOOKUP])
        assert isinstance(failed, Failed)
        assert failed.code == "quota_exceeded"
        turn = AITurn.objects.get()
        assert (turn.status, turn.error_code) == ("failed", "quota_exceeded")
        assert [message.role for message in AIMessage.objects.order_by("sequence")] == [
            "user",
            "assistant",
            "tool",
        ]
        assert AIUsage.objects.get().estimated_cost == 525
        assert at_rest()


class TestApprovals:
    @pytest.fixture(autouse=True)
    def _registered(self) -> Iterator[None]:
        function_registry.register(lookup, name="lookup_city", requires_approval=True)
        yield
        function_registry.unregister("lookup_city")

    def park(self, user: User, fake: FakeOpenAI) -> AITurn:
        fake.reply(calls=[Call("lookup_city", {"city": "Rome"})], usage=Usage(20, 5))
        prepared = chat.begin(chat.Ask(user=user, text="Hi"))
        assert isinstance(prepared, chat.Prepared)
        list(chat.run(prepared))
        turn = AITurn.objects.get()
        assert turn.status == "awaiting_approval"
        return turn

    def test_a_resting_turn_holds_nothing_and_takes_anew(
        self, user: User, fake_openai: FakeOpenAI, settings: Settings, holds: list[Decimal]
    ) -> None:
        settings.OPENAI_BUDGETS = [budget(10_000)]
        turn = self.park(user, fake_openai)
        assert at_rest()
        fake_openai.reply("Rome", usage=Usage(30, 2))
        prepared = approvals.decide(user, turn.pk, approvals.Decision(approve=True))
        assert isinstance(prepared, chat.Prepared)
        list(chat.run(prepared))
        assert len(holds) == 2
        assert holds[1] > 0
        assert at_rest()
        assert AITurn.objects.get().status == "completed"

    def go_on(self, user: User, turn: AITurn, approve: bool = True) -> chat.Prepared:
        prepared = approvals.decide(user, turn.pk, approvals.Decision(approve=approve))
        assert isinstance(prepared, chat.Prepared)
        return prepared

    def test_nobody_else_gets_the_money_while_the_function_runs(
        self, user: User, fake_openai: FakeOpenAI, settings: Settings
    ) -> None:
        settings.OPENAI_MAX_TOOL_STEPS = 1
        settings.OPENAI_BUDGETS = [budget(500)]
        turn = self.park(user, fake_openai)
        prepared = self.go_on(user, turn)
        need = reserved()
        assert need is not None
        settings.OPENAI_BUDGETS = [budget(25 + int(need))]
        with pytest.raises(QuotaExceededError):
            ask(user)
        fake_openai.reply("Rome", usage=Usage(30, 2))
        list(chat.run(prepared))
        turn.refresh_from_db()
        assert turn.status == "completed"
        assert list(AIUsage.objects.order_by("pk").values_list("estimated_cost", flat=True)) == [25, 32]
        assert at_rest()

    def test_a_call_that_is_declined_is_answered_too(
        self, user: User, fake_openai: FakeOpenAI, settings: Settings
    ) -> None:
        settings.OPENAI_BUDGETS = [budget(10_000)]
        prepared = self.go_on(user, self.park(user, fake_openai), approve=False)
        fake_openai.reply("As you like", usage=Usage(30, 3))
        list(chat.run(prepared))
        assert AIUsage.objects.count() == 2
        assert at_rest()

    def test_one_that_is_stopped_before_it_asks_again_costs_nothing_more(
        self, user: User, fake_openai: FakeOpenAI, settings: Settings
    ) -> None:
        settings.OPENAI_BUDGETS = [budget(10_000)]
        turn = self.park(user, fake_openai)
        prepared = self.go_on(user, turn)
        AITurn.objects.update(cancel_requested_at=timezone.now())
        list(chat.run(prepared))
        turn.refresh_from_db()
        assert turn.status == "cancelled"
        assert AIUsage.objects.aggregate(sum=Sum("estimated_cost"))["sum"] == 25
        assert at_rest()

    def test_nor_does_one_whose_process_dies_meanwhile(
        self, user: User, fake_openai: FakeOpenAI, settings: Settings
    ) -> None:
        settings.OPENAI_BUDGETS = [budget(10_000)]
        turn = self.park(user, fake_openai)
        self.go_on(user, turn)
        AITurn.objects.update(lease_expires_at=timezone.now() - timedelta(seconds=1))
        assert sweep_expired() == 1
        last = AIUsage.objects.order_by("pk")[1]
        assert (last.outcome, last.usage_source, last.estimated_cost, last.total_tokens) == (
            "interrupted",
            "estimated",
            0,
            0,
        )
        assert at_rest()

    def test_a_decision_that_can_not_be_paid_for_is_not_taken(
        self, user: User, fake_openai: FakeOpenAI, settings: Settings
    ) -> None:
        settings.OPENAI_BUDGETS = [budget(10_000)]
        turn = self.park(user, fake_openai)
        settings.OPENAI_BUDGETS = [budget(26)]
        with pytest.raises(QuotaExceededError):
            approvals.decide(user, turn.pk, approvals.Decision(approve=True))
        turn.refresh_from_db()
        assert turn.status == "awaiting_approval"


class TestOutsideTurns:
    MESSAGES = [{"role": "user", "content": "Hi"}]

    def test_it_is_reserved_and_settled(
        self, colour: Colour, user: User, fake_openai: FakeOpenAI, settings: Settings, holds: list[Decimal]
    ) -> None:
        settings.OPENAI_BUDGETS = [budget(18)]
        fake_openai.reply("Hello", usage=Usage(8, 3))
        colour.complete(AIService(user), self.MESSAGES)
        assert holds == [18]
        assert AIUsage.objects.get().estimated_cost == 11
        assert at_rest()
        with pytest.raises(QuotaExceededError):
            colour.complete(AIService(user), self.MESSAGES)
        assert len(fake_openai.calls) == 1

    def test_what_is_asked_for_counts(
        self, user: User, fake_openai: FakeOpenAI, settings: Settings, holds: list[Decimal]
    ) -> None:
        settings.OPENAI_BUDGETS = [budget(1000)]
        AIService(user).chat_completion(self.MESSAGES, max_tokens=4)
        fake_openai.script(Failure(400))
        with pytest.raises(ProviderRejectedError):
            AIService(user).chat_completion(self.MESSAGES, n=2)
        assert holds == [ASKED + 4, 2 * (ASKED + 10)]

    def test_an_error_releases(
        self, colour: Colour, user: User, fake_openai: FakeOpenAI, settings: Settings
    ) -> None:
        settings.OPENAI_BUDGETS = [budget(18)]
        for _ in range(3):
            fake_openai.script(Failure(500))
            with pytest.raises(Exception, match="provider"):
                colour.complete(AIService(user), self.MESSAGES)
        assert at_rest()
        fake_openai.reply("Hello", usage=Usage(8, 3))
        colour.complete(AIService(user), self.MESSAGES)


class TestMemo:
    """What need not be added up again: always equal to what it stands for."""

    def test_final_rows_are_added_up_once(self, user: User, settings: Settings) -> None:
        settings.OPENAI_BUDGETS = [budget(100_000, period="month")]
        now = timezone.now()
        [window] = payer(user).windows(now)
        for minutes in (0, 2, 3, 4):
            at = max(window.start, now - timedelta(minutes=minutes))
            rows.usage(user=user, estimated_cost=minutes + 1, outcome="completed", timestamp=at)
        ask(user)
        memo = AIBudget.objects.get()
        assert memo.key == f"user:{user.pk}:month:{timezone.localtime(now):%Y-%m}"
        final = window.rows.filter(timestamp__lt=memo.settled_before)
        assert memo.settled_cost == (final.aggregate(sum=Sum("estimated_cost"))["sum"] or 0)
        [standing] = storage.read([window])
        assert (standing.spent, standing.reserved) == (13, 18)

    def test_a_clock_that_goes_back_hides_nothing(self, user: User, settings: Settings) -> None:
        settings.OPENAI_BUDGETS = [budget(20, period="month")]
        now = timezone.now()
        [window] = payer(user).windows(now)
        later = min(now + timedelta(minutes=10), window.end - timedelta(seconds=1))
        AIBudget.objects.create(key=window.key, starts_at=window.start, settled_before=later)
        ask(user)
        [standing] = storage.read([window])
        assert standing.reserved == 18
        with pytest.raises(QuotaExceededError):
            ask(user)

    def test_it_stops_before_what_is_open(self, user: User, settings: Settings) -> None:
        settings.OPENAI_BUDGETS = [budget(100_000, "site", "month")]
        now = timezone.now()
        [window] = payer(None).windows(now)
        start = max(window.start, now - timedelta(minutes=30))
        done = rows.usage(estimated_cost=5, outcome="completed", timestamp=start)
        running = rows.usage(timestamp=start + (now - start) / 4)
        rows.usage(estimated_cost=7, outcome="completed", timestamp=start + (now - start) / 3)
        ask(user)
        memo = AIBudget.objects.get()
        assert memo.settled_before == running.timestamp > done.timestamp
        assert memo.settled_cost == 5
        AIUsage.objects.filter(pk=running.pk).update(outcome="completed", estimated_cost=11)
        storage.read([window])
        memo.refresh_from_db()
        assert memo.settled_before > running.timestamp
        [standing] = storage.read([window])
        assert standing.spent == 23


@pytest.mark.usefixtures("fake_openai")
def test_nobody_can_flood_the_site_with_alerts_by_naming_models(
    user: User, user_client: Any, settings: Settings
) -> None:
    settings.OPENAI_BUDGETS = [budget(100)]
    for number in range(MOST_OPEN + 5):
        body = {"message": "Hi", "model": f"made-up-{number}"}
        assert user_client.post("/ai/chat/", body, content_type="application/json").status_code == 400
    assert AIAlert.objects.count() == MOST_OPEN
    AIAlert.objects.all().delete()
    alerts.told.clear()
    user_client.post("/ai/chat/", body, content_type="application/json")
    assert AIAlert.objects.count() == 1


def test_over_http_it_is_a_429_that_says_when(user: User, user_client: Any, settings: Settings) -> None:
    settings.OPENAI_BUDGETS = [budget(10)]
    response = user_client.post("/ai/chat/", {"message": "Hi"}, content_type="application/json")
    assert response.status_code == 429
    assert response.json()["error"]["code"] == "quota_exceeded"
    assert 0 < int(response["Retry-After"]) <= 25 * 3600


def test_somebody_elses_conversation_is_not_found_first(
    user: User, other_user: User, settings: Settings
) -> None:
    settings.OPENAI_BUDGETS = [budget(1)]
    talk = AIConversation.objects.create(user=other_user)
    with pytest.raises(NotFoundError):
        ask(user, conversation_id=talk.pk)
