"""A client that leaves is noticed at once, and the bill says how far it got."""

import asyncio
import contextlib
import socket
import sys
import time

import pytest

from django_chatgpt.testing import Answer, FakeOpenAI, Usage
from tests.testing.conftest import Sdk

both = pytest.mark.parametrize("dialect", ["chat", "responses"])
WORDS = ["word "] * 200


@both
async def test_closing_a_slow_stream(fake: FakeOpenAI, sdk: Sdk, dialect: str) -> None:
    fake.reply(chunks=WORDS, delay=0.02)
    stream = await sdk.ask(dialect, stream=True)
    if sdk.is_async:
        await anext(aiter(stream))
        await stream.close()
    else:
        next(iter(stream))
        stream.close()
    closed = time.monotonic()
    (request,) = await fake.await_for(disconnected=True)
    assert request.finished is not None
    assert request.finished - closed < 0.5
    assert request.pieces_sent < 50
    assert request.status == 200
    assert request.billed is not None
    assert request.billed.completion == -(-5 * request.pieces_sent // 4)


@both
async def test_closing_while_the_upstream_is_silent(fake: FakeOpenAI, async_sdk: Sdk, dialect: str) -> None:
    fake.reply(chunks=WORDS, stall_after=3, usage=Usage(100, 200, cached=50))
    stream = await async_sdk.ask(dialect, stream=True)
    await anext(aiter(stream))
    await stream.close()
    (request,) = await fake.await_for(disconnected=True)
    assert request.billed == Usage(100, 4, cached=50)
    assert fake.tokens_billed == Usage(100, 4, cached=50)


async def test_a_cancelled_task(fake: FakeOpenAI, async_sdk: Sdk) -> None:
    fake.reply(chunks=WORDS, delay=0.02)
    task = asyncio.create_task(async_sdk.hear("chat"))
    await fake.await_for()
    await asyncio.sleep(0.1)
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    await fake.await_for(disconnected=True)


async def test_a_killed_process(fake: FakeOpenAI) -> None:
    fake.reply(chunks=WORDS, delay=0.02)
    program = (
        "import sys, openai\n"
        "client = openai.OpenAI(api_key='k', base_url=sys.argv[1])\n"
        "for event in client.responses.create(model='gpt-6-luna', input='Hi', stream=True):\n"
        "    print(event.type, flush=True)\n"
    )
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", program, fake.base_url, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    while await process.stdout.readline() != b"response.output_text.delta\n":
        assert not process.stdout.at_eof()
    process.kill()
    (request,) = await fake.await_for(disconnected=True)
    assert 0 < request.pieces_sent < 200
    assert fake.tokens_billed.completion > 0
    await process.communicate()


async def test_leaving_before_a_whole_answer(fake: FakeOpenAI, async_sdk: Sdk) -> None:
    fake.script(Answer("Hello", wait=30), Answer(chunks=WORDS, delay=0.05))
    for count in (1, 2):
        task = asyncio.create_task(async_sdk.chat())
        await fake.await_for(count)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        await fake.await_for(count, disconnected=True)
    assert [request.status for request in fake.requests] == [None, None]


async def test_leaving_after_the_end_is_no_disconnect(fake: FakeOpenAI, sdk: Sdk) -> None:
    for dialect in ("chat", "responses"):
        assert (await sdk.hear(dialect)).error is None
        await sdk.ask(dialect)
    await sdk.close()
    requests = await fake.await_for(4, finished=True)
    assert not any(request.disconnected for request in requests)


async def test_a_client_that_does_not_read_is_waited_for(fake: FakeOpenAI) -> None:
    fake.reply(chunks=["x" * 10_000] * 2_000)
    body = b'{"model":"gpt-6-luna","messages":[{"role":"user","content":"Hi"}],"stream":true}'
    with socket.create_connection(("127.0.0.1", int(fake.url.rpartition(":")[2]))) as client:
        client.sendall(
            b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer k\r\n"
            b"Content-Length: %d\r\n\r\n%b" % (len(body), body)
        )
        (request,) = await fake.await_for()
        await asyncio.sleep(0.5)
        sent = request.pieces_sent
        assert sent < 2_000
        assert request.finished is None
        async with asyncio.timeout(10):
            while request.pieces_sent == sent:
                client.recv(1 << 16)
                await asyncio.sleep(0)
    (request,) = await fake.await_for(disconnected=True)
    assert request.pieces_sent < 2_000


async def test_connections_are_kept_and_counted(fake: FakeOpenAI, async_sdk: Sdk) -> None:
    for _ in range(3):
        await async_sdk.chat()
        await async_sdk.hear("chat")
    assert fake.open_connections == 1
    assert len({request.connection for request in fake.requests}) == 1
    await async_sdk.close()
    async with asyncio.timeout(5):
        await asyncio.to_thread(left, fake)


def left(fake: FakeOpenAI) -> None:
    """Return when no client is connected any more."""
    while fake.open_connections:
        time.sleep(0.01)
