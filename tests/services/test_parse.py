"""Answers that have to have a form."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from asgiref.sync import async_to_sync
from django.contrib.auth.models import User
from pydantic import BaseModel

from django_chatgpt.exceptions import AIServiceError, StructuredOutputError
from django_chatgpt.functions import Function
from django_chatgpt.models import AIMessage, AITurn, AIUsage
from django_chatgpt.services import AIService
from django_chatgpt.testing import Answer, Call, FakeOpenAI

if TYPE_CHECKING:
    from tests.services.conftest import Async, Sync

    Colour = Sync | Async


class Person(BaseModel):
    name: str
    age: int = 30


def parse(colour: Colour, service: AIService, text: str, **options: Any) -> Person:
    if colour.name == "sync":
        return service.parse(text, response_model=Person, **options)
    return async_to_sync(service.aparse)(text, response_model=Person, **options)


def test_an_answer_is_given_as_the_model(
    colour: Colour, dialect: str, user: User, fake_openai: FakeOpenAI
) -> None:
    fake_openai.reply('{"name": "Ada", "age": 36}')
    assert parse(colour, AIService(user), "Who?") == Person(name="Ada", age=36)
    body = fake_openai.calls[0].body
    form = body["response_format"]["json_schema"] if dialect == "chat" else body["text"]["format"]
    assert form["name"] == "Person"
    assert form["strict"] is True
    assert form["schema"]["required"] == ["name", "age"]
    assert form["schema"]["properties"]["age"]["type"] == "integer", "a default is no reason for null"


def test_an_answer_that_does_not_fit_may_be_mended_once(
    colour: Colour, dialect: str, user: User, fake_openai: FakeOpenAI
) -> None:
    fake_openai.script('{"name": "Ada", "age": "old"}', '{"name": "Ada", "age": 36}')
    assert parse(colour, AIService(user), "Who?").age == 36
    assert "age" in fake_openai.calls[1].texts[-1]
    assert AIUsage.objects.filter(outcome="completed").count() == 2
    assert list(AIMessage.objects.order_by("sequence").values_list("content", flat=True)) == [
        "Who?",
        '{"name": "Ada", "age": 36}',
    ]


def test_twice_wrong_is_an_error_with_the_text(
    colour: Colour, dialect: str, user: User, fake_openai: FakeOpenAI
) -> None:
    fake_openai.script("I don't know.", "I still don't.")
    with pytest.raises(StructuredOutputError) as caught:
        parse(colour, AIService(user), "Who?")
    assert caught.value.raw == "I still don't."
    assert AITurn.objects.get().error_code == "invalid_output"


def test_functions_go_with_a_form(colour: Colour, dialect: str, user: User, fake_openai: FakeOpenAI) -> None:
    def age_of(name: str) -> int:
        """The age of a person."""
        return 36

    fake_openai.script(Answer(calls=[Call("age_of", {"name": "Ada"})]), '{"name": "Ada", "age": 36}')
    person = parse(colour, AIService(user), "Who?", functions=[Function.of(age_of)])
    assert person.age == 36
    assert len(fake_openai.calls) == 2


def test_the_answer_is_seen_as_it_grows(
    colour: Colour, dialect: str, user: User, fake_openai: FakeOpenAI
) -> None:
    fake_openai.reply(chunks=['{"na', 'me": "A', 'da", "age"', ": 36}"], delay=0.05)
    service = AIService(user)
    if colour.name == "sync":
        seen = list(service.stream_parse("Who?", response_model=Person))
    else:

        async def collect() -> list[object]:
            return [each async for each in service.astream_parse("Who?", response_model=Person)]

        seen = async_to_sync(collect)()
    assert seen[-1] == Person(name="Ada", age=36)
    assert {"name": "A"} in seen
    assert {"name": "Ada", "age": 36} in seen


def test_while_it_grows_an_error_is_raised(colour: Colour, user: User, fake_openai: FakeOpenAI) -> None:
    fake_openai.script("no", "no")
    service = AIService(user)

    async def collect() -> list[object]:
        return [each async for each in service.astream_parse("Who?", response_model=Person)]

    def listen() -> list[object]:
        if colour.name == "async":
            return async_to_sync(collect)()
        return list(service.stream_parse("Who?", response_model=Person))

    with pytest.raises(AIServiceError) as caught:
        listen()
    assert caught.value.code == "invalid_output"
