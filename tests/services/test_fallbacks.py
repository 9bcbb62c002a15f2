"""Other models answer where the first can't be reached: in the ledger, on the message, in both colours."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

import pytest
from django.contrib.auth.models import User
from pydantic import BaseModel
from pytest_django import Settings

from django_chatgpt.exceptions import ProviderRateLimitedError, ProviderUnavailableError
from django_chatgpt.models import AIConversation, AIMessage, AIUsage
from django_chatgpt.services import AIService
from django_chatgpt.testing import Answer, Call, Failure, FakeOpenAI, Request

if TYPE_CHECKING:
    from tests.services.conftest import Async, Sync

    Colour = Sync | Async

HI = [{"role": "user", "content": "Hi"}]


@pytest.fixture(autouse=True)
def two_models(settings: Settings) -> None:
    settings.OPENAI_DEFAULT_MODEL = "first"
    settings.OPENAI_FALLBACK_MODELS = ["first", "second"]
    settings.OPENAI_MAX_RETRIES = 0
    settings.OPENAI_PRICES = {"first": {"input": 1, "output": 1}, "second": {"input": 2, "output": 2}}


def rows() -> list[tuple[str, str]]:
    return list(AIUsage.objects.order_by("id").values_list("model", "outcome"))


def test_a_turn(colour: Colour, dialect: str, user: User, fake_openai: FakeOpenAI) -> None:
    fake_openai.script(Failure(503), "Hello")
    reply = colour.ask(AIService(user), "Hi")
    assert reply.content == "Hello"
    assert reply.model == "second"
    assert rows() == [("first", "failed"), ("second", "completed")]
    message = AIMessage.objects.get(role="assistant")
    assert message.metadata["model"] == "second"
    assert message.estimated_cost == reply.cost == Decimal(2 * reply.usage.total_tokens) / 10**6


def test_options_fit_the_model_that_is_asked(user: User, fake_openai: FakeOpenAI, settings: Settings) -> None:
    """A reasoning model takes no temperature; the one before it did."""
    settings.OPENAI_DEFAULT_MODEL, settings.OPENAI_FALLBACK_MODELS = "gpt-4.1", ["gpt-6-luna"]
    settings.OPENAI_TEMPERATURE = 0.5
    fake_openai.script(Failure(503), "Hello")
    AIService(user).ask("Hi")
    assert ["temperature" in call.body for call in fake_openai.calls] == [True, False]


class TestSmallerModels:
    """What is sent, and the answer that is asked for, fit the model that is really asked."""

    @pytest.fixture(autouse=True)
    def sizes(self, settings: Settings) -> None:
        settings.OPENAI_CONTEXT_WINDOW = {"first": 100_000, "second": 2_000, "third": 8_000}
        settings.OPENAI_FALLBACK_MODELS = ["second", "third"]
        settings.OPENAI_MAX_TOKENS = 4_000
        settings.OPENAI_TOKEN_BUFFER = 0

    @pytest.fixture
    def conversation(self, user: User) -> AIConversation:
        """Of forty messages of about 200 tokens each."""
        conversation = AIConversation.objects.create(user=user)
        AIMessage.objects.bulk_create(
            AIMessage(
                conversation=conversation,
                sequence=number,
                role=("assistant", "user")[number % 2],
                content="word " * 200,
            )
            for number in range(1, 41)
        )
        return conversation

    def test_the_oldest_is_left_out(
        self,
        colour: Colour,
        dialect: str,
        user: User,
        conversation: AIConversation,
        fake_openai: FakeOpenAI,
    ) -> None:
        fake_openai.script(Failure(503), Answer(calls=[Call("look", {"word": "x"})]), "Hello")
        reply = colour.ask(AIService(user), "Hi", conversation, functions=[look])
        assert (reply.content, reply.model) == ("Hello", "second")
        sent = [len(call.messages) for call in fake_openai.calls]
        assert sent[0] == 41
        assert sent[1:] == [3, 5], "of 750 tokens an exchange takes 410"
        most = [_most(call) for call in fake_openai.calls]
        assert most == [4_000, 1_000, 1_000]
        assert conversation.messages.filter(role="user").count() == 21

    def test_a_model_that_is_too_small_for_the_question_is_passed_over(
        self, colour: Colour, user: User, conversation: AIConversation, fake_openai: FakeOpenAI
    ) -> None:
        fake_openai.script(Failure(503), "Hello")
        reply = colour.ask(AIService(user), "word " * 1_500, conversation)
        assert reply.model == "third"
        assert rows() == [("first", "failed"), ("third", "completed")]
        assert len(fake_openai.calls[-1].messages) == 1 + 2 * 3, "no more is left out than the third needs"

    def test_where_all_are_too_small_the_first_one_says_why(
        self, colour: Colour, user: User, fake_openai: FakeOpenAI
    ) -> None:
        fake_openai.script(Failure(503))
        with pytest.raises(ProviderUnavailableError):
            colour.ask(AIService(user), "word " * 10_000)
        assert rows() == [("first", "failed")]


def look(word: str) -> str:
    """Look a word up."""
    return f"{word} means nothing"


def _most(call: Request) -> object:
    """How long an answer was asked for, in either dialect."""
    names = ("max_tokens", "max_completion_tokens", "max_output_tokens")
    return next(call.body[name] for name in names if name in call.body)


def test_a_completion(colour: Colour, user: User, fake_openai: FakeOpenAI) -> None:
    fake_openai.script(Failure(503), "Hello")
    assert colour.complete(AIService(user), HI).choices[0].message.content == "Hello"
    assert rows() == [("first", "failed"), ("second", "completed")]


def test_a_completion_in_chunks(colour: Colour, user: User, fake_openai: FakeOpenAI) -> None:
    fake_openai.script(Failure(503), "Hello")
    chunks = colour.chunks(AIService(user), HI)
    assert {chunk.model for chunk in chunks} == {"second"}
    assert rows() == [("first", "failed"), ("second", "completed")]


def test_chunks_that_were_given_stay_the_only_ones(
    colour: Colour, user: User, fake_openai: FakeOpenAI
) -> None:
    fake_openai.script(Answer("a b", error_after=1, error=Failure(429)))
    with pytest.raises(ProviderRateLimitedError):
        colour.chunks(AIService(user), HI)
    assert rows() == [("first", "failed")]


def test_an_answer_with_a_form(user: User, fake_openai: FakeOpenAI) -> None:
    class Animal(BaseModel):
        name: str

    fake_openai.script(Failure(503), '{"name": "Cat"}')
    assert AIService(user).parse("Which?", response_model=Animal).name == "Cat"
    assert [row[0] for row in rows()] == ["first", "second"]


def test_if_none_can_be_reached_the_last_one_says_why(
    colour: Colour, user: User, fake_openai: FakeOpenAI
) -> None:
    fake_openai.script(Failure(503), Failure(503))
    with pytest.raises(ProviderUnavailableError):
        colour.ask(AIService(user), "Hi")
    assert rows() == [("first", "failed"), ("second", "failed")]


def test_a_used_up_account_is_asked_once(colour: Colour, user: User, fake_openai: FakeOpenAI) -> None:
    fake_openai.script(Failure(429, code="insufficient_quota"))
    with pytest.raises(ProviderRateLimitedError) as raised:
        colour.ask(AIService(user), "Hi")
    assert raised.value.code == "provider_quota"
    assert rows() == [("first", "failed")]
