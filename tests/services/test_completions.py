"""Calls of the model outside any conversation."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from django.contrib.auth.models import User
from pytest_django import Settings

from django_chatgpt.exceptions import (
    InvalidRequestError,
    PermissionDeniedError,
    ProviderProtocolError,
    ProviderRejectedError,
)
from django_chatgpt.models import AIConversation, AIUsage
from django_chatgpt.services import AIService, ChatMessage
from django_chatgpt.testing import Answer, Call, Failure, FakeOpenAI, Usage

if TYPE_CHECKING:
    from tests.services.conftest import Async, Sync

    Colour = Sync | Async

HI = [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "Hi"}]


def test_a_whole_completion(colour: Colour, user: User, fake_openai: FakeOpenAI) -> None:
    fake_openai.reply("Hello", usage=Usage(7, 3, cached=2))
    completion = colour.complete(AIService(user), HI)
    assert completion.choices[0].message.content == "Hello"
    assert type(completion).__name__ == "ChatCompletion"
    row = AIUsage.objects.get()
    assert (row.outcome, row.usage_source, row.kind) == ("completed", "provider", "chat")
    assert (row.prompt_tokens, row.completion_tokens, row.cached_tokens) == (7, 3, 2)
    assert row.user == user
    assert row.request_id == fake_openai.calls[0].id
    assert not AIConversation.objects.exists()
    assert fake_openai.calls[0].path.endswith("/chat/completions")


def test_a_streamed_completion(colour: Colour, user: User, fake_openai: FakeOpenAI) -> None:
    fake_openai.reply("Hello there", usage=Usage(7, 3))
    chunks = colour.chunks(AIService(user), HI)
    assert {type(chunk).__name__ for chunk in chunks} == {"ChatCompletionChunk"}
    text = "".join(choice.delta.content or "" for chunk in chunks for choice in chunk.choices)
    assert text == "Hello there"
    row = AIUsage.objects.get()
    assert (row.outcome, row.usage_source, row.total_tokens) == ("completed", "provider", 10)
    assert row.time_to_first_token_ms is not None


def test_functions_are_offered_and_their_calls_returned(
    colour: Colour, user: User, fake_openai: FakeOpenAI
) -> None:
    schema = {"name": "f", "description": "", "parameters": {"type": "object", "properties": {}}}
    fake_openai.script(Answer(calls=[Call("f", {})]))
    completion = colour.complete(AIService(user), HI, model="m", functions=[schema])
    assert completion.choices[0].message.tool_calls[0].function.name == "f"
    assert fake_openai.calls[0].body["tools"] == [{"type": "function", "function": schema}]


def test_passing_failures_are_tried_again_and_each_has_its_row(
    colour: Colour, user: User, fake_openai: FakeOpenAI
) -> None:
    fake_openai.script(Failure(500, retry_after=0.01), "Hello")
    assert colour.complete(AIService(user), HI).choices[0].message.content == "Hello"
    fake_openai.script(Failure(429, retry_after=0.01), "Hello")
    assert colour.chunks(AIService(user), HI)
    outcomes = list(AIUsage.objects.order_by("id").values_list("outcome", flat=True))
    assert outcomes == ["failed", "completed"] * 2


def test_a_refusal_is_not_tried_again(colour: Colour, user: User, fake_openai: FakeOpenAI) -> None:
    fake_openai.script(Failure(400))
    with pytest.raises(ProviderRejectedError):
        colour.complete(AIService(user), HI)
    assert AIUsage.objects.get().outcome == "failed"


def test_a_stream_that_breaks_is_not_begun_again(colour: Colour, user: User, fake_openai: FakeOpenAI) -> None:
    fake_openai.reply("one two three", chunks=3, cut_after=2)
    with pytest.raises(ProviderProtocolError):
        colour.chunks(AIService(user), HI)
    row = AIUsage.objects.get()
    assert (row.outcome, row.usage_source) == ("failed", "estimated")
    assert len(fake_openai.calls) == 1


def test_who_leaves_a_stream_closes_it(colour: Colour, user: User, fake_openai: FakeOpenAI) -> None:
    fake_openai.reply("one two three four", chunks=4, stall_after=2)
    colour.first_chunk(AIService(user), HI)
    fake_openai.wait_for(disconnected=True, within=2)
    row = AIUsage.objects.get()
    assert (row.outcome, row.usage_source) == ("cancelled", "estimated")


def test_messages_are_checked_and_the_wrong_one_is_named(
    colour: Colour, user: User, fake_openai: FakeOpenAI
) -> None:
    for messages, name in (
        ([], "messages"),
        ([HI[0], {"role": "robot", "content": "x"}], "messages[1].role"),
        ([{"role": "user", "content": "x", "colour": "red"}], "messages[0].colour"),
        (["Hi"], "messages[0]"),
    ):
        with pytest.raises(InvalidRequestError) as caught:
            colour.complete(AIService(user), messages)
        assert name in str(caught.value)
    fake_openai.assert_nothing_asked()


def test_message_values_are_taken_too(colour: Colour, user: User, fake_openai: FakeOpenAI) -> None:
    colour.complete(AIService(user), [ChatMessage(role="user", content="Hi")])
    assert fake_openai.calls[0].body["messages"] == [{"role": "user", "content": "Hi"}]


def test_who_may_not_ask_may_not_complete(colour: Colour, user: User, fake_openai: FakeOpenAI) -> None:
    user.is_active = False
    with pytest.raises(PermissionDeniedError):
        colour.complete(AIService(user), HI)
    fake_openai.assert_nothing_asked()


def test_counting_and_pricing_need_no_network(user: User, settings: Settings) -> None:
    service = AIService(user)
    assert service.count_tokens("Hello world") == 2
    assert service.count_tokens(HI) > service.count_tokens("Be kind.Hi")
    settings.OPENAI_PRICES = {"m": {"input": "1", "output": "2"}}
    assert str(service.estimate_cost(1_000_000, 500_000, model="m")) == "2.000000000000"
    assert service.estimate_cost(1, 1, model="nobody-knows") is None
    assert "ada" not in repr(service)
