"""A page with a socket open: frames go in and out as objects, and nothing is left running afterwards."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest
from django.test.utils import override_settings

from django_chatgpt.runtime.tasks import wait_for_turns
from django_chatgpt.testing import FakeOpenAI, Gate

if TYPE_CHECKING:
    from django.contrib.auth.models import User

from channels.testing import WebsocketCommunicator

from django_chatgpt.consumers import AIMonitoringConsumer, AIStreamingConsumer, frames
from django_chatgpt.services import monitoring

PATIENCE = 20
PRICES = {"gpt-6-luna": {"input": "1", "output": "2"}}
LAYERS = {"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}}
ABSENT = "0198c5a0-0000-7000-8000-000000000000"


class Page:
    """One socket. Every frame that comes is checked to be one that there is, with nothing unknown in it."""

    path = "/ws/ai/chat/"
    consumer: Any = AIStreamingConsumer
    known = frames.CHAT

    def __init__(self, user: Any, headers: Any = (), consumer: Any = None) -> None:
        application = (consumer or self.consumer).as_asgi()
        self.socket = WebsocketCommunicator(application, self.path, headers=list(headers))
        if user is not None:
            self.socket.scope["user"] = user
        self.seen: list[dict[str, Any]] = []

    async def open(self) -> Page:
        connected, _ = await self.socket.connect(PATIENCE)
        assert connected
        assert await self.read() == {"type": "connection_established"}
        return self

    async def refused(self) -> tuple[int, str]:
        """The close code and reason, of a socket that was accepted first."""
        connected, _ = await self.socket.connect(PATIENCE)
        assert connected
        return await self.closed()

    async def closed(self) -> tuple[int, str]:
        message = await self.socket.receive_output(PATIENCE)
        assert message["type"] == "websocket.close", message
        return message["code"], message.get("reason", "")

    async def send(self, kind: str, **fields: Any) -> None:
        await self.socket.send_json_to({"type": kind} | fields)

    async def read(self) -> dict[str, Any]:
        frame = await self.socket.receive_json_from(PATIENCE)
        assert set(frame) - {"type"} <= set(self.known[frame["type"]]), frame
        self.seen.append(frame)
        return dict(frame)

    async def read_to(self, *kinds: str) -> list[dict[str, Any]]:
        """Frames up to the first of these types."""
        found = [await self.read()]
        while found[-1]["type"] not in kinds:
            found.append(await self.read())
        return found

    async def ask(self, message: Any = "Hi", **fields: Any) -> list[dict[str, Any]]:
        """A question and all that answers it."""
        await self.send("chat_message", message=message, **fields)
        return await self.read_to("message_complete", "error")

    async def error(self, kind: str, **fields: Any) -> dict[str, Any]:
        """What a frame is refused with."""
        frame = await self.answer(kind, **fields)
        assert frame["type"] == "error", frame
        error: dict[str, Any] = frame["error"]
        return error

    async def answer(self, kind: str, **fields: Any) -> dict[str, Any]:
        await self.send(kind, **fields)
        return await self.read()

    async def leave(self) -> None:
        await self.socket.disconnect(timeout=PATIENCE)


class Monitor(Page):
    path = "/ws/ai/monitoring/"
    consumer = AIMonitoringConsumer
    known = frames.MONITORING


def text_of(seen: list[dict[str, Any]]) -> str:
    return "".join(frame["content"] for frame in seen if frame["type"] == "content_chunk")


def kinds_of(seen: list[dict[str, Any]]) -> list[str]:
    """The types, each run of one type once."""
    kinds = [frame["type"] for frame in seen]
    return [kind for number, kind in enumerate(kinds) if number == 0 or kinds[number - 1] != kind]


async def until(look: Callable[[], Awaitable[bool]]) -> None:
    """Look again and again until it is so."""
    async with asyncio.timeout(PATIENCE):
        while not await look():  # noqa: ASYNC110 - what is looked at is in the database
            await asyncio.sleep(0.02)


Open = Callable[..., Any]


@pytest.fixture(autouse=True)
def site() -> Iterator[None]:
    with override_settings(OPENAI_PRICES=PRICES, OPENAI_MAX_RETRIES=0, CHANNEL_LAYERS=LAYERS):
        yield
    monitoring.unsubscribe()


@pytest.fixture
async def visit() -> AsyncIterator[Open]:
    """Open a page: `await visit(user)`."""
    pages: list[Page] = []

    async def visit(user: Any, kind: type[Page] = Page, **more: Any) -> Page:
        pages.append(kind(user, **more))
        return await pages[-1].open()

    yield visit
    for page in pages:
        with suppress(asyncio.CancelledError):  # it has ended already, as it said nothing for too long
            await page.leave()
    await wait_for_turns()


@pytest.fixture
async def page(visit: Open, user: User) -> Page:
    """A page of `user`."""
    opened: Page = await visit(user)
    return opened


@pytest.fixture
def fake(fake_openai: FakeOpenAI) -> FakeOpenAI:
    return fake_openai


@pytest.fixture
def gate() -> Iterator[Gate]:
    """What an answer of the provider waits for; open at the end whatever happens."""
    gate = Gate()
    yield gate
    gate.open()
