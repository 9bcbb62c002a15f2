"""Looking at what was asked."""

import threading
import time

import pytest

from django_chatgpt.testing import Answer, FakeOpenAI, Usage
from tests.testing.conftest import HELLO, MODEL, Sdk


async def test_a_request_on_record(fake: FakeOpenAI, sync_sdk: Sdk) -> None:
    before = time.monotonic()
    await sync_sdk.chat(
        messages=[
            {"role": "system", "content": "Be kind."},
            {
                "role": "user",
                "content": [{"type": "text", "text": "What is"}, {"type": "text", "text": "this?"}],
            },
        ],
        extra_headers={"Idempotency-Key": "once"},
    )
    (request,) = fake.requests
    assert (request.number, request.method, request.path) == (1, "POST", "/v1/chat/completions")
    assert (request.endpoint, request.model, request.stream) == ("chat", MODEL, False)
    assert request.headers["idempotency-key"] == "once"
    assert request.body["messages"][0] == {"role": "system", "content": "Be kind."}
    assert request.texts == ["Be kind.", "What is", "this?"]
    assert request.question == "What is\nthis?"
    assert request.status == 200
    assert request.finished is not None
    assert before <= request.started <= request.finished <= time.monotonic()
    assert not request.disconnected


async def test_texts_of_a_response_request(fake: FakeOpenAI, sync_sdk: Sdk) -> None:
    items = [
        {"role": "user", "content": "Weather?"},
        {"type": "function_call", "call_id": "a", "name": "f", "arguments": '{"city": "Paris"}'},
        {"type": "function_call_output", "call_id": "a", "output": "sunny"},
    ]
    tools = [{"type": "function", "name": "f", "parameters": {"type": "object"}}]
    await sync_sdk.respond(instructions="Be kind.", input=items, tools=tools, stream=False)
    (request,) = fake.requests
    assert request.texts == ["Be kind.", "Weather?", '{"city": "Paris"}', "sunny"]
    assert request.question == "Weather?"
    assert request.tools == ["f"]
    assert len(request.messages) == 3


async def test_texts_in_tool_calls(fake: FakeOpenAI, sync_sdk: Sdk) -> None:
    call = {"id": "a", "type": "function", "function": {"name": "f", "arguments": '{"city": "Oslo"}'}}
    messages = [
        *HELLO,
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "a", "content": "snow"},
    ]
    await sync_sdk.chat(messages=messages)
    assert fake.requests[0].texts == ["Hi", '{"city": "Oslo"}', "snow"]


async def test_the_key_is_on_no_record(fake: FakeOpenAI) -> None:
    sdk = Sdk("sync", fake, api_key="sk-very-secret")
    await sdk.chat()
    await sdk.close()
    (request,) = fake.requests
    assert "secret" not in f"{request!r} {request} {request.headers} {request.body}"
    assert request.carried("sk-very-secret")
    assert not request.carried("sk-another")


async def test_asked(fake: FakeOpenAI, sync_sdk: Sdk) -> None:
    fake.assert_nothing_asked()
    with pytest.raises(AssertionError, match=r"at least once \(\), but was 0:\n  nothing was asked"):
        fake.assert_asked()
    await sync_sdk.chat()
    await sync_sdk.respond(input="Hi again", model="gpt-6-sol")
    await sync_sdk.call(sync_sdk.client.moderations.create, input="Hi")
    assert len(fake.assert_asked(contains="Hi", times=2)) == 2
    assert fake.assert_asked(model="gpt-6-sol") == [fake.requests[1]]
    assert fake.assert_asked(endpoint="moderations", times=1) == [fake.requests[2]]
    assert fake.calls == fake.requests[:2]
    fake.assert_asked(contains="Bye", times=0)
    with pytest.raises(
        AssertionError, match=r"3 times \(contains='Hi'\), but was 2:\n  #1 POST /v1/chat/comp"
    ):
        fake.assert_asked(contains="Hi", times=3)
    with pytest.raises(AssertionError, match=r"#2 POST /v1/responses gpt-6-sol \[200\] 'Hi again'"):
        fake.assert_nothing_asked()


async def test_waiting(fake: FakeOpenAI, sync_sdk: Sdk) -> None:
    with pytest.raises(AssertionError, match=r"not seen within 0.05 s; so far:\n  nothing was asked"):
        fake.wait_for(within=0.05)
    fake.reply("Hello", wait=0.2)
    thread = threading.Thread(
        target=lambda: sync_sdk.client.chat.completions.create(model=MODEL, messages=HELLO)
    )
    thread.start()
    (request,) = fake.wait_for()
    assert request.finished is None
    assert "[answering]" in str(request)
    assert fake.wait_for(finished=True) == [request]
    thread.join()
    with pytest.raises(AssertionError):
        fake.wait_for(disconnected=True, within=0.01)


async def test_the_bill_adds_up(fake: FakeOpenAI, sync_sdk: Sdk) -> None:
    assert fake.tokens_billed == Usage(0, 0)
    fake.script(
        Answer("Hello", usage=Usage(10, 5, cached=2, reasoning=1)),
        Answer("Eight by", usage=None),
        Answer("abcdefgh", chunks=2, cut_after=1, usage=Usage(10, 5)),
    )
    await sync_sdk.chat()
    await sync_sdk.hear("chat")
    await sync_sdk.hear("responses")
    fake.wait_for(3, finished=True)
    prompt = 3 + 4 + 1
    assert [request.billed for request in fake.requests] == [
        Usage(10, 5, cached=2, reasoning=1),
        Usage(prompt, 2),
        Usage(10, 1),
    ]
    assert fake.tokens_billed == Usage(20 + prompt, 8, cached=2, reasoning=1)
    assert fake.tokens_billed.total == 28 + prompt


async def test_what_is_billed_is_what_is_reported(fake: FakeOpenAI, sync_sdk: Sdk) -> None:
    chat = await sync_sdk.chat()
    response = await sync_sdk.respond()
    first, second = [request.billed for request in fake.requests]
    assert first is not None
    assert second is not None
    assert (chat.usage.prompt_tokens, chat.usage.completion_tokens) == (first.prompt, first.completion)
    assert (response.usage.input_tokens, response.usage.output_tokens) == (second.prompt, second.completion)
    assert first == second
