"""How asynchronous code reads: from aiohttp directly where that is there, else through a task."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace

import pytest

from django_chatgpt import providers
from django_chatgpt.core.request import Delta, ModelRequest
from django_chatgpt.exceptions import ProviderProtocolError, ProviderTimeoutError
from django_chatgpt.providers.sources import Direct, Pump
from django_chatgpt.testing import Failure, FakeOpenAI

from .conftest import Colour, transport

Act = Callable[[Direct, asyncio.Task[Delta | None]], object]


@pytest.mark.parametrize(("compressed", "expected"), [(False, Direct), (True, Pump)])
def test_aiohttp_is_read_directly(
    fake: FakeOpenAI, ask: ModelRequest, compressed: bool, expected: type
) -> None:
    pytest.importorskip("aiohttp")
    packed = {"content-encoding": "gzip"} if compressed else {}
    fake.script(Failure(200, body=b"", headers={"content-type": "text/event-stream", **packed}))
    assert asyncio.run(source_of_an_answer(ask, "aiohttp")) is expected


def test_the_other_library_has_a_task(fake: FakeOpenAI, ask: ModelRequest) -> None:
    fake.reply("hi")
    assert asyncio.run(source_of_an_answer(ask, "httpx2")) is Pump


async def source_of_an_answer(ask: ModelRequest, colour: Colour) -> type:
    async with transport(colour):
        stream = await providers.aopen_stream(ask)
        await stream.aclose()
        return type(stream._source)


@pytest.mark.parametrize(
    "both",
    [
        lambda source, reading: (source._give_up(), reading.cancel()),
        lambda source, reading: (reading.cancel(), source._give_up()),
    ],
)
def test_a_cancel_in_the_moment_of_silence_is_heard(fake: FakeOpenAI, ask: ModelRequest, both: Act) -> None:
    pytest.importorskip("aiohttp")
    fake.reply(chunks=["a", "b"], delay=0.1)

    async def main() -> None:
        async with transport("aiohttp"):
            stream = await providers.aopen_stream(ask)
            source = stream._source
            assert isinstance(source, Direct)
            text = ""
            while not text and (delta := await stream.read(10)) is not None:
                text += delta.text
            reading = asyncio.create_task(stream.read(10))
            await asyncio.sleep(0)
            both(source, reading)
            with pytest.raises(asyncio.CancelledError):
                await reading
            while (delta := await stream.read(10)) is not None:
                text += delta.text
            assert text == "ab"
            await stream.aclose()

    asyncio.run(main())


def test_silence_leaves_no_mark_on_the_task(fake: FakeOpenAI, ask: ModelRequest) -> None:
    pytest.importorskip("aiohttp")
    fake.reply(chunks=["a", "b"], delay=30)

    async def main() -> None:
        async with transport("aiohttp"):
            stream = await providers.aopen_stream(ask)
            task = asyncio.current_task()
            assert task is not None
            while await stream.read(0.01) != Delta():
                assert task.cancelling() == 0
            assert task.cancelling() == 0
            await stream.aclose()

    asyncio.run(main())


async def to_the_end(stream: providers.AsyncStream) -> str:
    text = ""
    while (delta := await stream.read(0.05)) is not None:
        text += delta.text
    return text


def test_silence_is_measured_without_the_timer_of_aiohttp(fake: FakeOpenAI, ask: ModelRequest) -> None:
    """It would set up another for each read; and it must not fire in the middle of a stream that goes on."""
    pytest.importorskip("aiohttp")
    fake.reply(chunks=["a", "b", "c"], delay=0.2)
    fake.reply("late", wait=30)
    # What comes after the headers has taken down the timer that they began with.
    fake.reply(chunks=["a", "b", "c"], delay=0.1, stall_after=2, stall=30)

    async def main() -> None:
        async with transport("aiohttp"):
            stream = await providers.aopen_stream(replace(ask, timeout=0.3))
            assert isinstance(stream._source, Direct)
            connection = stream._source._beneath.connection
            assert connection is not None
            assert connection.protocol is not None
            assert connection.protocol.read_timeout is None
            assert await to_the_end(stream) == "abc"
            await stream.aclose()
            # The next request on that connection has its timer again, until its headers are there.
            with pytest.raises(ProviderTimeoutError):
                await providers.aopen_stream(replace(ask, timeout=0.3))
            stream = await providers.aopen_stream(replace(ask, timeout=0.3))
            with pytest.raises(ProviderTimeoutError):
                await to_the_end(stream)
            await stream.aclose()

    asyncio.run(main())


def test_what_arrived_before_a_cut_is_read_after_it(fake: FakeOpenAI, ask: ModelRequest) -> None:
    pytest.importorskip("aiohttp")
    fake.reply(chunks=["a", "b", "c"], cut_after=2)

    async def main() -> None:
        async with transport("aiohttp"):
            stream = await providers.aopen_stream(ask)
            source = stream._source
            assert isinstance(source, Direct)
            while source._beneath.content.exception() is None:  # noqa: ASYNC110 - no event says it
                await asyncio.sleep(0.01)
            delta = await stream.read(10)
            assert delta is not None
            assert delta.text == "ab"
            with pytest.raises(ProviderProtocolError):
                await stream.read(10)
            await stream.aclose()

    asyncio.run(main())
