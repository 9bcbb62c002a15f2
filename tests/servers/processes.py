"""Server processes and the browsers that visit them."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeVar

import httpx2

Kind = Literal["uvicorn", "daphne", "gunicorn", "runserver", "uvicorn-gunicorn"]
KINDS: tuple[Kind, ...] = ("uvicorn", "daphne", "gunicorn", "runserver")
ASGI: frozenset[Kind] = frozenset({"uvicorn", "daphne"})

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 30.0

T = TypeVar("T")

_COMMANDS: dict[Kind, list[str]] = {
    "uvicorn": ["uvicorn", "tests.servers.asgi:application", "--fd", "FD", "--lifespan", "off"],
    "daphne": ["daphne", "--fd", "FD", "tests.servers.asgi:application"],
    "gunicorn": [
        *("gunicorn", "tests.servers.wsgi:application", "--bind", "fd://FD"),
        *("--worker-class", "gthread", "--threads", "64", "--graceful-timeout", "10"),
    ],
    "runserver": ["tests.servers.runserver", "FD"],
    "uvicorn-gunicorn": [
        *("gunicorn", "tests.servers.asgi:application", "--bind", "fd://FD"),
        *("--worker-class", "uvicorn.workers.UvicornWorker", "--graceful-timeout", "12"),
    ],
}
_TOKEN = re.compile(r'name="csrfmiddlewaretoken" value="(\w+)"')


def until(look: Callable[[], T | None], what: str = "it") -> T:
    """Look again and again until something is found; AssertionError after PATIENCE seconds."""
    deadline = time.monotonic() + PATIENCE
    while True:
        found = look()
        if found:
            return found
        assert time.monotonic() < deadline, f"{what} did not happen in {PATIENCE:g} s"
        time.sleep(0.02)


@dataclass
class Server:
    """A server in a process group of its own, on a socket that is open before it starts.

    Who connects before it is ready waits in the socket's queue, so nobody has to poll for a port.
    """

    kind: Kind
    environment: dict[str, str]
    log: Path
    arguments: tuple[str, ...] = ()
    port: int = field(init=False)
    process: subprocess.Popen[bytes] = field(init=False)

    def start(self) -> Server:
        with socket.create_server(("127.0.0.1", 0), backlog=128) as listening, self.log.open("wb") as log:
            self.port = listening.getsockname()[1]
            number = str(listening.fileno())
            command = [part.replace("FD", number) for part in _COMMANDS[self.kind]]
            self.process = subprocess.Popen(
                [sys.executable, "-m", *command, *self.arguments],
                cwd=ROOT,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=[listening.fileno()],
                start_new_session=True,
            )
        return self

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def is_running(self) -> bool:
        return self.process.poll() is None

    def configure(self, **settings: Any) -> None:
        """Change settings of the running process."""
        with httpx2.Client(base_url=self.url, timeout=PATIENCE) as client:
            assert client.post("/configure/", json=settings).status_code == 200, self.said()

    def kill(self) -> None:
        """Kill -9, its workers too."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def terminate(self) -> None:
        """Ask it to end, as a deployment does; returns at once."""
        os.kill(self.process.pid, signal.SIGTERM)

    def stop(self) -> None:
        """End it in peace if it will, and in any case."""
        if self.is_running:
            self.terminate()
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(3)
        self.kill()

    def said(self) -> str:
        """Its log."""
        return self.log.read_text(errors="replace")


class Browser:
    """Somebody signed in, at a server."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.client = httpx2.Client(base_url=server.url, timeout=PATIENCE)
        self.token = ""

    def sign_in(self, name: str = "ada", password: str = "ada-secret") -> Browser:
        """Fill in the form, with the token it holds."""
        token = self._form_token()
        answer = self.client.post(
            "/admin/login/",
            data={"username": name, "password": password, "csrfmiddlewaretoken": token},
            headers={"Referer": self.server.url},
        )
        assert answer.status_code == 302, self.server.said()
        self.token = self.client.cookies.get("csrftoken") or self._form_token()
        return self

    def visit(self, server: Server) -> Browser:
        """The same session at another server of the site."""
        other = Browser(server)
        other.client.cookies.update(self.client.cookies)
        other.token = self.token
        return other

    def ask(self, message: str = "Hi", *, key: str | None = None, **fields: Any) -> httpx2.Response:
        return self.client.post("/ai/chat/", json={"message": message} | fields, headers=self.headers(key))

    def turn(self, turn_id: str) -> dict[str, Any]:
        answer = self.client.get(f"/ai/turns/{turn_id}/")
        assert answer.status_code == 200, self.server.said()
        found: dict[str, Any] = answer.json()
        return found

    @contextmanager
    def stream(self, message: str = "Hi", *, key: str | None = None, **fields: Any) -> Iterator[Stream]:
        """Ask for a stream; leaving the block closes the connection, whatever was read."""
        body = {"message": message, "stream": True} | fields
        with self.client.stream("POST", "/ai/chat/", json=body, headers=self.headers(key)) as response:
            assert response.status_code == 200, (response.read(), self.server.said())
            yield Stream(response)

    def ask_and_wait_for_nothing(self, message: str, **fields: Any) -> socket.socket:
        """Ask for a whole reply over a connection that the caller may close at any time."""
        request = self.client.build_request(
            "POST", "/ai/chat/", json={"message": message} | fields, headers=self.headers()
        )
        lines = [f"POST {request.url.path} HTTP/1.1", *(f"{n}: {v}" for n, v in request.headers.items())]
        connection = socket.create_connection(("127.0.0.1", self.server.port), timeout=PATIENCE)
        connection.sendall("\r\n".join([*lines, "", ""]).encode() + request.read())
        return connection

    def close(self) -> None:
        self.client.close()

    def headers(self, key: str | None = None) -> dict[str, str]:
        # Referer is what Django wants where there is no Origin.
        headers = {"X-CSRFToken": self.token, "Referer": self.server.url}
        return headers if key is None else headers | {"Idempotency-Key": key}

    def _form_token(self) -> str:
        page = self.client.get("/admin/login/", params={"next": "/"})
        if page.status_code == 302:  # signed in already
            page = self.client.get("/admin/password_change/")
        found = _TOKEN.search(page.text)
        assert found is not None, self.server.said()
        return found[1]


class Stream:
    """Events as they arrive."""

    def __init__(self, response: httpx2.Response) -> None:
        self.response = response
        self.seen: list[dict[str, Any]] = []
        self._events = self._read()

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return self._events

    def _read(self) -> Iterator[dict[str, Any]]:
        for line in self.response.iter_lines():
            if line.startswith("data: "):
                self.seen.append(json.loads(line.removeprefix("data: ")))
                yield self.seen[-1]

    def read_to(self, text: str) -> None:
        """Read on until so much of the answer is there."""
        while text not in self.text:
            assert next(self._events, None) is not None, self.seen

    def read_all(self) -> Stream:
        for _event in self._events:
            pass
        return self

    @property
    def text(self) -> str:
        return "".join(event["content"] for event in self.seen if event["type"] == "content")

    @property
    def types(self) -> list[str]:
        """The types of the events, each run of one type once."""
        types = [event["type"] for event in self.seen]
        return [kind for number, kind in enumerate(types) if number == 0 or types[number - 1] != kind]

    @property
    def turn_id(self) -> str:
        return str(self.seen[0]["turn_id"])

    @property
    def conversation_id(self) -> str:
        return str(self.seen[0]["conversation_id"])
