"""Which request gets which step."""

import asyncio
from typing import Any

import openai
import pytest

from django_chatgpt.testing import HTML, Answer, Call, Drop, Failure, FakeOpenAI, Request, Usage
from django_chatgpt.testing.steps import parse_step
from tests.testing.conftest import Sdk


async def said(sdk: Sdk, text: str = "Hi", **arguments: Any) -> str:
    messages = [{"role": "system", "content": "Be kind."}, {"role": "user", "content": text}]
    content = (await sdk.chat(messages=messages, **arguments)).choices[0].message.content
    assert isinstance(content, str)
    return content


async def test_steps_are_used_in_order_and_then_the_question_is_echoed(
    fake: FakeOpenAI, sync_sdk: Sdk
) -> None:
    fake.script("one", Answer("two"))
    fake.reply("three")
    assert [await said(sync_sdk) for _ in range(4)] == ["one", "two", "three", "You said: Hi"]
    assert (await sync_sdk.respond(input="And you?")).output_text == "You said: And you?"
    parts = [{"role": "user", "content": [{"type": "input_text", "text": "In parts"}]}]
    assert (await sync_sdk.respond(input=parts)).output_text == "You said: In parts"
    assert await said(sync_sdk, "") == "You said: "


async def test_one_queue_for_both_dialects(fake: FakeOpenAI, sync_sdk: Sdk) -> None:
    fake.script("one", "two")
    assert (await sync_sdk.respond()).output_text == "one"
    assert await said(sync_sdk) == "two"


async def test_rules_keep_conversations_apart(fake: FakeOpenAI, async_sdk: Sdk) -> None:
    fake.script("nobody's")
    fake.when(contains="weather").answer("sunny", "cloudy")
    fake.when(question="price").always("7 EUR")
    answers = await asyncio.gather(*[said(async_sdk, text) for text in ("weather?", "price?") * 3])
    assert sorted(answers[::2]) == ["cloudy", "nobody's", "sunny"]
    assert answers[1::2] == ["7 EUR"] * 3


async def test_what_rules_look_at(fake: FakeOpenAI, sync_sdk: Sdk) -> None:
    fake.when(model="gpt-4o-mini").always("by model")
    fake.when(endpoint="responses").always("by endpoint")
    fake.when(where=lambda request: "get_weather" in request.tools).always("by tools")
    fake.when(contains="kind", question="magic").always("by both")
    assert await said(sync_sdk, model="gpt-4o-mini") == "by model"
    assert (await sync_sdk.respond()).output_text == "by endpoint"
    tool = {"type": "function", "function": {"name": "get_weather"}}
    assert await said(sync_sdk, tools=[tool], reasoning_effort="none") == "by tools"
    assert await said(sync_sdk, "magic") == "by both"
    assert await said(sync_sdk) == "You said: Hi"


async def test_a_responder(fake: FakeOpenAI, sync_sdk: Sdk) -> None:
    fake.respond_with(lambda request: request.question.upper())
    fake.script("first the queue")
    assert [await said(sync_sdk) for _ in range(2)] == ["first the queue", "HI"]

    async def slowly(request: Request) -> Failure:
        await asyncio.sleep(0.01)
        return Failure(429)

    fake.respond_with(slowly)
    with pytest.raises(openai.RateLimitError):
        await said(sync_sdk)
    fake.respond_with(None)
    assert await said(sync_sdk) == "You said: Hi"
    fake.when(contains="Hi").respond_with(lambda request: Answer(str(request.number)))
    assert await said(sync_sdk) == "5"


async def test_a_responder_that_raises_is_not_forgotten() -> None:
    def broken(request: Request) -> str:
        raise LookupError("no such answer")

    async def provoke(fake: FakeOpenAI) -> None:
        fake.respond_with(broken)
        sdk = Sdk("sync", fake)
        with pytest.raises(openai.InternalServerError, match="no such answer"):
            await sdk.chat()
        await sdk.close()

    async def provoke_and_fail(fake: FakeOpenAI) -> None:
        await provoke(fake)
        raise AssertionError("another problem")

    with pytest.raises(LookupError), FakeOpenAI() as fake:
        await provoke(fake)
    with pytest.raises(AssertionError) as caught, FakeOpenAI() as fake:
        await provoke_and_fail(fake)
    assert caught.value.__notes__ == ["the fake OpenAI met LookupError('no such answer')"]


async def test_steps_left_over(fake: FakeOpenAI, sync_sdk: Sdk) -> None:
    fake.script("one", "two")
    fake.when(contains="never").answer(HTML())
    assert len(fake.unused) == 3
    with pytest.raises(AssertionError, match="3 steps were not asked for"):
        fake.assert_script_used()
    fake.reset()
    fake.assert_script_used()


async def test_reset_forgets_everything_and_frees_who_waits(fake: FakeOpenAI, async_sdk: Sdk) -> None:
    fake.script(Answer("Hello", wait=60), "never")
    fake.flag("kill")
    fake.respond_with(lambda request: "never")
    waiting = asyncio.create_task(async_sdk.chat())
    await fake.await_for()
    await asyncio.to_thread(fake.reset)
    with pytest.raises(openai.APIConnectionError):
        await waiting
    assert fake.requests == []
    assert not (await async_sdk.call(async_sdk.client.moderations.create, input="kill")).results[0].flagged
    assert await said(async_sdk) == "You said: Hi"
    assert [request.number for request in fake.requests] == [1, 2]


@pytest.mark.parametrize(
    ("value", "step"),
    [
        ("Hello", Answer("Hello")),
        ({"text": "Hello", "chunks": 2, "cut_after": 1}, Answer("Hello", chunks=2, cut_after=1)),
        (
            {"calls": [{"name": "f", "arguments": {"x": 1}}], "usage": {"prompt": 1, "completion": 2}},
            Answer(calls=[Call("f", {"x": 1})], usage=Usage(1, 2)),
        ),
        ({"text": "a", "usage": None}, Answer("a", usage=None)),
        ({"error_after": 0, "error": {"status": 503}}, Answer(error_after=0, error=Failure(503))),
        ({"failure": {"status": 429, "retry_after": 2}}, Failure(429, retry_after=2)),
        ({"html": {}}, HTML()),
        ({"drop": {"wait": 1}}, Drop(wait=1)),
    ],
)
def test_steps_from_json(value: object, step: object) -> None:
    assert parse_step(value) == step


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        (7, "must be a string or an object"),
        ({"txt": "Hello"}, "Answer has no field 'txt'"),
        ({"failure": {"statuss": 1}}, "Failure has no field 'statuss'"),
        ({"failure": 429}, "Failure must be an object"),
        ({"html": {}, "text": "a"}, "'html' has no other key"),
    ],
)
def test_steps_that_json_cannot_mean(value: object, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        parse_step(value)
