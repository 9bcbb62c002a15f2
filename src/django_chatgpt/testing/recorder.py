"""What the fake was asked, when, and what became of it."""

import hashlib
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from textwrap import shorten
from typing import Any, Literal, TypeAlias

from django_chatgpt.testing.steps import Usage

Endpoint: TypeAlias = Literal[
    "chat", "responses", "embeddings", "moderations", "models", "files", "batches", "unknown"
]


_SHOWN = 300  # characters of a line
_SHOWN_WHOLE = 5  # requests


@dataclass(slots=True, eq=False)
class Request:
    """One HTTP request. Everything below `started` changes while it is being answered.

    `headers`: lower-case names, without the key. `body`: the JSON object, {} when there was none.
    `connection`: number of the TCP connection. `started`, `finished`: time.monotonic() seconds, `finished`
    None while it is answered. `status`: None until answered. `disconnected`: the client closed before the
    end. `billed`: tokens an account would be charged for it, None while it is answered and where nothing is
    charged.
    """

    number: int
    method: str
    path: str
    endpoint: Endpoint
    headers: dict[str, str]
    body: dict[str, Any]
    id: str
    connection: int
    key_digest: bytes = field(default=b"", repr=False)
    started: float = field(default_factory=time.monotonic)
    finished: float | None = None
    status: int | None = None
    disconnected: bool = False
    billed: Usage | None = None
    sent: list[str] = field(default_factory=list, repr=False)

    @property
    def model(self) -> str | None:
        model = self.body.get("model")
        return model if isinstance(model, str) else None

    @property
    def stream(self) -> bool:
        return self.body.get("stream") is True

    @property
    def stream_options(self) -> dict[str, Any]:
        options = self.body.get("stream_options")
        return options if isinstance(options, dict) else {}

    @property
    def pieces_sent(self) -> int:
        """How many pieces of the answer have been handed to the connection."""
        return len(self.sent)

    @property
    def texts(self) -> list[str]:
        """Every text of the request, in order: instructions, messages, tool results, embedding inputs."""
        spoken = (self.body.get(name) for name in ("instructions", "messages", "input"))
        return [text for value in spoken for text in _texts(value)]

    @property
    def question(self) -> str:
        """The text of the last message of role user, or the last text there is."""
        for message in reversed(self.messages):
            if message.get("role") == "user":
                return "\n".join(_texts(message.get("content")))
        return self.texts[-1] if self.texts else ""

    @property
    def messages(self) -> list[dict[str, Any]]:
        """The messages, or the input items."""
        return _objects(self.body.get("messages", self.body.get("input")))

    @property
    def tools(self) -> list[str]:
        """Names of the functions offered."""
        tools = _objects(self.body.get("tools"))
        return [
            str(function.get("name")) for tool in tools for function in _objects([tool.get("function", tool)])
        ]

    @property
    def details(self) -> str:
        """What was asked, on several lines: each message, the functions offered."""
        lines = [str(self)]
        if isinstance(instructions := self.body.get("instructions"), str):
            lines.append(f"instructions: {instructions}")
        for message in self.messages:
            lines.append(f"{message.get('role') or message.get('type')}: {' '.join(_texts(message))}")
        if self.endpoint == "embeddings":
            lines += self.texts
        if self.tools:
            lines.append(f"functions: {', '.join(self.tools)}")
        return "\n      ".join(shorten(line, _SHOWN, placeholder=" ...") for line in lines)

    def carried(self, key: str) -> bool:
        """Whether it was made with this API key."""
        return self.key_digest == digest(key)

    def __str__(self) -> str:
        state = (
            "disconnected"
            if self.disconnected
            else "answering"
            if self.finished is None
            else str(self.status)
        )
        return f"#{self.number} {self.method} {self.path} {self.model or ''} [{state}] {self.question[:80]!r}"


def digest(key: str) -> bytes:
    return hashlib.sha256(key.encode()).digest()


def _texts(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for item in value:
            yield from _texts(item)
    elif isinstance(value, dict):
        for name in ("text", "content", "output", "arguments", "summary", "refusal"):
            yield from _texts(value.get(name))
        for call in _objects(value.get("tool_calls")):
            yield from _texts(call.get("function"))


def _objects(value: object) -> list[dict[str, Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


class Recorder:
    """The list of requests, shared between the server's thread and the tests'."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._requests: list[Request] = []
        self._numbers = 0

    @property
    def requests(self) -> list[Request]:
        with self._changed:
            return list(self._requests)

    def add(self, **facts: Any) -> Request:
        with self._changed:
            self._numbers += 1
            request = Request(number=self._numbers, **facts)
            self._requests.append(request)
            self._changed.notify_all()
        return request

    def finish(self, request: Request, *, disconnected: bool = False) -> None:
        """Mark a request as over."""
        with self._changed:
            request.finished = time.monotonic()
            request.disconnected = disconnected
            self._changed.notify_all()

    def clear(self) -> None:
        with self._changed:
            self._requests.clear()
            self._numbers = 0

    def wait(self, done: Callable[[list[Request]], list[Request] | None], timeout: float) -> list[Request]:
        """Block until `done` returns a list.

        AssertionError, listing what was asked, after `timeout` seconds.
        """
        deadline = time.monotonic() + timeout
        with self._changed:
            while (found := done(self._requests)) is None:
                left = deadline - time.monotonic()
                if left <= 0:
                    raise AssertionError(f"not seen within {timeout:g} s; so far:\n{self.listing()}")
                self._changed.wait(left)
            return list(found)

    def listing(self, *, whole: bool = False) -> str:
        """The requests, a line each; `whole` shows what was said in the last few of them."""
        with self._changed:
            number = len(self._requests) - _SHOWN_WHOLE
            lines = [
                request.details if whole and at >= number else str(request)
                for at, request in enumerate(self._requests)
            ]
            return "\n".join(f"  {line}" for line in lines) or "  nothing was asked"
