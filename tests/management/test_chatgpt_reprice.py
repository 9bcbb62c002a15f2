"""Costs of the past that are corrected: from the stored tokens, with everything that repeats them, once."""

from __future__ import annotations

import io
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.core.management import CommandError, call_command
from django.db import connection, connections
from django.db.models import Sum
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from pytest_django import Settings

from django_chatgpt.models import AIBudget, AIConversation, AIMessage, AIUsage
from django_chatgpt.services import AIService, EmbeddingService, repricing
from django_chatgpt.services.budgets import Payer
from django_chatgpt.storage import budgets
from django_chatgpt.testing import Answer, FakeOpenAI, Usage
from tests.models import rows

pytestmark = pytest.mark.django_db

DEAR = {"gpt-6-luna": {"input": "1000000", "cached_input": "500000", "output": "2000000"}}
CHEAP = {"gpt-6-luna": {"input": "100000", "cached_input": "50000", "output": "200000"}}


def said(*arguments: str, since: str = "2026-01-01") -> str:
    out, err = io.StringIO(), io.StringIO()
    call_command("chatgpt_reprice", "--since", since, *arguments, stdout=out, stderr=err)
    assert err.getvalue() == ""
    return out.getvalue()


def call(**fields: Any) -> AIUsage:
    """An attempt that took 10 tokens in and 5 out."""
    given = {
        "prompt_tokens": 10,
        "completion_tokens": 5,
        "total_tokens": 15,
        "outcome": "completed",
        "usage_source": "provider",
        **fields,
    }
    return rows.usage(**given)


def costs() -> list[Decimal | None]:
    return list(AIUsage.objects.order_by("timestamp", "pk").values_list("estimated_cost", flat=True))


def ledger_equals_totals() -> bool:
    sums = AIConversation.objects.annotate(spent=Sum("usage__estimated_cost"))
    return all(talk.total_cost == (talk.spent or 0) for talk in sums)


class TestWhatChanges:
    def test_an_unknown_cost_becomes_known_wherever_it_is_repeated(
        self, user: User, fake_openai: FakeOpenAI, settings: Settings
    ) -> None:
        fake_openai.reply("Hello", usage=Usage(8, 3, cached=4))
        answer = AIService(user).ask("Hi")
        assert answer.cost is None
        used = AIConversation.objects.get().updated_at
        settings.OPENAI_PRICES = DEAR
        assert said() == ("1 of 1 calls cost something else now: +12 USD. 1 of them had no known cost.\n")
        row, talk = AIUsage.objects.get(), AIConversation.objects.get()
        assert (row.estimated_cost, row.price_source) == (12, "settings")  # 4 + 4 / 2 + 3 * 2
        assert row.priced_at is not None
        assert (talk.total_cost, talk.total_tokens, talk.updated_at) == (12, 11, used)
        assert AIMessage.objects.get(role="assistant").estimated_cost == 12
        assert AIMessage.objects.get(role="user").estimated_cost is None

    def test_the_old_figures_are_kept(self, settings: Settings) -> None:
        row = call(metadata={"mine": 1})
        settings.OPENAI_PRICES = DEAR
        said()
        settings.OPENAI_PRICES = CHEAP
        assert said().startswith("1 of 1 calls cost something else now: -18 USD. 0 of")
        row.refresh_from_db()
        first, second = row.metadata.pop("repriced")
        assert row.metadata == {"mine": 1}
        assert first == {"cost": None, "source": "", "priced_at": None}
        assert (second["cost"], second["source"]) == ("20.000000000000", "settings")
        assert datetime.fromisoformat(second["priced_at"]) < (row.priced_at or timezone.now())
        assert row.estimated_cost == 2

    def test_run_again_it_changes_nothing(self, settings: Settings) -> None:
        settings.OPENAI_PRICES = DEAR
        call()
        said()
        before = AIUsage.objects.values().get()
        assert said() == "0 of 1 calls cost something else now: +0 USD. 0 of them had no known cost.\n"
        assert AIUsage.objects.values().get() == before

    def test_each_at_the_prices_of_its_own_time(self) -> None:
        # gpt-5.6-luna: 1.00 and 6.00, a fifth of it since 30 July 2026
        change = datetime(2026, 7, 30, tzinfo=UTC)
        for moment in (change - timedelta(microseconds=1), change):
            call(model="gpt-5.6-luna", timestamp=moment, prompt_tokens=1000, completion_tokens=1000)
        said()
        assert costs() == [Decimal("0.007"), Decimal("0.0014")]

    def test_what_was_asked_where_and_how_counts(self, settings: Settings) -> None:
        settings.OPENAI_PRICES = {"my-deployment": {"input": "1000000", "output": "1000000"}}
        call(model="gpt-4o", metadata={"asked": "my-deployment"})
        call(model="gpt-6-luna", metadata={"base_url": "http://localhost:8000/v1"})
        call(model="gpt-6-luna", service_tier="flex", prompt_tokens=1000, completion_tokens=1000)
        said()
        assert costs() == [15, None, Decimal("0.0003")]

    def test_embeddings_remember_their_server(
        self, user: User, fake_openai: FakeOpenAI, settings: Settings
    ) -> None:
        EmbeddingService(user).create_embedding("one")
        assert AIUsage.objects.get().estimated_cost is None
        assert said().splitlines()[1] == (
            "1 still have none, of text-embedding-3-small. Set OPENAI_PRICES for them."
        )
        settings.OPENAI_PRICES = {"text-embedding-3-small": {"input": "1000000"}}
        said()
        row = AIUsage.objects.get()
        assert row.estimated_cost == row.prompt_tokens > 0

    def test_several_of_one_conversation(self, user: User, settings: Settings) -> None:
        talks = [rows.conversation(user=user, total_cost=cost) for cost in (1, 0, 0)]
        call(conversation=talks[0], estimated_cost=1)
        for talk in (talks[0], talks[0], talks[1]):
            call(conversation=talk)
        call()
        settings.OPENAI_PRICES = DEAR
        said()
        assert [talk.total_cost for talk in AIConversation.objects.order_by("pk")] == [60, 20, 0]
        assert ledger_equals_totals()


class TestWhatStays:
    def test_what_is_free_unknown_or_not_over(self, settings: Settings) -> None:
        settings.OPENAI_PRICES = DEAR
        kept = [
            call(outcome="running", usage_source="unknown"),
            call(outcome="interrupted", usage_source="unknown"),
            call(reserved_cost=3, reserved_until=timezone.now()),
            rows.usage(outcome="failed", usage_source="provider", estimated_cost=0),
            rows.usage(
                outcome="completed", usage_source="provider", estimated_cost=0, metadata={"cached": True}
            ),
        ]
        before = list(AIUsage.objects.order_by("pk").values())
        assert said().startswith("0 of 0 calls")
        assert list(AIUsage.objects.order_by("pk").values()) == before
        assert len(before) == len(kept)

    def test_a_known_cost_where_no_price_is_known_any_more(self) -> None:
        call(model="forgotten", estimated_cost=7, price_source="settings")
        assert said() == "0 of 1 calls cost something else now: +0 USD. 0 of them had no known cost.\n"
        assert costs() == [7]

    def test_what_was_begun_before(self, settings: Settings) -> None:
        settings.OPENAI_PRICES = DEAR
        settings.TIME_ZONE = "Europe/Paris"
        midnight = datetime(2026, 11, 19, 23, tzinfo=UTC)  # of the 20th, in Paris
        call(timestamp=midnight - timedelta(seconds=1))
        call(timestamp=midnight)
        assert said(since="2026-11-20").startswith("1 of 1 calls")
        assert costs() == [None, 20]
        assert said(since="2026-11-19T23:59:58").startswith("1 of 2 calls")

    def test_other_models(self, settings: Settings) -> None:
        settings.OPENAI_PRICES = {**DEAR, "other": {"input": "1", "output": "1"}}
        call()
        call(model="other")
        call(model="gpt-6-luna-2026-09-22", metadata={"asked": "gpt-6-luna"})
        assert said("--model", "gpt-6-luna").startswith("2 of 2 calls")
        assert costs() == [20, None, 20]

    def test_everything_in_a_dry_run(self, settings: Settings) -> None:
        settings.OPENAI_PRICES = DEAR
        talk = rows.conversation()
        call(conversation=talk)
        assert said("--dry-run") == (
            "1 of 1 calls would cost something else now: +20 USD. 1 of them had no known cost.\n"
        )
        assert costs() == [None]
        talk.refresh_from_db()
        assert talk.total_cost == 0


class TestBudgets:
    """What they need not add up again is forgotten where it is no longer true."""

    def test_they_see_the_new_costs(self, user: User, settings: Settings) -> None:
        group = Group.objects.create(name="trial")
        user.groups.add(group)
        settings.OPENAI_BUDGETS = [
            {"scope": scope, "period": "month", "limit": "1000"} for scope in ("user", "group:trial", "site")
        ]
        now = timezone.now()
        payer = Payer.of(user)
        assert payer is not None
        windows = payer.windows(now)
        at = max(windows[0].start, now - timedelta(hours=1))
        call(user=user, timestamp=at, budget_groups=f",{group.pk},")
        for _ in range(2):
            assert [each.spent for each in budgets.read(windows)] == [0, 0, 0]
        if at < now - timedelta(minutes=5):
            assert AIBudget.objects.filter(settled_before__gt=at).count() == 3
        settings.OPENAI_PRICES = DEAR
        said()
        assert not AIBudget.objects.filter(settled_before__gt=at).exists()
        assert [each.spent for each in budgets.read(windows)] == [20, 20, 20]


class TestLongRuns:
    @pytest.fixture(autouse=True)
    def _small_batches(self, monkeypatch: pytest.MonkeyPatch, settings: Settings) -> None:
        monkeypatch.setattr(repricing, "BATCH", 3)
        settings.OPENAI_PRICES = DEAR

    def test_every_row_is_seen_once_even_of_one_moment(self) -> None:
        at = timezone.now()
        for number in range(10):
            call(timestamp=at + timedelta(seconds=number // 5))
        assert said().startswith("10 of 10 calls")
        assert costs() == [20] * 10

    def test_stopped_half_way_it_says_where_to_go_on(self, monkeypatch: pytest.MonkeyPatch) -> None:
        at = timezone.now() - timedelta(hours=1)
        for number in range(7):
            call(timestamp=at + timedelta(minutes=number))
        correct, batches = repricing.storage.correct, []

        def stop(*args: Any) -> Any:
            if batches:
                raise KeyboardInterrupt
            batches.append(1)
            return correct(*args)

        monkeypatch.setattr(repricing.storage, "correct", stop)
        with pytest.raises(CommandError, match="What was done is kept; go on with --since") as stopped:
            said()
        assert costs() == [20] * 3 + [None] * 4
        monkeypatch.setattr(repricing.storage, "correct", correct)
        where = str(stopped.value).rpartition(" ")[2]
        assert said(since=where).startswith("4 of 5 calls")
        assert costs() == [20] * 7

    def test_a_batch_is_a_fixed_number_of_queries(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def queries(number: int) -> int:
            AIUsage.objects.all().delete()
            talk = rows.conversation()
            turn = rows.turn(talk, status="completed")
            for sequence in range(number):
                row = call(conversation=talk, turn=turn)
                rows.message(talk, sequence, turn=turn, role="assistant", metadata={"attempt": str(row.pk)})
            with CaptureQueriesContext(
                connection,
            ) as captured:
                said()
            assert AIMessage.objects.filter(conversation=talk, estimated_cost=20).count() == number
            return len(captured)

        monkeypatch.setattr(repricing, "BATCH", 40)
        assert queries(2) == queries(40)

    def test_a_bar_is_drawn_for_who_looks(self) -> None:
        class Terminal(io.StringIO):
            def isatty(self) -> bool:
                return True

        call()
        err = Terminal()
        call_command("chatgpt_reprice", "--since", "2026-01-01", stdout=io.StringIO(), stderr=err)
        assert "1/1" in err.getvalue()


@pytest.mark.parametrize("since", ["yesterday", "2026-13-01", "2026-11-22T25:00"])
def test_a_since_that_is_none(since: str) -> None:
    with pytest.raises(CommandError, match="is neither a date"):
        said(since=since)


@pytest.mark.django_db(transaction=True)
def test_what_is_settled_meanwhile_is_not_lost(fake_openai: FakeOpenAI, settings: Settings) -> None:
    """Several answer, two price anew back and forth; in the end totals, rows and messages say the same."""
    settings.OPENAI_PRICES = CHEAP
    settings.OPENAI_BUDGETS = [{"scope": "site", "period": "month", "limit": "100000"}]
    fake_openai.respond_with(lambda request: Answer("Hello", usage=Usage(8, 3)))
    user = User.objects.create_user("ada")
    talks = [rows.conversation(user=user) for _ in range(3)]
    for talk in talks:
        for _ in range(4):
            call(conversation=talk, user=user)
    start = threading.Barrier(5, timeout=20)
    errors: list[BaseException] = []

    def running(work: Callable[[], object]) -> threading.Thread:
        def run() -> None:
            try:
                start.wait()
                work()
            except BaseException as error:
                errors.append(error)
            finally:
                connections.close_all()

        return threading.Thread(target=run)

    def ask(talk: AIConversation) -> None:
        for _ in range(4):
            AIService(user).ask("Hi", conversation=talk, use_functions=False)

    def price_anew() -> None:
        for number in range(6):
            settings.OPENAI_PRICES = [DEAR, CHEAP][number % 2]
            said()

    threads = [running(lambda talk=talk: ask(talk)) for talk in talks]  # type: ignore[misc]
    threads += [running(price_anew), running(price_anew)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert errors == []
    settings.OPENAI_PRICES = DEAR
    said()
    assert ledger_equals_totals()
    assert costs() == [20] * 12 + [14] * 12
    assert set(AIMessage.objects.filter(role="assistant").values_list("estimated_cost", flat=True)) == {14}
    payer = Payer.of(user)
    assert payer is not None
    [standing] = budgets.read(payer.windows(timezone.now()))
    assert (standing.spent, standing.reserved) == (12 * 20 + 12 * 14, 0)
