"""Sixty streams at once over sixteen database connections: none is held while the model is waited for."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from django_chatgpt.testing import Answer, FakeOpenAI, Gate
from tests.servers.conftest import USUAL, environment, prepare
from tests.servers.processes import PATIENCE, Browser, Kind, Server, until
from tests.settings import base

psycopg = pytest.importorskip("psycopg")
pytest.importorskip("psycopg_pool")

STREAMS = 60
CONNECTIONS = 16

#: What makes the request itself use the database, before the view and after it.
BUSY_SITE: dict[str, Any] = {
    "CSRF_USE_SESSIONS": True,
    "SESSION_SAVE_EVERY_REQUEST": True,
    "MIDDLEWARE": [*base.MIDDLEWARE, "django.contrib.auth.middleware.LoginRequiredMiddleware"],
}


def connect(name: str) -> Any:
    return psycopg.connect(
        host=os.environ.get("PGHOST", "127.0.0.1"),
        port=os.environ.get("PGPORT", "5432"),
        user=os.environ.get("PGUSER", "postgres"),
        password=os.environ.get("PGPASSWORD", ""),
        dbname=name,
        autocommit=True,
    )


@pytest.fixture(scope="module")
def postgres() -> Iterator[str]:
    """A database of its own for the site, migrated, with one user in it."""
    name = f"test_django_chatgpt_servers_{os.getpid()}"
    with connect("postgres") as connection:
        connection.execute(f'CREATE DATABASE "{name}"')
        try:
            prepare(environment(name, "tests.settings.postgres"))
            yield name
        finally:
            connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


@pytest.mark.postgres
@pytest.mark.parametrize(
    ("kind", "site"),
    [("uvicorn", {}), ("uvicorn", BUSY_SITE), ("gunicorn", BUSY_SITE)],
    ids=["uvicorn", "uvicorn-busy", "gunicorn-busy"],
)
async def test_all_stream_and_none_holds_a_connection(
    kind: Kind, site: dict[str, Any], postgres: str, tmp_path: Path, fake_openai: FakeOpenAI, gate: Gate
) -> None:
    pool = {"min_size": 1, "max_size": CONNECTIONS, "timeout": 20}
    name = f"django-chatgpt {os.getpid()} {kind} {len(site)}"
    options = {"pool": pool, "application_name": name}
    variables = environment(
        postgres,
        "tests.settings.postgres",
        **USUAL | {"OPENAI_BASE_URL": fake_openai.base_url, "DATABASE": {"OPTIONS": options}} | site,
    )
    fake_openai.respond_with(
        lambda request: Answer(chunks=["Hello ", request.question], stall_after=1, stall=gate)
    )
    server = Server(kind, variables, tmp_path / "server.log").start()
    browser = Browser(server)
    try:
        await asyncio.to_thread(browser.sign_in)
        texts = await stream_all(browser, lambda: all_are_free(server, postgres, name, fake_openai, gate))
        with connect(postgres) as connection:
            statuses = connection.execute("SELECT status, count(*) FROM ai_turn GROUP BY status").fetchall()
    finally:
        server.stop()
        browser.close()
        with connect(postgres) as connection:
            connection.execute("TRUNCATE ai_conversation CASCADE")
    assert texts == [f"Hello question {number}" for number in range(STREAMS)]
    assert statuses == [("completed", STREAMS)]


async def stream_all(browser: Browser, when_all_have_begun: Any) -> list[str]:
    """Ask everything at once; when the first words of each are there, look; then read on."""
    limits = httpx2.Limits(max_connections=STREAMS)
    begun = asyncio.Barrier(STREAMS + 1)

    async def ask(client: httpx2.AsyncClient, number: int) -> str:
        text = ""
        body = {"message": f"question {number}", "stream": True}
        async with client.stream("POST", "/ai/chat/", json=body, headers=browser.headers()) as response:
            assert response.status_code == 200, (await response.aread(), browser.server.said()[-5000:])
            async for line in response.aiter_lines():
                if not line.startswith("data: "):
                    continue
                event = json.loads(line.removeprefix("data: "))
                assert event["type"] != "error", (event, browser.server.said()[-5000:])
                if event["type"] == "content":
                    if not text:
                        await begun.wait()
                    text += event["content"]
        return text

    cookies = browser.client.cookies
    async with (
        httpx2.AsyncClient(
            base_url=browser.server.url, cookies=cookies, limits=limits, timeout=PATIENCE
        ) as client,
        asyncio.TaskGroup() as group,
    ):
        tasks = [group.create_task(ask(client, number)) for number in range(STREAMS)]
        await begun.wait()
        await asyncio.to_thread(when_all_have_begun)
    return [task.result() for task in tasks]


def all_are_free(server: Server, database: str, name: str, fake: FakeOpenAI, gate: Gate) -> None:
    """Every stream has begun and none has ended, and no connection of the site is in use."""
    assert len(fake.calls) == STREAMS
    assert not [request for request in fake.calls if request.finished is not None]

    def look() -> bool:
        stats = httpx2.get(f"{server.url}/pool/", timeout=PATIENCE).json()
        assert stats["pool_max"] == CONNECTIONS
        return stats["pool_size"] == stats["pool_available"] and not stats.get("requests_waiting", 0)

    until(look, "that all connections are free")
    with connect(database) as connection:

        def states() -> dict[str, int]:
            return dict(
                connection.execute(
                    "SELECT state, count(*) FROM pg_stat_activity WHERE application_name = %s GROUP BY state",
                    [name],
                ).fetchall()
            )

        # The server process of a connection that was closed takes a moment to go.
        until(lambda: sum(states().values()) <= CONNECTIONS, "that the pool's connections are all there are")
        assert set(states()) <= {"idle"}
    gate.open()
