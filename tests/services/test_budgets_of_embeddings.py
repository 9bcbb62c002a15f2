"""Budgets of what is no chat: embeddings are reserved and settled like answers, moderation is free."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from django.contrib.auth.models import User
from django.db.models import Sum
from pytest_django import Settings

from django_chatgpt.exceptions import InvalidRequestError, ProviderUnavailableError, QuotaExceededError
from django_chatgpt.models import AIAlert, AIUsage, EmbeddingClaim, EmbeddingVector
from django_chatgpt.services import AIService, EmbeddingService, embedder
from django_chatgpt.storage import ledger
from django_chatgpt.testing import Answer, Failure, FakeOpenAI, Usage

if TYPE_CHECKING:
    from tests.services.conftest import Async, Sync

    Colour = Sync | Async

pytestmark = pytest.mark.django_db

SMALL = "text-embedding-3-small"
# A token is a dollar.
PRICES = {
    SMALL: {"input": "1000000"},
    "gpt-6-luna": {"input": "1000000", "output": "1000000"},
    "judge": {"input": "2000000", "output": "2000000"},
}

ON_TOPIC = Answer('{"on_topic": true}', usage=Usage(120, 6))


@pytest.fixture(autouse=True)
def _money(settings: Settings) -> None:
    settings.OPENAI_PRICES = PRICES
    settings.OPENAI_MAX_RETRIES = 0
    settings.OPENAI_ENABLE_CACHING = False


def allow(settings: Settings, limit: int) -> None:
    settings.OPENAI_BUDGETS = [{"scope": "user", "period": "day", "limit": str(limit)}]


@pytest.fixture
def holds(monkeypatch: pytest.MonkeyPatch) -> list[Decimal | None]:
    """What was reserved for each attempt."""
    seen: list[Decimal | None] = []
    announce = ledger.announce

    def spy(*args: Any, hold: ledger.Hold | None = None, **fields: Any) -> None:
        announce(*args, hold=hold, **fields)
        seen.append(None if hold is None else hold.cost)

    monkeypatch.setattr(ledger, "announce", spy)
    return seen


def spent() -> Decimal | None:
    total: Decimal | None = AIUsage.objects.aggregate(sum=Sum("estimated_cost"))["sum"]
    return total


def at_rest() -> bool:
    held = AIUsage.objects.exclude(reserved_cost=None, reserved_until=None)
    running = AIUsage.objects.filter(outcome="running")
    return not held.exists() and not running.exists() and not EmbeddingClaim.objects.exists()


class TestTexts:
    def test_what_they_cost_is_reserved_and_settled(
        self, colour: Colour, user: User, fake_openai: FakeOpenAI, settings: Settings, holds: list[Decimal]
    ) -> None:
        allow(settings, 10)
        made = colour.call(EmbeddingService(user), "create_embeddings_batch", ["Lions hunt", "Zebras run"])
        assert not made.failed
        assert holds == [AIUsage.objects.get().prompt_tokens]
        assert spent() == holds[0]
        assert at_rest()

    def test_nothing_is_sent_that_can_not_be_paid_for(
        self, colour: Colour, user: User, fake_openai: FakeOpenAI, settings: Settings
    ) -> None:
        allow(settings, 3)
        with pytest.raises(QuotaExceededError, match="your budget"):
            colour.call(EmbeddingService(user), "create_embeddings_batch", ["word " * 10])
        assert not fake_openai.requests
        assert not AIUsage.objects.exists()
        assert at_rest()

    def test_what_is_stored_costs_nothing(
        self, user: User, fake_openai: FakeOpenAI, settings: Settings
    ) -> None:
        first = EmbeddingService(user).create_embedding("Lions hunt")
        allow(settings, 0)
        assert EmbeddingService(user).create_embedding("Lions hunt") == first

    @pytest.mark.parametrize("at_once", [1, 4])
    def test_requests_that_can_be_paid_for_are_made(
        self,
        user: User,
        fake_openai: FakeOpenAI,
        settings: Settings,
        monkeypatch: pytest.MonkeyPatch,
        at_once: int,
    ) -> None:
        """Whichever round of requests the refused one is in, the others are stored and it is named."""
        monkeypatch.setattr(embedder, "AT_ONCE", at_once)
        monkeypatch.setattr("django_chatgpt.services.batches.MAX_INPUTS", 2)
        allow(settings, 5)
        made = EmbeddingService(user).create_embeddings_batch(list("abcdefg"))
        assert [each.position for each in made.failed] == [4, 5, 6]
        assert {each.code for each in made.failed} == {"quota_exceeded"}
        assert EmbeddingVector.objects.count() == len(made.embeddings) == 4
        assert spent() == 4
        assert len(fake_openai.requests) == 2
        assert at_rest()

    def test_an_error_releases(self, user: User, fake_openai: FakeOpenAI, settings: Settings) -> None:
        allow(settings, 3)
        fake_openai.when(endpoint="embeddings").always(Failure(500))
        for _ in range(2):
            with pytest.raises(ProviderUnavailableError):
                EmbeddingService(user).create_embedding("Lions hunt")
            assert at_rest()

    def test_a_model_without_a_price_is_refused(
        self, user: User, fake_openai: FakeOpenAI, settings: Settings
    ) -> None:
        allow(settings, 100)
        with pytest.raises(InvalidRequestError, match="model: own has no known price"):
            EmbeddingService(user).create_embedding("Lions hunt", model="own")
        assert AIAlert.objects.get().metadata == {"model": "own"}
        assert at_rest()

    def test_an_alert_tells_how_much_is_spent(
        self, user: User, fake_openai: FakeOpenAI, settings: Settings
    ) -> None:
        allow(settings, 3)
        EmbeddingService(user).create_embedding("Lions hunt")
        assert AIAlert.objects.get().title == f"The budget of user {user.pk} for the day is used up"


class TestSearches:
    def test_the_query_is_paid_for(
        self, colour: Colour, user: User, fake_openai: FakeOpenAI, settings: Settings, holds: list[Decimal]
    ) -> None:
        allow(settings, 3)
        colour.call(EmbeddingService(user), "similarity_search", "Lions hunt")
        assert holds == [3]
        assert at_rest()
        with pytest.raises(QuotaExceededError):
            colour.call(EmbeddingService(user), "similarity_search", "Zebras run")
        assert len(fake_openai.requests) == 1


class TestJudging:
    """The moderation is free; a model that is asked about the topic is not."""

    def test_moderation(
        self, colour: Colour, user: User, fake_openai: FakeOpenAI, settings: Settings, holds: list[Decimal]
    ) -> None:
        settings.OPENAI_MODERATION_MODEL = "omni-moderation-latest"
        settings.OPENAI_MAX_TOKENS = 10
        allow(settings, 18)
        fake_openai.reply("Hello", usage=Usage(8, 3))
        colour.ask(AIService(user), "Hi", use_functions=False)
        assert holds == [18]
        assert dict(AIUsage.objects.values_list("kind", "estimated_cost")) == {"chat": 11, "moderation": None}
        assert at_rest()

    @pytest.fixture
    def _topics(self, settings: Settings) -> None:
        settings.OPENAI_ALLOWED_TOPICS = ["gardening"]
        settings.OPENAI_CLASSIFIER_MODEL = "judge"
        settings.OPENAI_MAX_TOKENS = 10

    @pytest.mark.usefixtures("_topics")
    def test_the_topic_of_a_question(
        self, colour: Colour, user: User, fake_openai: FakeOpenAI, settings: Settings, holds: list[Decimal]
    ) -> None:
        allow(settings, 10_000)
        fake_openai.script(
            Answer('{"on_topic": true}', usage=Usage(120, 6)), Answer("Hello", usage=Usage(8, 3))
        )
        colour.ask(AIService(user), "Hi", use_functions=False)
        asked, answered = fake_openai.calls
        assert (asked.model, answered.model) == ("judge", "gpt-6-luna")
        # What the judge may take at most was reserved with the first answer.
        assert holds[0] > 18 + 2 * (120 + 1024)
        assert holds[1] == holds[0] - 2 * 126
        assert spent() == 2 * 126 + 11
        assert at_rest()

    @pytest.mark.usefixtures("_topics")
    def test_the_topic_of_a_completion(
        self, colour: Colour, user: User, fake_openai: FakeOpenAI, settings: Settings, holds: list[Decimal]
    ) -> None:
        allow(settings, 10_000)
        fake_openai.script(
            Answer('{"on_topic": true}', usage=Usage(120, 6)), Answer("Hello", usage=Usage(8, 3))
        )
        colour.complete(AIService(user), [{"role": "user", "content": "Hi"}])
        assert holds[0] > 2 * 1024
        assert holds[1] == 18
        assert at_rest()

    @pytest.mark.usefixtures("_topics")
    def test_is_not_asked_about_where_it_can_not_be_paid_for(
        self, colour: Colour, user: User, fake_openai: FakeOpenAI, settings: Settings
    ) -> None:
        allow(settings, 100)
        service = AIService(user)
        with pytest.raises(QuotaExceededError):
            colour.ask(service, "Hi", use_functions=False)
        with pytest.raises(QuotaExceededError):
            colour.complete(service, [{"role": "user", "content": "Hi"}])
        with pytest.raises(QuotaExceededError):
            colour.call(service, "validate_content", "Hi")
        assert not fake_openai.requests
        assert at_rest()
