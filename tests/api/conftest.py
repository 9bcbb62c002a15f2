"""The two doors of Django, with one way to knock: every exchange is made whole and looked at afterwards."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import pytest
from asgiref.sync import async_to_sync
from django.http import HttpResponseBase, StreamingHttpResponse
from django.test import AsyncClient, Client
from django.test.utils import override_settings

from django_chatgpt.runtime.tasks import wait_for_turns
from django_chatgpt.testing import FakeOpenAI

if TYPE_CHECKING:
    from django.contrib.auth.models import User

Handler = Literal["wsgi", "asgi"]
HANDLERS: tuple[Handler, ...] = ("wsgi", "asgi")
ABSENT = "0198c5a0-0000-7000-8000-000000000000"

PRICES = {"gpt-6-luna": {"input": "1", "output": "2"}}

_EVENT = re.compile(rb"id: (\d+)\ndata: (\{.*\})\n\n")


@dataclass
class Answer:
    """What came back: JSON, or events."""

    status: int
    headers: dict[str, str]
    body: bytes = b""
    events: list[dict[str, Any]] = field(default_factory=list)

    @property
    def json(self) -> Any:
        assert self.headers["Content-Type"].partition(";")[0] == "application/json", self.body[:200]
        return json.loads(self.body)

    @property
    def error(self) -> dict[str, Any]:
        """The error of a JSON answer, or of the stream."""
        if self.events:
            (found,) = (event["error"] for event in self.events if event["type"] == "error")
        else:
            assert set(self.json) == {"error"}
            found = self.json["error"]
        assert {"code", "message"} <= set(found)
        assert found["message"]
        return dict(found)

    @property
    def text(self) -> str:
        if not self.events:
            return str(self.json["message"]["content"])
        return "".join(event["content"] for event in self.events if event["type"] == "content")

    @property
    def turn_id(self) -> str:
        return str((self.events[0] if self.events else self.json)["turn_id"])

    @property
    def conversation_id(self) -> str:
        return str((self.events[0] if self.events else self.json)["conversation_id"])


def parse_events(raw: bytes) -> list[dict[str, Any]]:
    """The events of a stream, checked to be nothing else; each gets its number as `seq`."""
    rest = raw.replace(b": keep-alive\n\n", b"")
    events = []
    while rest:
        match = _EVENT.match(rest)
        assert match is not None, rest[:200]
        events.append({"seq": int(match[1])} | json.loads(match[2]))
        rest = rest[match.end() :]
    return events


class Door:
    """A browser at one of Django's handlers.

    At `asgi` every exchange has an event loop of its own, in which the turns are waited for; the database
    is that of the calling thread, so that a test's transaction is seen.
    """

    def __init__(self, handler: Handler, user: User | None, *, csrf: bool = False) -> None:
        self.handler = handler
        make = AsyncClient if handler == "asgi" else Client
        self.client: Any = make(enforce_csrf_checks=csrf, raise_request_exception=False)
        if user is not None:
            self.client.force_login(user)

    def ask(self, message: Any = "Hi", *, key: str | None = None, **fields: Any) -> Answer:
        """POST chat/."""
        headers = {} if key is None else {"Idempotency-Key": key}
        return self.send("POST", "/ai/chat/", {"message": message} | fields, headers)

    def get(self, path: str) -> Answer:
        return self.send("GET", path)

    def send(
        self,
        method: str,
        path: str,
        body: Any = None,
        headers: dict[str, str] | None = None,
        content_type: str = "application/json",
    ) -> Answer:
        """One exchange; `body` is JSON unless it is bytes already."""
        data = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        arguments: dict[str, Any] = {"headers": headers or {}}
        if method == "GET":
            send = self.client.get
        else:
            send = self.client.generic
            arguments |= {"data": data, "content_type": content_type}
            arguments["method"] = method

        if self.handler == "asgi":
            return async_to_sync(_exchange)(send, path, arguments)
        response = send(path=path, **arguments)
        return _answer(response, b"".join(response) if response.streaming else response.content)


async def _exchange(send: Any, path: str, arguments: dict[str, Any]) -> Answer:
    response = await send(path=path, **arguments)
    body = b"".join([part async for part in response]) if response.streaming else response.content
    await wait_for_turns()
    return _answer(response, body)


def _answer(response: HttpResponseBase, body: bytes) -> Answer:
    headers = dict(response.items())
    events = parse_events(body) if isinstance(response, StreamingHttpResponse) else []
    return Answer(response.status_code, headers, body, events)


@pytest.fixture(params=HANDLERS)
def handler(request: pytest.FixtureRequest) -> Handler:
    handler: Handler = request.param
    return handler


@pytest.fixture
def door(handler: Handler, user: User) -> Door:
    """`user` at either handler."""
    return Door(handler, user)


@pytest.fixture
def other_door(handler: Handler, other_user: User) -> Door:
    """`other_user` at the same handler."""
    return Door(handler, other_user)


@pytest.fixture
def anonymous_door(handler: Handler) -> Door:
    """Nobody in particular."""
    return Door(handler, None)


@pytest.fixture
def csrf_door(handler: Handler, user: User) -> Door:
    """`user`, whose requests must carry a CSRF token."""
    return Door(handler, user, csrf=True)


@pytest.fixture(params=["chat", "responses"])
def dialect(request: pytest.FixtureRequest) -> Iterator[str]:
    """The protocol that is spoken with the fake."""
    with override_settings(OPENAI_API=request.param):
        yield request.param


@pytest.fixture
def own_dialect(handler: Handler) -> Iterator[str]:
    """One dialect at each handler, for what is the same in all four pairs."""
    dialect = "chat" if handler == "wsgi" else "responses"
    with override_settings(OPENAI_API=dialect):
        yield dialect


@pytest.fixture(autouse=True)
def priced() -> Iterator[None]:
    """A price for the model, so that costs can be checked; and no retries unless a test asks for them."""
    with override_settings(OPENAI_PRICES=PRICES, OPENAI_MAX_RETRIES=0):
        yield


@pytest.fixture
def fake(fake_openai: FakeOpenAI) -> FakeOpenAI:
    return fake_openai
