"""A browser's socket at a server, without a thread of its own for whoever tests."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from websockets.sync.client import ClientConnection, connect

from tests.servers.processes import PATIENCE, Browser


class Socket:
    """Frames as objects; what came is kept."""

    def __init__(self, connection: ClientConnection) -> None:
        self.connection = connection
        self.seen: list[dict[str, Any]] = []

    def send(self, kind: str, **fields: Any) -> None:
        self.connection.send(json.dumps({"type": kind} | fields))

    def read(self) -> dict[str, Any]:
        self.seen.append(json.loads(self.connection.recv(PATIENCE)))
        return self.seen[-1]

    def read_to(self, *kinds: str) -> dict[str, Any]:
        while (frame := self.read())["type"] not in kinds:
            pass
        return frame

    def read_text(self, text: str) -> None:
        """Read on until so much of the answer is there."""
        while text not in self.text:
            self.read()

    @property
    def text(self) -> str:
        return "".join(frame["content"] for frame in self.seen if frame["type"] == "content_chunk")

    @property
    def events(self) -> list[dict[str, Any]]:
        """What came of turns."""
        return [frame for frame in self.seen if "id" in frame]


@contextmanager
def open_socket(
    browser: Browser, path: str = "/ws/ai/chat/", *, origin: str | None = None, **options: Any
) -> Iterator[Socket]:
    """A socket of whoever is signed in there, from a page of the site unless `origin` says another."""
    cookies = "; ".join(f"{name}={value}" for name, value in browser.client.cookies.items())
    url = browser.server.url
    with connect(
        url.replace("http", "ws", 1) + path,
        origin=origin or url,
        additional_headers={"Cookie": cookies},
        open_timeout=PATIENCE,
        **options,
    ) as connection:
        yield Socket(connection)
