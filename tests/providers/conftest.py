"""A fake provider, and one way to hear an answer whatever the colour, the transport and the dialect."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import httpx2
import openai
import pytest

from django_chatgpt import providers
from django_chatgpt.core.messages import TokenUsage
from django_chatgpt.core.request import Delta, Dialect, Endpoint, ModelRequest
from django_chatgpt.exceptions import AIServiceError
from django_chatgpt.providers import clients
from django_chatgpt.testing import FakeOpenAI

Colour = Literal["sync", "aiohttp", "httpx2"]

KEY = "sk-test-4f1d0a7be2c94d08"
TICK = 0.2


@pytest.fixture
def fake() -> Iterator[FakeOpenAI]:
    with FakeOpenAI() as fake:
        yield fake


@pytest.fixture(autouse=True)
def _fresh_clients() -> Iterator[None]:
    """No test meets the connections of another."""
    with clients.http_clients():
        yield
        clients.close()


@pytest.fixture(autouse=True)
def _no_leftovers() -> Iterator[None]:
    before = set(threading.enumerate())
    yield
    left = [
        thread.name
        for thread in set(threading.enumerate()) - before
        if thread.name.startswith("django-chatgpt")
    ]
    assert not left


@pytest.fixture(params=["chat", "responses"])
def dialect(request: pytest.FixtureRequest) -> Dialect:
    dialect: Dialect = request.param
    return dialect


@pytest.fixture(params=["sync", "aiohttp", "httpx2"])
def colour(request: pytest.FixtureRequest) -> Colour:
    if request.param == "aiohttp":
        pytest.importorskip("aiohttp")
    colour: Colour = request.param
    return colour


@pytest.fixture(params=["aiohttp", "httpx2"])
def async_colour(request: pytest.FixtureRequest) -> Colour:
    if request.param == "aiohttp":
        pytest.importorskip("aiohttp")
    colour: Colour = request.param
    return colour


@pytest.fixture
def ask(fake: FakeOpenAI, dialect: Dialect) -> ModelRequest:
    return question(fake.base_url, dialect)


def question(base_url: str, dialect: Dialect = "chat", **fields: Any) -> ModelRequest:
    """A plain question to the server at `base_url`."""
    asked = ModelRequest(
        endpoint=Endpoint(api_key=KEY, base_url=base_url, dialect=dialect),
        model="gpt-6-luna",
        messages=[{"role": "user", "content": "Hi"}],
        timeout=10.0,
    )
    return replace(asked, **fields)


@dataclass
class Heard:
    """An answer as it was heard, and the error it ended with."""

    deltas: list[Delta] = field(default_factory=list)
    error: AIServiceError | None = None

    def add(self, delta: Delta | None) -> bool:
        if delta is None:
            return False
        self.deltas.append(delta)
        return True

    @property
    def text(self) -> str:
        return "".join(delta.text for delta in self.deltas)

    @property
    def ticks(self) -> int:
        return self.deltas.count(Delta())

    @property
    def calls(self) -> list[dict[str, str]]:
        calls: list[dict[str, str]] = []
        for delta in self.deltas:
            for fragment in delta.calls:
                assert fragment.index <= len(calls)
                if fragment.index == len(calls):
                    calls.append({"id": "", "name": "", "arguments": ""})
                call = calls[fragment.index]
                call["id"] = call["id"] or fragment.id
                call["name"] += fragment.name
                call["arguments"] += fragment.arguments
        return calls

    def last(self, name: str) -> Any:
        """The last value of a field that said something."""
        return next((value for delta in reversed(self.deltas) if (value := getattr(delta, name))), None)

    @property
    def usage(self) -> TokenUsage | None:
        usage: TokenUsage | None = self.last("usage")
        return usage

    @property
    def finish_reason(self) -> str | None:
        reason: str | None = self.last("finish_reason")
        return reason


@asynccontextmanager
async def transport(colour: Colour) -> AsyncIterator[None]:
    """Asynchronous calls in the block go through this transport, which is gone after it."""
    make = openai.DefaultAioHttpClient if colour == "aiohttp" else openai.DefaultAsyncHttpxClient
    async with make(verify=clients.tls_context(), limits=clients.LIMITS) as http:
        with clients.http_clients(asynchronous=http):
            yield


def listen(request: ModelRequest, colour: Colour, *, tick: float = TICK) -> Heard:
    """Ask, and hear the answer to its end, whatever that is."""
    heard = Heard()

    def sync() -> None:
        stream = providers.open_stream(request)
        try:
            while heard.add(stream.read(tick)):
                pass
        finally:
            stream.close()

    async def listen_async() -> None:
        async with transport(colour):
            stream = await providers.aopen_stream(request)
            try:
                while heard.add(await stream.read(tick)):
                    pass
            finally:
                await stream.aclose()

    try:
        if colour == "sync":
            sync()
        else:
            asyncio.run(listen_async())
    except AIServiceError as error:
        heard.error = error
    return heard


def mocked(handler: Callable[[httpx2.Request], httpx2.Response]) -> Any:
    """Answer everything with `handler`, in every colour."""
    mock = httpx2.MockTransport(handler)
    return clients.http_clients(httpx2.Client(transport=mock), httpx2.AsyncClient(transport=mock))
