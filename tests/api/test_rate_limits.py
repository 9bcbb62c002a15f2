"""Too many questions in a short time: 429, and when to come again."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from django.core.cache import cache
from django.db import connections
from django.test.utils import CaptureQueriesContext
from pytest_django import Settings

from django_chatgpt.models import AIConversation, AITurn
from django_chatgpt.testing import FakeOpenAI
from tests.api.conftest import Door

pytestmark = [pytest.mark.django_db, pytest.mark.sqlite_only]


@pytest.fixture(autouse=True)
def limited(settings: Settings) -> Iterator[None]:
    settings.OPENAI_RATE_LIMITS = {"user": "1/m"}
    cache.clear()
    yield
    cache.clear()


@pytest.mark.parametrize("stream", [False, True])
def test_a_question_too_many(door: Door, other_door: Door, fake: FakeOpenAI, stream: bool) -> None:
    fake.reply("Hi")
    assert door.ask(stream=stream).status == 200
    with CaptureQueriesContext(connections["default"]) as captured:
        answer = door.ask(stream=stream)
    assert len(captured) == 2  # who it is
    assert answer.status == 429
    assert answer.error["code"] == "rate_limited"
    assert 1 <= int(answer.headers["Retry-After"]) <= 120
    assert AITurn.objects.count() == AIConversation.objects.count() == 1
    assert len(fake.calls) == 1
    fake.reply("Hi")
    assert other_door.ask(stream=stream).status == 200


def test_a_repeat_is_answered_however_often(door: Door, fake: FakeOpenAI) -> None:
    fake.reply("Hi")
    first = door.ask(key="k")
    for _ in range(3):
        again = door.ask(key="k")
        assert (again.status, again.turn_id) == (200, first.turn_id)
    assert door.ask(key="another").status == 429


def test_a_key_that_was_used_for_something_else(door: Door, fake: FakeOpenAI) -> None:
    fake.reply("Hi")
    door.ask(key="k")
    answer = door.ask("Something else", key="k")
    assert (answer.status, answer.error["code"]) == (409, "idempotency_mismatch")


def test_functions_that_a_person_calls(door: Door) -> None:
    body = {"function_name": "nothing", "arguments": {}}
    assert door.send("POST", "/ai/functions/execute/", body).status == 404
    answer = door.send("POST", "/ai/functions/execute/", body)
    assert answer.status == 429
    assert int(answer.headers["Retry-After"]) >= 1
    assert door.get("/ai/functions/").status == 200
