"""Fast enough for benchmarks and for crowds."""

import asyncio
import time

import httpx2

from django_chatgpt.testing import Answer, FakeOpenAI
from tests.testing.conftest import HELLO, MODEL

HEADERS = {"authorization": "Bearer k"}
BODY = {"model": MODEL, "messages": HELLO, "stream": True}


async def test_a_hundred_streams_at_once(fake: FakeOpenAI) -> None:
    fake.script(*[Answer(chunks=["word "] * 20, delay=0.05)] * 100)

    async def listen(client: httpx2.AsyncClient) -> int:
        async with client.stream("POST", f"{fake.base_url}/chat/completions", json=BODY) as response:
            return b"".join([chunk async for chunk in response.aiter_raw()]).count(b'"content":"word "')

    limits = httpx2.Limits(max_connections=200)
    begun = time.monotonic()
    async with httpx2.AsyncClient(headers=HEADERS, limits=limits, timeout=30) as client:
        counted = await asyncio.gather(*[listen(client) for _ in range(100)])
    assert counted == [20] * 100
    assert len({request.connection for request in fake.requests}) == 100
    assert time.monotonic() - begun < 10


def test_thousands_of_pieces_a_second(fake: FakeOpenAI) -> None:
    fake.reply(chunks=["word "] * 10_000)
    begun = time.monotonic()
    with httpx2.stream(
        "POST", f"{fake.base_url}/chat/completions", json=BODY, headers=HEADERS, timeout=30
    ) as response:
        received = b"".join(response.iter_raw())
    assert received.count(b'"content":"word "') == 10_000
    assert time.monotonic() - begun < 5
