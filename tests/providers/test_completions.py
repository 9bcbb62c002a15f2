"""Chat Completions as the SDK's own objects: whole and in chunks, with our errors."""

import asyncio
from typing import Any

import pytest

from django_chatgpt import providers
from django_chatgpt.core.request import Endpoint
from django_chatgpt.exceptions import (
    AIServiceError,
    NotConfiguredError,
    ProviderProtocolError,
    ProviderRateLimitedError,
    ProviderTimeoutError,
    ProviderUnavailableError,
)
from django_chatgpt.providers import ChatCompletion, ChatCompletionChunk
from django_chatgpt.testing import HTML, Answer, Call, Drop, Failure, FakeOpenAI, Usage
from tests.providers.conftest import KEY, Colour, transport

BODY: dict[str, Any] = {"model": "gpt-6-luna", "messages": [{"role": "user", "content": "Hi"}]}


@pytest.fixture
def endpoint(fake: FakeOpenAI) -> Endpoint:
    return Endpoint(KEY, fake.base_url)


def create(endpoint: Endpoint, colour: Colour, body: dict[str, Any] = BODY, **options: Any) -> ChatCompletion:
    async def main() -> ChatCompletion:
        async with transport(colour):
            return await providers.acreate_completion(endpoint, body, **options)

    if colour == "sync":
        return providers.create_completion(endpoint, body, **options)
    return asyncio.run(main())


def stream(
    endpoint: Endpoint, colour: Colour, upto: int | None = None, **options: Any
) -> list[ChatCompletionChunk]:
    """The chunks; closed after `upto` of them, to be called again for nothing."""
    chunks: list[ChatCompletionChunk] = []

    async def main() -> None:
        async with transport(colour):
            stream = await providers.astream_completion(endpoint, BODY, **options)
            async for chunk in stream:
                chunks.append(chunk)
                if len(chunks) == upto:
                    break
            await stream.aclose()
            assert asyncio.all_tasks() == {asyncio.current_task()}

    if colour == "sync":
        opened = providers.stream_completion(endpoint, BODY, **options)
        for chunk in opened:
            chunks.append(chunk)
            if len(chunks) == upto:
                break
        opened.close()
    else:
        asyncio.run(main())
    return chunks


def text(chunks: list[ChatCompletionChunk]) -> str:
    return "".join(choice.delta.content or "" for chunk in chunks for choice in chunk.choices)


def test_a_whole_answer(fake: FakeOpenAI, endpoint: Endpoint, colour: Colour) -> None:
    fake.reply("Hello there", usage=Usage(3, 2))
    answer = create(endpoint, colour, {**BODY, "temperature": 0.1, "max_tokens": 9})
    assert isinstance(answer, ChatCompletion)
    assert answer.choices[0].message.content == "Hello there"
    assert answer.usage is not None
    assert answer.usage.total_tokens == 5
    assert answer._request_id == fake.calls[0].id
    body = fake.calls[0].body
    assert body["max_completion_tokens"] == 9
    assert not {"temperature", "max_tokens", "stream"} & set(body)


@pytest.mark.parametrize(
    ("step", "expected"),
    [
        (Failure(503), ProviderUnavailableError),
        (Failure(429), ProviderRateLimitedError),
        (HTML(), ProviderProtocolError),
        (Failure(200, body="{}", headers={"content-type": "application/json"}), ProviderProtocolError),
        (Failure(200, body="{", headers={"content-type": "application/json"}), ProviderProtocolError),
        (
            Failure(
                200, body='{"error": {"code": "server_error"}}', headers={"content-type": "application/json"}
            ),
            ProviderUnavailableError,
        ),
        (Drop(), ProviderUnavailableError),
        (Answer("x", cut_after=0), ProviderUnavailableError),
    ],
)
def test_errors_are_ours(
    fake: FakeOpenAI, endpoint: Endpoint, colour: Colour, step: Any, expected: type[AIServiceError]
) -> None:
    fake.script(step)
    with pytest.raises(AIServiceError) as caught:
        create(endpoint, colour)
    assert type(caught.value) is expected
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None


def test_a_whole_answer_that_is_late(fake: FakeOpenAI, endpoint: Endpoint, colour: Colour) -> None:
    fake.reply("late", wait=30)
    with pytest.raises(ProviderTimeoutError):
        create(endpoint, colour, timeout=0.3)


def test_functions_that_only_responses_takes(endpoint: Endpoint, colour: Colour) -> None:
    with pytest.raises(NotConfiguredError, match="OPENAI_API"):
        create(endpoint, colour, {**BODY, "model": "gpt-6-astra", "tools": [{"type": "function"}]})


def test_chunks(fake: FakeOpenAI, endpoint: Endpoint, colour: Colour) -> None:
    fake.reply("Hello there", usage=Usage(3, 2))
    chunks = stream(endpoint, colour)
    assert all(isinstance(chunk, ChatCompletionChunk) for chunk in chunks)
    assert text(chunks) == "Hello there"
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.total_tokens == 5
    assert [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices][-1] == "stop"
    assert fake.calls[0].body["stream_options"] == {"include_usage": True}


def test_chunks_of_calls_are_typed(fake: FakeOpenAI, endpoint: Endpoint, colour: Colour) -> None:
    fake.reply(calls=[Call("f", {"a": 1}, id="call_a")])
    deltas = [choice.delta for chunk in stream(endpoint, colour) for choice in chunk.choices]
    fragments = [call for delta in deltas for call in delta.tool_calls or ()]
    assert fragments[0].id == "call_a"
    assert "".join((call.function and call.function.arguments) or "" for call in fragments) == '{"a":1}'


@pytest.mark.parametrize("upto", [1, 2])
def test_chunks_left_in_the_middle(fake: FakeOpenAI, endpoint: Endpoint, colour: Colour, upto: int) -> None:
    fake.reply("one two three", stall_after=2)
    assert len(stream(endpoint, colour, upto)) == upto
    fake.wait_for(disconnected=True)


def test_chunks_never_fetched(fake: FakeOpenAI, endpoint: Endpoint) -> None:
    fake.reply("one two three", stall_after=0)
    providers.stream_completion(endpoint, BODY).close()
    fake.wait_for(disconnected=True)


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (Answer("one two three", cut_after=2), ProviderProtocolError),
        (Answer("one two three", end_early_after=2), ProviderProtocolError),
        (Answer("one two three", bad_json_after=2), ProviderProtocolError),
        (Answer("one two three", error_after=2), ProviderUnavailableError),
    ],
)
def test_chunks_before_an_error_are_delivered(
    fake: FakeOpenAI, endpoint: Endpoint, colour: Colour, answer: Answer, expected: type[Exception]
) -> None:
    fake.script(answer)
    chunks: list[ChatCompletionChunk] = []

    async def main() -> None:
        async with transport(colour):
            async for chunk in await providers.astream_completion(endpoint, BODY):
                chunks.append(chunk)

    def collect() -> None:
        for chunk in providers.stream_completion(endpoint, BODY):
            chunks.append(chunk)

    with pytest.raises(AIServiceError) as caught:
        collect() if colour == "sync" else asyncio.run(main())
    assert type(caught.value) is expected
    assert text(chunks).startswith("one two")


def test_chunks_of_a_server_that_does_not_stream(
    fake: FakeOpenAI, endpoint: Endpoint, colour: Colour
) -> None:
    whole = (
        b'{"id":"c","object":"chat.completion","created":1,"model":"m","choices":[{"index":0,"message":'
        b'{"role":"assistant","content":"Hello","tool_calls":[{"id":"a","type":"function","function":'
        b'{"name":"f","arguments":"{}"}}]},"finish_reason":"tool_calls"}]}'
    )
    fake.script(Failure(200, body=whole, headers={"content-type": "application/json"}))
    (chunk,) = stream(endpoint, colour)
    assert chunk.object == "chat.completion.chunk"
    assert chunk.choices[0].delta.content == "Hello"
    assert chunk.choices[0].delta.tool_calls is not None
    assert chunk.choices[0].delta.tool_calls[0].index == 0
