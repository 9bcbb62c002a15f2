"""Mistakes that gateways and wrappers have made with money, each by its name, and that are not made here."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from django.contrib.auth.models import User
from django.db.models import Sum
from django.utils import timezone
from pytest_django import Settings

from django_chatgpt.core.events import Content
from django_chatgpt.exceptions import AIServiceError, InvalidRequestError
from django_chatgpt.models import AIConversation, AIMessage, AITurn, AIUsage
from django_chatgpt.services import AIService, EmbeddingService, alerts, prices, reports
from django_chatgpt.services.sweeper import sweep_expired
from django_chatgpt.testing import Answer, Drop, Failure, FakeOpenAI, Request, Usage

if TYPE_CHECKING:
    from tests.services.conftest import Async, Sync

    Colour = Sync | Async

pytestmark = pytest.mark.django_db

# A dollar for a token, half of it where the provider had it in its cache, two for one of the answer.
PRICES = {"gpt-6-luna": {"input": "1000000", "cached_input": "500000", "output": "2000000"}}


@pytest.fixture(autouse=True)
def _money(settings: Settings) -> None:
    alerts.told.clear()
    settings.OPENAI_PRICES = PRICES
    settings.OPENAI_ENABLE_CACHING = False
    settings.OPENAI_MAX_RETRIES = 0


class TestCachedTokensAreNotBilledTwice:
    """They are part of the prompt's: once at the price of cached input, and not again at the full one."""

    USED = Usage(100, 10, cached=80)
    COST = 20 + 80 // 2 + 10 * 2

    def test_in_a_conversation(
        self, colour: Colour, dialect: str, user: User, fake_openai: FakeOpenAI
    ) -> None:
        fake_openai.reply("Hello", usage=self.USED)
        assert colour.ask(AIService(user), "Hi").cost == self.COST
        row = AIUsage.objects.get()
        assert (row.prompt_tokens, row.cached_tokens, row.total_tokens) == (100, 80, 110)
        assert row.estimated_cost == AIConversation.objects.get().total_cost == self.COST

    def test_in_a_completion(self, colour: Colour, user: User, fake_openai: FakeOpenAI) -> None:
        fake_openai.reply("Hello", usage=self.USED)
        colour.complete(AIService(user), [{"role": "user", "content": "Hi"}])
        assert AIUsage.objects.get().estimated_cost == self.COST

    def test_reasoning_is_part_of_the_answer_alike(self, user: User, fake_openai: FakeOpenAI) -> None:
        fake_openai.reply("Hello", usage=Usage(10, 50, reasoning=40))
        assert AIService(user).ask("Hi").cost == 10 + 50 * 2


class TestAnUnknownModelIsNotFree:
    """Its cost is NULL wherever it is kept, and budgets refuse it: zeros would let everything pass."""

    @pytest.fixture(autouse=True)
    def _unknown(self, settings: Settings, fake_openai: FakeOpenAI) -> None:
        settings.OPENAI_DEFAULT_MODEL = "nobody-knows"

    def test_it_is_null_everywhere(self, colour: Colour, user: User) -> None:
        answer = colour.ask(AIService(user), "Hi")
        assert answer.cost is None
        row = AIUsage.objects.get()
        assert (row.estimated_cost, row.price_source, row.priced_at) == (None, "", None)
        assert row.total_tokens > 0
        assert AIMessage.objects.get(role="assistant").estimated_cost is None
        used = reports.usage(reports.of_user(user.pk), 1)
        assert (used.total.cost, used.total.unpriced) == (None, 1)

    def test_a_look_alike_does_not_lend_its_price(self, user: User, settings: Settings) -> None:
        settings.OPENAI_DEFAULT_MODEL = "gpt-6-luna-mini"
        assert AIService(user).ask("Hi").cost is None

    def test_an_embedding_either(self, user: User) -> None:
        EmbeddingService(user).create_embedding("Hi")
        assert AIUsage.objects.get().estimated_cost is None

    def test_budgets_let_nothing_pass_that_they_can_not_count(
        self, colour: Colour, user: User, fake_openai: FakeOpenAI, settings: Settings
    ) -> None:
        settings.OPENAI_BUDGETS = [{"scope": "site", "period": "month", "limit": "1000"}]
        with pytest.raises(InvalidRequestError, match="nobody-knows has no known price"):
            colour.ask(AIService(user), "Hi")
        assert fake_openai.calls == []


class TestAnAbortedStreamIsBilled:
    """What had arrived is counted and priced by the model that was asked, and marked as an estimate."""

    def test_whose_reader_has_left(
        self, colour: Colour, dialect: str, user: User, fake_openai: FakeOpenAI, settings: Settings
    ) -> None:
        settings.OPENAI_ON_DISCONNECT = "cancel"
        fake_openai.reply(chunks=["one ", "two ", "three "] * 20, delay=0.01)
        colour.leave_after(AIService(user), Content, "Hi")
        self.assert_estimated("cancelled")

    def test_that_was_cut(self, colour: Colour, dialect: str, user: User, fake_openai: FakeOpenAI) -> None:
        fake_openai.script(Answer("one two three", cut_after=2))
        colour.stream(AIService(user), "Hi")
        self.assert_estimated("failed")

    def test_of_a_completion(self, user: User, fake_openai: FakeOpenAI) -> None:
        fake_openai.reply(chunks=["one ", "two ", "three "] * 20, delay=0.01)
        chunks = AIService(user).chat_completion([{"role": "user", "content": "Hi"}], stream=True)
        for chunk in chunks:
            if chunk.choices[0].delta.content:
                break
        chunks.close()
        self.assert_estimated("cancelled")

    def test_read_to_its_end_for_nobody_it_needs_no_estimate(
        self, colour: Colour, user: User, fake_openai: FakeOpenAI, settings: Settings
    ) -> None:
        settings.OPENAI_ON_DISCONNECT = "drain"
        fake_openai.reply(chunks=["one ", "two ", "three "], usage=Usage(8, 3))
        colour.leave_after(AIService(user), Content, "Hi")
        row = AIUsage.objects.get()
        assert (row.usage_source, row.estimated_cost) == ("provider", 8 + 3 * 2)

    @staticmethod
    def assert_estimated(outcome: str) -> None:
        row = AIUsage.objects.get()
        assert (row.model, row.outcome, row.usage_source) == ("gpt-6-luna", outcome, "estimated")
        assert row.prompt_tokens > 0 < row.completion_tokens
        assert row.estimated_cost == row.prompt_tokens + row.completion_tokens * 2
        talk = AIConversation.objects.first()
        assert talk is None or (talk.total_cost, talk.total_tokens) == (row.estimated_cost, row.total_tokens)


class TestAPriceThatChangesAtMidnight:
    """A call costs what it did when it began, whenever it is written down, and however often."""

    # gpt-5.6-luna: 1.00 and 6.00, a fifth of it since 30 July 2026
    CHANGE = datetime(2026, 7, 30, tzinfo=UTC)

    @pytest.mark.parametrize(("microseconds", "factor"), [(-1, 5), (0, 1)])
    def test_of_a_turn_that_is_swept_months_later(
        self, microseconds: int, factor: int, user: User, settings: Settings
    ) -> None:
        talk = AIConversation.objects.create(user=user)
        turn = AITurn.objects.create(
            conversation=talk,
            user=user,
            status="running",
            options={"model": "gpt-5.6-luna"},
            partial_text="one two three",
            lease_expires_at=timezone.now() - timedelta(days=1),
        )
        began = self.CHANGE + timedelta(microseconds=microseconds)
        AIUsage.objects.create(conversation=talk, turn=turn, user=user, model="gpt-5.6-luna", timestamp=began)
        assert sweep_expired() == 1
        row = AIUsage.objects.get()
        tokens = row.prompt_tokens + 6 * row.completion_tokens
        assert row.estimated_cost == tokens * factor * Decimal("0.0000002") > 0

    def test_of_a_call_that_lasts_over_it(
        self, colour: Colour, user: User, fake_openai: FakeOpenAI, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        heard: list[datetime] = []
        priced: list[datetime] = []
        real = prices.price

        def answer(request: Request) -> Answer:
            heard.append(datetime.now(UTC))
            return Answer(chunks=["one ", "two "], delay=0.02)

        def spy(*args: Any, at: datetime, **options: Any) -> prices.Price:
            priced.append(at)
            return real(*args, at=at, **options)

        monkeypatch.setattr(prices, "price", spy)
        fake_openai.respond_with(answer)
        colour.ask(AIService(user), "Hi")
        colour.complete(AIService(user), [{"role": "user", "content": "Hi"}])
        EmbeddingService(user).create_embedding("Hi")
        assert len(priced) == len(heard) + 1 == 3
        assert all(at < then for at, then in zip(priced, heard, strict=False))
        for row, at in zip(AIUsage.objects.order_by("pk"), priced, strict=True):
            assert abs(row.timestamp - at) < timedelta(minutes=1)


class TestNoRefusalIsLeftOverFromErrors:
    """What failed holds nothing: a budget for one question is enough after any number of errors."""

    ERRORS = (
        Failure(500),
        Failure(503, retry_after=0),
        Failure(429, code="insufficient_quota"),
        Failure(429, retry_after=0),
        Failure(400),
        Failure(401),
        Drop(),
    )
    WORST = 8 + 16 * 2  # "Hi" with what is around it, and sixteen tokens of answer

    @pytest.fixture(autouse=True)
    def _one_question(self, settings: Settings) -> None:
        settings.OPENAI_MAX_TOKENS = 16
        settings.OPENAI_BREAKER_FAILURES = 0
        settings.OPENAI_BUDGETS = [
            {"scope": "user", "period": "day", "limit": str(self.WORST)},
            {"scope": "site", "period": "month", "limit": str(self.WORST)},
        ]

    def test_in_conversations(
        self, colour: Colour, dialect: str, user: User, fake_openai: FakeOpenAI
    ) -> None:
        for step in self.ERRORS:
            fake_openai.script(step)
            colour.stream(AIService(user), "Hi")
        self.assert_one_is_answered(colour, user, fake_openai)

    def test_in_completions(self, colour: Colour, user: User, fake_openai: FakeOpenAI) -> None:
        for step in self.ERRORS:
            fake_openai.script(step)
            with pytest.raises(AIServiceError) as failure:
                colour.complete(AIService(user), [{"role": "user", "content": "Hi"}])
            assert failure.value.code != "quota_exceeded"
        self.assert_one_is_answered(colour, user, fake_openai)

    def assert_one_is_answered(self, colour: Colour, user: User, fake_openai: FakeOpenAI) -> None:
        assert len(fake_openai.calls) == len(self.ERRORS)
        assert AIUsage.objects.aggregate(held=Sum("reserved_cost"))["held"] is None
        fake_openai.reply("Hello", usage=Usage(8, 16))
        assert colour.ask(AIService(user), "Hi").cost == self.WORST
