"""Open answers over real sockets: both dialects, both colours, and aiohttp beside httpx2."""

import asyncio
import gzip
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from django_chatgpt import providers
from django_chatgpt.core.messages import TokenUsage
from django_chatgpt.core.request import ModelRequest
from django_chatgpt.exceptions import (
    ContentFilterError,
    InvalidRequestError,
    ProviderProtocolError,
    ProviderRateLimitedError,
    ProviderTimeoutError,
    ProviderUnavailableError,
)
from django_chatgpt.testing import HTML, Call, Drop, Failure, FakeOpenAI, Gate, Usage
from tests.providers.conftest import Colour, Heard, listen, transport

WEATHER = {"name": "get_weather", "parameters": {"type": "object", "properties": {}}, "strict": False}
TEXT = "Füchse 🦊 schlafen • meist • am Tag. " * 8


def test_an_answer(fake: FakeOpenAI, ask: ModelRequest, colour: Colour) -> None:
    fake.reply("Hello there", usage=Usage(7, 3, cached=2, reasoning=1))
    heard = listen(ask, colour)
    assert heard.error is None
    assert heard.text == "Hello there"
    assert heard.finish_reason == "stop"
    assert heard.usage == TokenUsage(
        prompt_tokens=7, completion_tokens=3, total_tokens=10, cached_tokens=2, reasoning_tokens=1
    )
    assert heard.last("model") == "gpt-6-luna"
    assert heard.calls == []
    request = fake.calls[0]
    assert request.carried(ask.endpoint.api_key)
    assert heard.deltas[0].request_id == request.id
    assert not any(delta.request_id for delta in heard.deltas[1:])


@pytest.mark.parametrize("packet", [1, 2, 3, 7, 64])
def test_bytes_may_be_cut_anywhere(fake: FakeOpenAI, ask: ModelRequest, colour: Colour, packet: int) -> None:
    fake.reply(TEXT[:80], packet=packet, comments=True)
    heard = listen(ask, colour)
    assert (heard.error, heard.text) == (None, TEXT[:80])


def test_a_burst_is_few_deltas(fake: FakeOpenAI, ask: ModelRequest, colour: Colour) -> None:
    fake.reply("word " * 2000, chunks=2000)
    heard = listen(ask, colour)
    assert heard.text == "word " * 2000
    assert len(heard.deltas) < 1000


def test_parallel_calls(fake: FakeOpenAI, ask: ModelRequest, colour: Colour) -> None:
    fake.reply(
        calls=[
            Call("get_weather", {"city": "Paris"}, id="call_a", fragments=4),
            Call("get_weather", {"city": "Rome"}, id="call_b", fragments=4),
        ],
        interleave=True,
    )
    heard = listen(replace(ask, tools=[WEATHER]), colour)
    assert heard.calls == [
        {"id": "call_a", "name": "get_weather", "arguments": '{"city":"Paris"}'},
        {"id": "call_b", "name": "get_weather", "arguments": '{"city":"Rome"}'},
    ]
    assert heard.finish_reason == "tool_calls"


@pytest.mark.parametrize("finish", ["length", "content_filter"])
def test_other_ends(fake: FakeOpenAI, ask: ModelRequest, colour: Colour, finish: Any) -> None:
    fake.reply("Half an", finish=finish)
    heard = listen(ask, colour)
    assert (heard.error, heard.text, heard.finish_reason) == (None, "Half an", finish)


def test_a_refusal(fake: FakeOpenAI, ask: ModelRequest, colour: Colour) -> None:
    fake.reply(refusal="I can't help with that.")
    heard = listen(ask, colour)
    assert (heard.text, heard.finish_reason) == ("I can't help with that.", "content_filter")


def test_missing_usage_stays_missing(fake: FakeOpenAI, ask: ModelRequest, colour: Colour) -> None:
    fake.reply("Hello", usage=None)
    heard = listen(ask, colour)
    assert (heard.error, heard.usage) == (None, None)


@pytest.mark.parametrize("fault", ["cut_after", "end_early_after", "bad_json_after"])
@pytest.mark.parametrize("after", [0, 5])
def test_what_came_before_a_fault_is_delivered(
    fake: FakeOpenAI, ask: ModelRequest, colour: Colour, fault: str, after: int
) -> None:
    words = ["one ", "two ", "three ", "four ", "five ", "six "]
    faults: dict[str, Any] = {fault: after}
    fake.reply(chunks=words, **faults)
    heard = listen(ask, colour)
    assert isinstance(heard.error, ProviderProtocolError)
    assert heard.error.retryable is (fault != "bad_json_after")
    assert heard.text == "".join(words[:after])
    assert heard.finish_reason is None
    assert heard.error.request_id == fake.calls[0].id


@pytest.mark.parametrize("event", ["nested", "flat", "none"])
@pytest.mark.parametrize(
    ("failure", "expected"),
    [
        (Failure(500), ProviderUnavailableError),
        (Failure(429), ProviderRateLimitedError),
        (Failure(400, code="content_filter"), ContentFilterError),
    ],
)
def test_an_error_inside_the_stream(
    fake: FakeOpenAI,
    ask: ModelRequest,
    colour: Colour,
    event: Any,
    failure: Failure,
    expected: type[Exception],
) -> None:
    fake.reply(chunks=["one ", "two "], error_after=1, error=failure, error_event=event)
    heard = listen(ask, colour)
    assert type(heard.error) is expected
    assert heard.text == "one "


def test_a_page_of_html_is_no_answer(fake: FakeOpenAI, ask: ModelRequest, colour: Colour) -> None:
    fake.script(HTML())
    heard = listen(ask, colour)
    assert isinstance(heard.error, ProviderProtocolError)
    assert heard.deltas == []


def test_no_answer_at_all(fake: FakeOpenAI, ask: ModelRequest, colour: Colour) -> None:
    fake.script(Drop())
    heard = listen(ask, colour)
    assert type(heard.error) is ProviderUnavailableError
    assert heard.error.retryable


def test_nobody_there(fake: FakeOpenAI, ask: ModelRequest, colour: Colour) -> None:
    fake.stop()
    heard = listen(ask, colour)
    assert type(heard.error) is ProviderUnavailableError


def test_silence_is_ticks_and_then_a_timeout(fake: FakeOpenAI, ask: ModelRequest, colour: Colour) -> None:
    fake.reply("one two three", stall_after=1)
    started = time.monotonic()
    heard = listen(replace(ask, timeout=0.8), colour, tick=0.1)
    assert isinstance(heard.error, ProviderTimeoutError)
    assert heard.text.startswith("one")
    assert heard.ticks >= 4
    assert 0.6 < time.monotonic() - started < 5
    fake.wait_for(disconnected=True)


def test_silence_before_the_first_byte_is_a_timeout(
    fake: FakeOpenAI, ask: ModelRequest, colour: Colour
) -> None:
    fake.reply("late", wait=30)
    heard = listen(replace(ask, timeout=0.3), colour)
    assert isinstance(heard.error, ProviderTimeoutError)
    fake.wait_for(disconnected=True)


def test_a_slow_answer_longer_than_the_timeout_is_none(
    fake: FakeOpenAI, ask: ModelRequest, colour: Colour
) -> None:
    fake.reply("a b c d e f g h", delay=0.1)
    heard = listen(replace(ask, timeout=0.5), colour, tick=0.03)
    assert (heard.error, heard.text) == (None, "a b c d e f g h")
    assert heard.ticks > 5


def test_text_comes_as_it_is_written(fake: FakeOpenAI, ask: ModelRequest, colour: Colour) -> None:
    """The first word is there long before the last."""
    gate = Gate()
    fake.reply("one two three", stall_after=1, stall=gate)
    heard = Heard()

    def open_gate_after_one() -> bool:
        if heard.text:
            gate.open()
        return False

    _listen_with(ask, colour, heard, open_gate_after_one)
    assert heard.text == "one two three"


def test_closed_in_the_middle_the_provider_notices_at_once(
    fake: FakeOpenAI, ask: ModelRequest, colour: Colour
) -> None:
    fake.reply("one two three", stall_after=1)
    heard = Heard()
    _listen_with(ask, colour, heard, lambda: bool(heard.text))
    closed = time.monotonic()
    fake.wait_for(disconnected=True)
    assert time.monotonic() - closed < 4


def _listen_with(request: ModelRequest, colour: Colour, heard: Heard, leave: Callable[[], bool]) -> None:
    """Hear an answer until it ends or `leave` says so; close it twice."""

    async def listen_async() -> None:
        async with transport(colour):
            stream = await providers.aopen_stream(request)
            while heard.add(await stream.read(0.05)) and not leave():
                pass
            await stream.aclose()
            await stream.aclose()

    if colour == "sync":
        stream = providers.open_stream(request)
        while heard.add(stream.read(0.05)) and not leave():
            pass
        stream.close()
        stream.close()
    else:
        asyncio.run(listen_async())


def test_closing_wakes_a_blocked_read_of_another_thread(fake: FakeOpenAI, ask: ModelRequest) -> None:
    fake.reply("one two three", stall_after=1)
    stream = providers.open_stream(ask)
    ends: list[Exception] = []

    def read() -> None:
        try:
            while stream.read(60) is not None:
                pass
        except Exception as error:
            ends.append(error)

    reader = threading.Thread(target=read)
    reader.start()
    fake.wait_for()
    time.sleep(0.2)
    started = time.monotonic()
    stream.close()
    reader.join(5)
    assert not reader.is_alive()
    fake.wait_for(disconnected=True)
    assert time.monotonic() - started < 4
    assert isinstance(ends[0], ProviderProtocolError)


def test_closing_wakes_a_blocked_read_of_another_task(
    fake: FakeOpenAI, ask: ModelRequest, async_colour: Colour
) -> None:
    fake.reply("one two three", stall_after=1)

    async def main() -> None:
        async with transport(async_colour):
            stream = await providers.aopen_stream(ask)

            async def read() -> None:
                while await stream.read(60) is not None:
                    pass

            reader = asyncio.create_task(read())
            await asyncio.sleep(0.2)
            started = time.monotonic()
            await stream.aclose()
            with pytest.raises(ProviderProtocolError):
                await reader
            await fake.await_for(disconnected=True)
            assert time.monotonic() - started < 4
            assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(main())


def test_a_cancelled_read_loses_nothing(fake: FakeOpenAI, ask: ModelRequest, async_colour: Colour) -> None:
    words = [f"w{number} " for number in range(60)]
    fake.reply(chunks=words, delay=0.005)

    async def main() -> str:
        text, cancelled = "", 0
        async with transport(async_colour):
            stream = await providers.aopen_stream(ask)
            while True:
                reader = asyncio.create_task(stream.read(1))
                await asyncio.sleep(0.002)
                if reader.cancel():
                    cancelled += 1
                try:
                    delta = await reader
                except asyncio.CancelledError:
                    continue
                if delta is None:
                    break
                text += delta.text
            await stream.aclose()
        assert cancelled > 5
        return text

    assert asyncio.run(main()) == "".join(words)


def test_a_cancelled_opening_leaves_nothing_open(
    fake: FakeOpenAI, ask: ModelRequest, async_colour: Colour
) -> None:
    fake.reply("late", wait=30)

    async def main() -> None:
        async with transport(async_colour):
            opening = asyncio.create_task(providers.aopen_stream(ask))
            await fake.await_for()
            opening.cancel()
            with pytest.raises(asyncio.CancelledError):
                await opening
            await fake.await_for(disconnected=True)
            assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(main())


def test_a_stream_closed_before_its_task_ever_ran(
    fake: FakeOpenAI, ask: ModelRequest, async_colour: Colour
) -> None:
    fake.reply("one two three", stall_after=1)

    async def main() -> None:
        async with transport(async_colour):
            stream = await providers.aopen_stream(ask)
            await stream.aclose()
            await fake.await_for(disconnected=True)
            assert await stream.read(0.1) is not None
            with pytest.raises(ProviderProtocolError):
                await stream.read(0.1)

    asyncio.run(main())


@pytest.mark.parametrize("warm", [False, True], ids=["new connection", "reused connection"])
def test_an_opening_can_be_given_up(fake: FakeOpenAI, ask: ModelRequest, warm: bool) -> None:
    """A wish to stop is heard while the provider thinks, and it notices."""
    if warm:
        assert listen(ask, "sync").error is None
    fake.reply("late", wait=30)

    class Enough(Exception):
        pass

    def stop() -> None:
        if len(fake.calls) > warm:
            raise Enough

    started = time.monotonic()
    with pytest.raises(Enough):
        providers.open_stream(ask, tick=0.05, on_tick=stop)
    assert time.monotonic() - started < 10
    fake.wait_for(disconnected=True, within=2)
    for thread in threading.enumerate():
        if thread.name == "django-chatgpt-stream":
            thread.join(2)


def test_a_forgotten_stream_is_closed(fake: FakeOpenAI, ask: ModelRequest, colour: Colour) -> None:
    fake.reply("one two three", stall_after=1)

    async def main() -> None:
        async with transport(colour):
            stream = await providers.aopen_stream(ask)
            await stream.read(1)
            del stream
            await fake.await_for(disconnected=True)

    if colour == "sync":
        stream = providers.open_stream(ask)
        stream.read(1)
        del stream
        fake.wait_for(disconnected=True)
        time.sleep(0.1)
    else:
        asyncio.run(main())


def test_one_connection_serves_one_answer_after_the_other(
    fake: FakeOpenAI, ask: ModelRequest, colour: Colour
) -> None:
    def sync() -> None:
        for _ in range(3):
            stream = providers.open_stream(ask)
            while stream.read(1) is not None:
                pass
            stream.close()

    async def main() -> None:
        async with transport(colour):
            for _ in range(3):
                stream = await providers.aopen_stream(ask)
                while await stream.read(1) is not None:
                    pass
                await stream.aclose()

    sync() if colour == "sync" else asyncio.run(main())
    assert len({request.connection for request in fake.calls}) == 1


def test_a_reader_that_is_slow_slows_the_provider(
    fake: FakeOpenAI, ask: ModelRequest, colour: Colour
) -> None:
    """What is not fetched is not read without end: 40 MB are waiting, and are not in memory here."""
    fake.reply(chunks=["x" * 50_000] * 800)

    async def main() -> int:
        async with transport(colour):
            stream = await providers.aopen_stream(ask)
            await stream.read(1)
            await asyncio.sleep(0.5)
            sent = fake.calls[0].pieces_sent
            await stream.aclose()
        return sent

    if colour == "sync":
        stream = providers.open_stream(ask)
        stream.read(1)
        time.sleep(0.5)
        sent = fake.calls[0].pieces_sent
        stream.close()
    else:
        sent = asyncio.run(main())
    assert sent < 400


def test_a_reader_that_was_slow_gets_everything(fake: FakeOpenAI, ask: ModelRequest, colour: Colour) -> None:
    pieces = [f"{number:05d}" + "x" * 20_000 for number in range(100)]
    fake.reply(chunks=pieces)
    heard = Heard()
    pauses = iter([0.4, 0.4])

    def dawdle() -> bool:
        time.sleep(next(pauses, 0))
        return False

    _listen_with(ask, colour, heard, dawdle)
    assert heard.text == "".join(pieces)


@pytest.mark.parametrize("kind", ["text/event-stream", "application/json"])
def test_an_event_without_end(fake: FakeOpenAI, ask: ModelRequest, colour: Colour, kind: str) -> None:
    fake.script(Failure(200, body=b"data: " + b"x" * (17 << 20), headers={"content-type": kind}))
    heard = listen(ask, colour)
    assert type(heard.error) is ProviderProtocolError


def test_a_server_that_compresses_all_the_same(fake: FakeOpenAI, ask: ModelRequest, colour: Colour) -> None:
    whole = b'data: {"choices":[{"delta":{"content":"Hello"},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'
    headers = {"content-type": "text/event-stream", "content-encoding": "gzip"}
    fake.script(Failure(200, body=gzip.compress(whole), headers=headers))
    asked = replace(ask, endpoint=replace(ask.endpoint, dialect="chat"))
    heard = listen(asked, colour)
    assert (heard.error, heard.text) == (None, "Hello")
    assert fake.calls[0].headers["accept-encoding"] == "identity"
    fake.script(Failure(200, body=b"no gzip at all", headers=headers))
    assert type(listen(asked, colour).error) is ProviderProtocolError


def test_a_long_history_is_sent_whole(fake: FakeOpenAI, ask: ModelRequest, colour: Colour) -> None:
    messages: list[Any] = [
        {"role": "assistant" if number % 2 else "user", "content": f"Line {number} 🦊"}
        for number in range(200)
    ]
    heard = listen(replace(ask, messages=messages), colour)
    assert heard.error is None
    assert [text for text in fake.calls[0].texts if text.startswith("Line")] == [
        line["content"] for line in messages
    ]


def test_text_that_is_no_unicode_is_refused_here(fake: FakeOpenAI, ask: ModelRequest, colour: Colour) -> None:
    heard = listen(replace(ask, messages=[{"role": "user", "content": "\ud800"}]), colour)
    assert isinstance(heard.error, InvalidRequestError)
    assert heard.error.__context__ is None
    fake.assert_nothing_asked()


def test_a_server_that_does_not_stream(fake: FakeOpenAI, ask: ModelRequest, colour: Colour) -> None:
    whole = {
        "chat": b'{"choices":[{"message":{"content":"Hello"},"finish_reason":"stop"}]}',
        "responses": b'{"status":"completed","output":[{"type":"message","content":[{"text":"Hello"}]}]}',
    }[ask.endpoint.dialect]
    fake.script(Failure(200, body=whole, headers={"content-type": "application/json; charset=utf-8"}))
    heard = listen(ask, colour)
    assert (heard.error, heard.text, heard.finish_reason) == (None, "Hello", "stop")
