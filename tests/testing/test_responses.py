"""Responses as the official SDK sees them."""

from typing import Any

import openai
import pytest

from django_chatgpt.testing import Answer, Call, Failure, FakeOpenAI, Usage
from tests.testing.conftest import MODEL, Sdk

TOOLS = [{"type": "function", "name": "get_weather", "parameters": {"type": "object"}, "strict": False}]


def kinds(events: list[Any]) -> list[str]:
    return [event.type.removeprefix("response.") for event in events]


async def test_a_whole_answer(fake: FakeOpenAI, sdk: Sdk) -> None:
    fake.reply("Hello there", usage=Usage(10, 5, cached=4, reasoning=2, cache_write=1))
    response = await sdk.respond(instructions="Be kind.", max_output_tokens=99)
    assert response.object == "response"
    assert response.status == "completed"
    assert response.model == MODEL
    assert response.instructions == "Be kind."
    assert response.max_output_tokens == 99
    assert response.store is False
    assert response.output_text == "Hello there"
    assert [item.type for item in response.output] == ["message"]
    usage = response.usage
    assert (usage.input_tokens, usage.output_tokens, usage.total_tokens) == (10, 5, 15)
    assert usage.input_tokens_details.cached_tokens == 4
    assert usage.input_tokens_details.cache_write_tokens == 1
    assert usage.output_tokens_details.reasoning_tokens == 2
    assert response._request_id == fake.requests[0].id


async def test_the_events_of_a_text(fake: FakeOpenAI, sdk: Sdk) -> None:
    fake.reply("Hello there")
    heard = await sdk.hear("responses")
    assert heard.error is None
    assert kinds(heard.events) == [
        "created",
        "in_progress",
        "output_item.added",
        "content_part.added",
        "output_text.delta",
        "output_text.delta",
        "output_text.done",
        "content_part.done",
        "output_item.done",
        "completed",
    ]
    assert [event.sequence_number for event in heard.events] == list(range(len(heard.events)))
    assert heard.text == "Hello there"
    assert heard.events[6].text == "Hello there"
    first, last = heard.events[0].response, heard.events[-1].response
    assert (first.status, first.output, first.usage) == ("in_progress", [], None)
    assert last.status == "completed"
    assert last.id == first.id
    assert last.output == [heard.events[8].item]
    assert last.usage.output_tokens == 3


async def test_the_events_of_reasoning_text_and_calls(fake: FakeOpenAI, sdk: Sdk) -> None:
    calls = [
        Call("get_weather", {"city": "Paris"}, id="call_1", fragments=2),
        Call("get_weather", id="call_2"),
    ]
    fake.reply("Let me see.", chunks=1, reasoning="Weather", calls=calls)
    heard = await sdk.hear("responses", tools=TOOLS)
    assert kinds(heard.events) == [
        "created",
        "in_progress",
        "output_item.added",
        "reasoning_summary_part.added",
        "reasoning_summary_text.delta",
        "reasoning_summary_text.done",
        "reasoning_summary_part.done",
        "output_item.done",
        "output_item.added",
        "content_part.added",
        "output_text.delta",
        "output_text.done",
        "content_part.done",
        "output_item.done",
        "output_item.added",
        "function_call_arguments.delta",
        "function_call_arguments.delta",
        "function_call_arguments.done",
        "output_item.done",
        "output_item.added",
        "function_call_arguments.delta",
        "function_call_arguments.done",
        "output_item.done",
        "completed",
    ]
    assert [event.sequence_number for event in heard.events] == list(range(len(heard.events)))
    indexes = [event.output_index for event in heard.events if hasattr(event, "output_index")]
    assert indexes == sorted(indexes)
    assert set(indexes) == {0, 1, 2, 3}
    output = heard.events[-1].response.output
    assert [item.type for item in output] == ["reasoning", "message", "function_call", "function_call"]
    assert [(item.call_id, item.arguments) for item in output[2:]] == [
        ("call_1", '{"city":"Paris"}'),
        ("call_2", "{}"),
    ]
    added = [event.item for event in heard.events if event.type == "response.output_item.added"]
    assert [item.id for item in added] == [item.id for item in output]
    assert added[2].status == "in_progress"
    assert added[2].arguments == ""
    assert output[0].encrypted_content
    assert output[0].summary[0].text == "Weather"


async def test_interleaved_calls_are_told_apart_by_output_index(fake: FakeOpenAI, sdk: Sdk) -> None:
    calls = [Call("a", {"x": 1}, fragments=2), Call("b", {"y": 2}, fragments=2)]
    fake.script(Answer(calls=calls, interleave=True))
    heard = await sdk.hear("responses", tools=TOOLS)
    deltas = [event for event in heard.events if event.type == "response.function_call_arguments.delta"]
    assert [event.output_index for event in deltas] == [0, 1, 0, 1]
    joined = {
        index: "".join(event.delta for event in deltas if event.output_index == index) for index in (0, 1)
    }
    assert joined == {0: '{"x":1}', 1: '{"y":2}'}


async def test_the_sdks_own_accumulator_agrees(fake: FakeOpenAI, sync_sdk: Sdk) -> None:
    fake.reply("Hello there", reasoning="", calls=[Call("get_weather", {"city": "Paris"})])
    with sync_sdk.client.responses.stream(model=MODEL, input="Hi", tools=TOOLS) as stream:
        final = stream.get_final_response()
    assert final.output_text == "Hello there"
    assert final.output[0].summary == []
    assert final.output[2].arguments == '{"city":"Paris"}'


@pytest.mark.parametrize(
    ("finish", "reason"), [("length", "max_output_tokens"), ("content_filter", "content_filter")]
)
async def test_an_incomplete_answer(fake: FakeOpenAI, sdk: Sdk, finish: str, reason: str) -> None:
    fake.script(*[Answer("Hello", finish=finish)] * 2)  # type: ignore[arg-type]
    whole = await sdk.respond()
    last = (await sdk.hear("responses")).events[-1]
    assert last.type == "response.incomplete"
    for response in (whole, last.response):
        assert response.status == "incomplete"
        assert response.incomplete_details.reason == reason
        assert response.output[0].status == "incomplete"
        assert response.usage.output_tokens > 0


async def test_a_refusal(fake: FakeOpenAI, sdk: Sdk) -> None:
    fake.script(*[Answer(refusal="I can't.")] * 2)
    assert (await sdk.respond()).output[0].content[0].refusal == "I can't."
    events = (await sdk.hear("responses")).events
    assert kinds(events)[2:8] == [
        "output_item.added",
        "content_part.added",
        "refusal.delta",
        "refusal.done",
        "content_part.done",
        "output_item.done",
    ]


async def test_an_error_event_as_observed_is_raised_by_the_sdk(fake: FakeOpenAI, sdk: Sdk) -> None:
    fake.reply("One two three", error_after=2, error=Failure(429))
    heard = await sdk.hear("responses")
    assert heard.text == "One two"
    assert isinstance(heard.error, openai.APIError)
    assert heard.error.code == "rate_limit_exceeded"


async def test_an_error_event_as_documented_is_yielded_by_the_sdk(fake: FakeOpenAI, sdk: Sdk) -> None:
    fake.reply("One two three", error_after=2, error_event="flat")
    heard = await sdk.hear("responses")
    assert heard.error is None
    assert kinds(heard.events)[-2:] == ["error", "failed"]
    assert heard.events[-2].message == heard.events[-1].response.error.message
    assert [event.sequence_number for event in heard.events] == list(range(len(heard.events)))


async def test_a_failed_response_alone(fake: FakeOpenAI, sdk: Sdk) -> None:
    fake.script(*[Answer("One two three", error_after=0, error_event="none")] * 2)
    heard = await sdk.hear("responses")
    assert kinds(heard.events)[-1] == "failed"
    assert "error" not in kinds(heard.events)
    whole = await sdk.respond()
    for response in (heard.events[-1].response, whole):
        assert response.status == "failed"
        assert response.error.code == "server_error"
        assert response.usage is None


async def test_usage_that_the_provider_does_not_send(fake: FakeOpenAI, sdk: Sdk) -> None:
    fake.script(*[Answer("Hello", usage=None)] * 2)
    assert (await sdk.respond()).usage is None
    last = (await sdk.hear("responses")).events[-1]
    assert last.type == "response.completed"
    assert last.response.usage is None


async def test_output_can_be_sent_back_as_it_came(fake: FakeOpenAI, sdk: Sdk) -> None:
    fake.reply("Let me see.", reasoning="Weather", calls=[Call("get_weather"), Call("get_weather")])
    first = await sdk.respond(tools=TOOLS)
    history: list[Any] = [{"role": "user", "content": "Hi"}]
    history += [item.model_dump(exclude_none=True, by_alias=True) for item in first.output]
    history += [
        {"type": "function_call_output", "call_id": item.call_id, "output": "sunny"}
        for item in first.output
        if item.type == "function_call"
    ]
    fake.reply("Sunny.")
    assert (await sdk.respond(input=history, tools=TOOLS)).output_text == "Sunny."
