"""A real model behind the HTTP door: what it says is its own affair, what is kept of it is ours."""

import json
from collections.abc import AsyncIterator, Iterator
from typing import Annotated, Any

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth.models import User
from django.http import StreamingHttpResponse
from django.test import AsyncClient, override_settings
from event_stream import EventReader
from local_model import LocalModel
from pydantic import Field

from django_chatgpt.functions import function_registry
from django_chatgpt.models import AIConversation, AIFunctionCall, AITurn, AIUsage

pytestmark = [pytest.mark.realmodel, pytest.mark.django_db(transaction=True)]

QUESTIONS = ("What is Django?", "Name three colours.")


@pytest.fixture
async def site(real_model: LocalModel) -> AsyncIterator[None]:
    """The test site, answered by the real model, which costs nothing."""
    with override_settings(
        OPENAI_BASE_URL=real_model.base_url,
        OPENAI_API_KEY="local",
        OPENAI_DEFAULT_MODEL=real_model.name,
        OPENAI_MAX_TOKENS=40,
        OPENAI_CONTEXT_WINDOW={real_model.name: 2048},
        OPENAI_PRICES={real_model.name: {"input": "0", "cached_input": "0", "output": "0"}},
    ):
        yield


def get_weather(city: Annotated[str, Field(pattern='^[^"]{1,40}$')]) -> str:
    """The present weather of a city."""
    return f"sunny in {city}"


@pytest.fixture
def weather() -> Iterator[None]:
    """A function of the site."""
    function_registry.register(get_weather)
    yield
    function_registry.unregister("get_weather")


async def ask(client: AsyncClient, **asked: Any) -> list[dict[str, Any]]:
    response = await client.post("/ai/chat/", {**asked, "stream": True}, content_type="application/json")
    assert response.status_code == 200
    assert isinstance(response, StreamingHttpResponse)
    assert response.headers["Content-Type"].startswith("text/event-stream")
    reader = EventReader()
    return [event async for chunk in response for event in reader.feed(chunk)]


def check_usage(usage: dict[str, int]) -> None:
    assert min(usage["prompt_tokens"], usage["completion_tokens"]) > 0
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]


@sync_to_async
def ledger_rows(conversation_id: str) -> list[AIUsage]:
    return list(AIUsage.objects.filter(conversation=conversation_id).order_by("pk"))


async def test_a_streamed_answer_is_shown_counted_and_kept(
    site: None, user: User, async_user_client: AsyncClient, real_model: LocalModel
) -> None:
    events = await ask(async_user_client, message=QUESTIONS[0])

    kinds = [event["type"] for event in events]
    assert kinds == ["start", *["content"] * (len(kinds) - 3), "finish", "done"]
    assert kinds.count("content") > 1
    start, finish = events[0], events[-2]
    text = "".join(event["content"] for event in events if event["type"] == "content")
    assert text.strip()
    assert finish["reason"] in ("stop", "length")
    check_usage(finish["usage"])
    assert float(finish["cost"]) == 0

    kept = (await async_user_client.get(f"/ai/conversations/{start['conversation_id']}/")).json()
    assert [(each["role"], each["content"]) for each in kept["messages"]] == [
        ("user", QUESTIONS[0]),
        ("assistant", text),
    ]
    assert kept["messages"][1]["id"] == finish["message_id"]
    assert kept["total_tokens"] == finish["usage"]["total_tokens"]

    (row,) = await ledger_rows(start["conversation_id"])
    assert (row.model, row.usage_source, row.total_tokens) == (
        real_model.name,
        "provider",
        finish["usage"]["total_tokens"],
    )
    assert row.user_id == user.pk
    turn = await AITurn.objects.aget(pk=start["turn_id"])
    assert turn.status == "completed"


async def test_the_second_question_knows_the_first_and_totals_add_up(
    site: None, async_user_client: AsyncClient
) -> None:
    first = await ask(async_user_client, message=QUESTIONS[0])
    conversation_id = first[0]["conversation_id"]

    second = await ask(async_user_client, message=QUESTIONS[1], conversation_id=conversation_id)

    used = [events[-2]["usage"] for events in (first, second)]
    for usage in used:
        check_usage(usage)
    assert used[1]["prompt_tokens"] > used[0]["prompt_tokens"] + used[0]["completion_tokens"]
    conversation = await AIConversation.objects.aget(pk=conversation_id)
    assert conversation.total_tokens == sum(usage["total_tokens"] for usage in used)
    assert [row.usage_source for row in await ledger_rows(conversation_id)] == ["provider"] * 2


async def test_a_question_that_got_no_answer_is_no_obstacle_to_the_next(
    site: None, async_user_client: AsyncClient
) -> None:
    with override_settings(OPENAI_BASE_URL="http://127.0.0.1:9/v1", OPENAI_MAX_RETRIES=0):
        failed = await ask(async_user_client, message=QUESTIONS[0])
    assert [event["type"] for event in failed] == ["start", "error", "done"]

    events = await ask(async_user_client, message=QUESTIONS[1], conversation_id=failed[0]["conversation_id"])

    assert events[-2]["type"] == "finish"
    check_usage(events[-2]["usage"])


async def test_a_summary_of_what_no_longer_fits_goes_with_the_next_question(
    site: None, async_user_client: AsyncClient, real_model: LocalModel
) -> None:
    conversation: dict[str, str] = {}
    with override_settings(
        OPENAI_SUMMARIZE_HISTORY=True,
        OPENAI_CONTEXT_WINDOW={real_model.name: 450},
        OPENAI_TOKEN_BUFFER=0,
        OPENAI_MAX_TOKENS=20,
    ):
        for _ in range(5):
            events = await ask(async_user_client, message="word " * 80 + QUESTIONS[1], **conversation)
            assert events[-2]["type"] == "finish"
            conversation = {"conversation_id": events[0]["conversation_id"]}

    kept = await AIConversation.objects.aget(pk=conversation["conversation_id"])
    assert kept.metadata["history_summary"]["text"]
    rows = await ledger_rows(conversation["conversation_id"])
    assert len(rows) > 5
    assert {row.outcome for row in rows} == {"completed"}


async def test_a_whole_reply_is_the_same_turn_folded(site: None, async_user_client: AsyncClient) -> None:
    response = await async_user_client.post(
        "/ai/chat/", {"message": QUESTIONS[0]}, content_type="application/json"
    )

    assert response.status_code == 200
    reply = response.json()
    assert reply["message"]["role"] == "assistant"
    assert reply["message"]["content"].strip()
    check_usage(reply["usage"])
    assert float(reply["cost"]) == 0
    (row,) = await ledger_rows(reply["conversation_id"])
    assert row.total_tokens == reply["usage"]["total_tokens"]


async def test_the_model_calls_a_function_of_the_site(
    site: None, weather: None, async_user_client: AsyncClient
) -> None:
    events = await ask(async_user_client, message="What is the weather in Paris?")

    kinds = [event["type"] for event in events]
    assert kinds[:3] == ["start", "function_call", "function_result"]
    assert kinds[3:] == [*["content"] * (len(kinds) - 5), "finish", "done"]
    call, result, finish = events[1], events[2], events[-2]
    assert (call["name"], json.loads(call["arguments"])) == ("get_weather", {"city": "Paris"})
    assert (result["id"], result["status"], result["result"]) == (call["id"], "completed", "sunny in Paris")
    text = "".join(event["content"] for event in events if event["type"] == "content")
    assert text.strip()
    check_usage(finish["usage"])

    record = await AIFunctionCall.objects.aget()
    assert (record.name, record.status, record.call_id) == ("get_weather", "completed", call["id"])
    assert str(record.turn_id) == events[0]["turn_id"]
    conversation_id = events[0]["conversation_id"]
    kept = (await async_user_client.get(f"/ai/conversations/{conversation_id}/")).json()
    assert [each["role"] for each in kept["messages"]] == ["user", "assistant", "tool", "assistant"]
    rows = await ledger_rows(conversation_id)
    assert len(rows) == 2
    assert sum(row.total_tokens or 0 for row in rows) == finish["usage"]["total_tokens"]
