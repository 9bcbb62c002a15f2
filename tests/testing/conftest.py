"""A fake of one's own, and the official SDK in both colours."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from typing import Any

import httpx2
import openai
import pytest

from django_chatgpt.testing import FakeOpenAI

MODEL = "gpt-6-luna"
TLS = httpx2.create_ssl_context()  # the slow part of a client, and not needed for http://
HELLO = [{"role": "user", "content": "Hi"}]


@pytest.fixture
def fake() -> Iterator[FakeOpenAI]:
    with FakeOpenAI() as fake:
        yield fake


@dataclass
class Heard:
    """What a stream gave until it ended, and the exception it ended with."""

    events: list[Any] = field(default_factory=list)
    error: Exception | None = None

    @property
    def text(self) -> str:
        """The text in chat chunks or in Responses deltas."""
        parts = []
        for event in self.events:
            if getattr(event, "choices", None):
                parts.append(event.choices[0].delta.content or "")
            elif getattr(event, "type", "") == "response.output_text.delta":
                parts.append(event.delta)
        return "".join(parts)


class Sdk:
    """The official client, sync (in a thread) or async, with one way to ask: awaited."""

    def __init__(self, colour: str, fake: FakeOpenAI, **options: Any) -> None:
        defaults = {"api_key": "sk-someone", "base_url": fake.base_url, "max_retries": 0, "timeout": 10}
        self.is_async = colour == "async"
        http: Any = (httpx2.AsyncClient if self.is_async else httpx2.Client)(verify=TLS)
        kind: Any = openai.AsyncOpenAI if self.is_async else openai.OpenAI
        self.client: Any = kind(http_client=http, **defaults | options)

    async def call(self, method: Any, **arguments: Any) -> Any:
        if self.is_async:
            return await method(**arguments)
        return await asyncio.to_thread(method, **arguments)

    async def chat(self, **arguments: Any) -> Any:
        return await self.call(self.client.chat.completions.create, **self._chat(arguments))

    async def respond(self, **arguments: Any) -> Any:
        return await self.call(self.client.responses.create, **self._respond(arguments))

    async def ask(self, dialect: str, **arguments: Any) -> Any:
        return await (self.chat if dialect == "chat" else self.respond)(**arguments)

    async def hear(self, dialect: str, **arguments: Any) -> Heard:
        """A streamed answer, listened to until its end, whatever that is."""
        heard = Heard()
        try:
            stream = await self.ask(dialect, stream=True, **arguments)
            if self.is_async:
                async for event in stream:
                    heard.events.append(event)
            else:
                await asyncio.to_thread(lambda: heard.events.extend(self._each(stream, heard)))
        except (openai.OpenAIError, ValueError) as error:
            heard.error = error
        return heard

    @staticmethod
    def _each(stream: Any, heard: Heard) -> Iterator[Any]:
        try:
            yield from stream
        except (openai.OpenAIError, ValueError) as error:
            heard.error = error

    async def close(self) -> None:
        await self.client.close() if self.is_async else self.client.close()

    @staticmethod
    def _chat(arguments: dict[str, Any]) -> dict[str, Any]:
        return {"model": MODEL, "messages": HELLO} | arguments

    @staticmethod
    def _respond(arguments: dict[str, Any]) -> dict[str, Any]:
        return {"model": MODEL, "input": "Hi", "store": False} | arguments


@pytest.fixture(params=["sync", "async"])
async def sdk(request: pytest.FixtureRequest, fake: FakeOpenAI) -> AsyncIterator[Sdk]:
    sdk = Sdk(request.param, fake)
    yield sdk
    await sdk.close()


@pytest.fixture
async def sync_sdk(fake: FakeOpenAI) -> AsyncIterator[Sdk]:
    sdk = Sdk("sync", fake)
    yield sdk
    await sdk.close()


@pytest.fixture
async def async_sdk(fake: FakeOpenAI) -> AsyncIterator[Sdk]:
    sdk = Sdk("async", fake)
    yield sdk
    await sdk.close()
