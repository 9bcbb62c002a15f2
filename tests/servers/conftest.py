"""One site in an SQLite file of its own, and the servers that serve it, started when first asked for."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from django_chatgpt.testing import FakeOpenAI, Gate
from tests.servers.processes import KINDS, ROOT, Browser, Kind, Server

#: What `configure` sets before each test, so that none inherits what another has set.
USUAL: dict[str, Any] = {
    "OPENAI_ON_DISCONNECT": "continue",
    "OPENAI_TURN_LEASE": 30,
    "OPENAI_MAX_RETRIES": 0,
    "OPENAI_TIMEOUT": 60,
    "OPENAI_WAKE_URL": None,
    "LOOK_SECONDS": 0.5,
    "OPENAI_PRICES": {"gpt-6-luna": {"input": "1", "output": "2"}},
}


def environment(database: str, site: str = "tests.settings.sqlite", **settings: Any) -> dict[str, str]:
    """The environment of a process of the site."""
    return os.environ | {
        "DJANGO_SETTINGS_MODULE": "tests.servers.settings",
        "DJANGO_CHATGPT_DATABASE": database,
        "PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")])),
        "PYTHONUNBUFFERED": "1",
        "SERVER_SITE": site,
        "SERVER_SETTINGS": json.dumps(settings),
    }


def prepare(variables: dict[str, str]) -> None:
    """Create the tables of a site and its one user."""
    command = [sys.executable, "-m", "tests.servers.prepare"]
    subprocess.run(command, cwd=ROOT, env=variables, check=True, timeout=60)


class Tables:
    """What is stored, seen past all caches, past the ORM, and by no process of the site."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def _rows(self, query: str, *values: str) -> list[dict[str, Any]]:
        connection = sqlite3.connect(self.path, timeout=20)
        try:
            connection.row_factory = sqlite3.Row
            return [dict(row) for row in connection.execute(query, values)]
        finally:
            connection.close()

    def turn(self, turn_id: str) -> dict[str, Any]:
        (row,) = self._rows("SELECT * FROM ai_turn WHERE id = ?", UUID(turn_id).hex)
        return row

    def messages(self, conversation_id: str) -> list[tuple[str, str, str]]:
        """Role, content and status of each."""
        rows = self._rows(
            "SELECT role, content, status FROM ai_message WHERE conversation_id = ? ORDER BY sequence",
            UUID(conversation_id).hex,
        )
        return [(row["role"], row["content"], row["status"]) for row in rows]

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Nobody else writes meanwhile."""
        with closing(sqlite3.connect(self.path, timeout=20, isolation_level=None)) as connection:
            connection.execute("BEGIN IMMEDIATE")
            yield

    def attempts(self, turn_id: str) -> list[dict[str, Any]]:
        return self._rows("SELECT * FROM ai_usage WHERE turn_id = ? ORDER BY id", UUID(turn_id).hex)


@pytest.fixture(scope="session")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of the site, migrated, with one user in it."""
    path = tmp_path_factory.mktemp("site") / "site.sqlite3"
    prepare(environment(str(path)))
    return path


@pytest.fixture(scope="session")
def tables(database: Path) -> Tables:
    return Tables(database)


Start = Callable[..., Server]


@pytest.fixture
def start(database: Path, tmp_path: Path) -> Iterator[Start]:
    """Start a server for this test alone: `start(kind, *arguments, **settings)`."""
    started: list[Server] = []

    def start(kind: Kind, *arguments: str, **settings: Any) -> Server:
        variables = environment(str(database), **settings)
        server = Server(kind, variables, tmp_path / f"{kind}{len(started)}.log", arguments).start()
        started.append(server)
        return server

    yield start
    for server in started:
        server.stop()


@pytest.fixture(scope="session")
def _running(database: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[Kind], Server]]:
    running: dict[Kind, Server] = {}

    def get(kind: Kind) -> Server:
        if kind not in running or not running[kind].is_running:
            log = tmp_path_factory.mktemp(kind) / "server.log"
            running[kind] = Server(kind, environment(str(database)), log).start()
        return running[kind]

    yield get
    for server in running.values():
        server.stop()


Serve = Callable[..., Server]


@pytest.fixture
def serve(_running: Callable[[Kind], Server], fake_openai: FakeOpenAI) -> Serve:
    """A server that all tests share, with these settings for this test: `serve(kind, **settings)`."""

    def serve(kind: Kind, **settings: Any) -> Server:
        server = _running(kind)
        where = {"OPENAI_BASE_URL": fake_openai.base_url, "OPENAI_API_KEY": fake_openai.api_key}
        server.configure(**USUAL | where | settings)
        return server

    return serve


@pytest.fixture(scope="session")
def _session(_running: Callable[[Kind], Server]) -> Iterator[Browser]:
    browser = Browser(_running("uvicorn")).sign_in()
    yield browser
    browser.close()


@pytest.fixture
def browse(_session: Browser) -> Iterator[Callable[[Server], Browser]]:
    """A browser that is signed in, at a server."""
    open_browsers: list[Browser] = []

    def browse(server: Server) -> Browser:
        open_browsers.append(_session.visit(server))
        return open_browsers[-1]

    yield browse
    for browser in open_browsers:
        browser.close()


Browse = Callable[[Server], Browser]


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> Kind:
    kind: Kind = request.param
    return kind


@pytest.fixture
def gate() -> Iterator[Gate]:
    """What an answer of the provider waits for; open at the end whatever happens."""
    gate = Gate()
    yield gate
    gate.open()
