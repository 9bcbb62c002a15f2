"""Chat Completions as the official SDK sees them."""

import json

import pytest

from django_chatgpt.testing import Answer, Call, FakeOpenAI, Usage
from tests.testing.conftest import HELLO, MODEL, Sdk

TOOLS = [{"type": "function", "function": {"name": "get_weather", "parameters": {"type": "object"}}}]


async def test_a_whole_answer(fake: FakeOpenAI, sdk: Sdk) -> None:
    fake.reply("Hello there", usage=Usage(10, 5, cached=4, reasoning=2))
    completion = await sdk.chat()
    assert completion.object == "chat.completion"
    assert completion.id.startswith("chatcmpl-")
    assert completion.model == MODEL
    assert completion.choices[0].message.role == "assistant"
    assert completion.choices[0].message.content == "Hello there"
    assert completion.choices[0].message.tool_calls is None
    assert completion.choices[0].finish_reason == "stop"
    usage = completion.usage
    assert (usage.prompt_tokens, usage.completion_tokens, usage.total_tokens) == (10, 5, 15)
    assert usage.prompt_tokens_details.cached_tokens == 4
    assert usage.completion_tokens_details.reasoning_tokens == 2
    assert completion._request_id == fake.requests[0].id


async def test_a_streamed_answer_is_a_role_pieces_a_finish(fake: FakeOpenAI, sdk: Sdk) -> None:
    fake.reply("Hello there", chunks=["Hel", "lo ", "there"])
    heard = await sdk.hear("chat")
    assert heard.error is None
    deltas = [event.choices[0].delta.model_dump(exclude_unset=True) for event in heard.events]
    assert deltas == [
        {"role": "assistant", "content": "", "refusal": None},
        {"content": "Hel"},
        {"content": "lo "},
        {"content": "there"},
        {},
    ]
    assert [event.choices[0].finish_reason for event in heard.events] == [None, None, None, None, "stop"]
    assert len({event.id for event in heard.events}) == 1
    assert all(event.object == "chat.completion.chunk" for event in heard.events)
    assert all("usage" not in event.model_fields_set for event in heard.events)


async def test_usage_comes_last_and_alone_when_asked_for(fake: FakeOpenAI, sdk: Sdk) -> None:
    fake.reply("Hello", usage=Usage(10, 5))
    heard = await sdk.hear("chat", stream_options={"include_usage": True})
    *others, last = heard.events
    assert last.choices == []
    assert last.usage.total_tokens == 15
    assert all("usage" in event.model_fields_set and event.usage is None for event in others)


async def test_usage_that_the_provider_does_not_send(fake: FakeOpenAI, sdk: Sdk) -> None:
    fake.script(Answer("Hello", usage=None), Answer("Hello", usage=None))
    heard = await sdk.hear("chat", stream_options={"include_usage": True})
    assert heard.text == "Hello"
    assert all(event.usage is None for event in heard.events)
    assert heard.events[-1].choices[0].finish_reason == "stop"
    assert (await sdk.chat()).usage is None


async def test_tool_calls_in_fragments_one_after_the_other(fake: FakeOpenAI, sdk: Sdk) -> None:
    paris = Call("get_weather", {"city": "Paris"}, id="call_1", fragments=['{"city"', ':"Paris"}'])
    rome = Call("get_weather", {"city": "Rome"}, id="call_2", fragments=1)
    fake.script(Answer(calls=[paris, rome]))
    heard = await sdk.hear("chat", tools=TOOLS, reasoning_effort="none")
    first, *middle, last = [event.choices[0] for event in heard.events]
    assert first.delta.content is None
    assert last.finish_reason == "tool_calls"
    calls = [choice.delta.tool_calls[0].model_dump(exclude_unset=True) for choice in middle]
    assert calls == [
        {
            "index": 0,
            "id": "call_1",
            "type": "function",
            "function": {"name": "get_weather", "arguments": ""},
        },
        {"index": 0, "function": {"arguments": '{"city"'}},
        {"index": 0, "function": {"arguments": ':"Paris"}'}},
        {
            "index": 1,
            "id": "call_2",
            "type": "function",
            "function": {"name": "get_weather", "arguments": ""},
        },
        {"index": 1, "function": {"arguments": '{"city":"Rome"}'}},
    ]


async def test_tool_calls_interleaved(fake: FakeOpenAI, sdk: Sdk) -> None:
    calls = [Call("a", {"x": 1}, fragments=3), Call("b", {"y": 22222}, fragments=4)]
    fake.script(Answer("Let me see.", calls=calls, interleave=True))
    heard = await sdk.hear("chat", tools=TOOLS, reasoning_effort="none")
    order: list[int] = []
    arguments = {0: "", 1: ""}
    for event in heard.events:
        for call in event.choices[0].delta.tool_calls or []:
            order.append(call.index)
            arguments[call.index] += call.function.arguments
    assert order == [0, 0, 1, 1, 0, 1, 0, 1, 1]
    assert {index: json.loads(text) for index, text in arguments.items()} == {0: {"x": 1}, 1: {"y": 22222}}
    assert heard.text == "Let me see."


async def test_whole_tool_calls(fake: FakeOpenAI, sdk: Sdk) -> None:
    fake.script(Answer(calls=[Call("get_weather", {"city": "Paris"}), Call("get_weather", "{broken")]))
    choice = (await sdk.chat(tools=TOOLS, reasoning_effort="none")).choices[0]
    assert choice.finish_reason == "tool_calls"
    assert choice.message.content is None
    assert [call.function.arguments for call in choice.message.tool_calls] == ['{"city":"Paris"}', "{broken"]
    assert len({call.id for call in choice.message.tool_calls}) == 2


@pytest.mark.parametrize("dialect", ["chat", "responses"])
async def test_a_call_with_nothing_for_arguments(fake: FakeOpenAI, sdk: Sdk, dialect: str) -> None:
    fake.script(*[Answer(calls=[Call("f", "")], refusal="")] * 2)
    heard = await sdk.hear(dialect)
    assert heard.error is None
    assert fake.requests[0].sent == []
    await sdk.ask(dialect)


@pytest.mark.parametrize("stream", [False, True])
async def test_a_refusal(fake: FakeOpenAI, sdk: Sdk, stream: bool) -> None:
    fake.script(Answer(refusal="I can't help with that."))
    if stream:
        events = (await sdk.hear("chat")).events
        said = "".join(event.choices[0].delta.refusal or "" for event in events)
    else:
        message = (await sdk.chat()).choices[0].message
        assert message.content is None
        said = message.refusal
    assert said == "I can't help with that."


@pytest.mark.parametrize("finish", ["length", "content_filter"])
async def test_other_ends(fake: FakeOpenAI, sdk: Sdk, finish: str) -> None:
    fake.script(*[Answer("Hello", finish=finish)] * 2)  # type: ignore[arg-type]
    assert (await sdk.chat()).choices[0].finish_reason == finish
    assert (await sdk.hear("chat")).events[-1].choices[0].finish_reason == finish


async def test_the_sdks_own_accumulator_agrees_with_the_whole_answer(fake: FakeOpenAI, sync_sdk: Sdk) -> None:
    answer = Answer("On it.", calls=[Call("a", {"x": [1, 2]}), Call("b")], interleave=True, usage=Usage(3, 4))
    fake.script(answer, answer)
    arguments = {"model": MODEL, "messages": HELLO, "stream_options": {"include_usage": True}}
    with sync_sdk.client.chat.completions.stream(**arguments) as stream:
        streamed = stream.get_final_completion()
    whole = await sync_sdk.chat()
    assert streamed.usage == whole.usage
    assert streamed.choices[0].message.content == whole.choices[0].message.content
    both = [[call.function.arguments for call in c.choices[0].message.tool_calls] for c in (streamed, whole)]
    assert both == [['{"x":[1,2]}', "{}"]] * 2


async def test_padding_can_be_switched_off(fake: FakeOpenAI, sync_sdk: Sdk) -> None:
    padded = await sync_sdk.hear("chat")
    assert all(event.obfuscation for event in padded.events)
    plain = await sync_sdk.hear("chat", stream_options={"include_obfuscation": False})
    assert not any("obfuscation" in event.model_dump(exclude_unset=True) for event in plain.events)


async def test_a_model_may_answer_under_another_name(fake: FakeOpenAI, sync_sdk: Sdk) -> None:
    fake.reply("Hello", model="gpt-6-luna-2026-09-22", headers={"x-ratelimit-remaining-requests": "7"})
    raw = await sync_sdk.call(
        sync_sdk.client.chat.completions.with_raw_response.create, model=MODEL, messages=HELLO
    )
    assert raw.headers["x-ratelimit-remaining-requests"] == "7"
    assert raw.parse().model == "gpt-6-luna-2026-09-22"


async def test_hidden_reasoning_is_counted_but_not_sent(fake: FakeOpenAI, sync_sdk: Sdk) -> None:
    fake.reply("Yes.", reasoning="Twelve bytes")
    completion = await sync_sdk.chat()
    assert "Twelve" not in completion.to_json()
    assert completion.usage.completion_tokens == 1 + 3
    assert completion.usage.completion_tokens_details.reasoning_tokens == 3
    assert fake.tokens_billed.completion == 4
