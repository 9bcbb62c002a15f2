"""PostgreSQL is restarted in the middle of an answer: it goes on, and so does the site."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from django_chatgpt.testing import Answer, FakeOpenAI, Gate
from tests.postgres_server import OwnPostgres, owner, programs
from tests.servers.conftest import USUAL, environment, prepare
from tests.servers.processes import Browser, Kind, Server, Stream

psycopg = pytest.importorskip("psycopg")
pytest.importorskip("psycopg_pool")

PIECES = ["Once ", "upon ", "a ", "time"]
HEARD = "Once upon "
NAME = "site"


@pytest.fixture(scope="module")
def postgres() -> Iterator[OwnPostgres]:
    if programs() is None or owner() is None:
        pytest.skip("initdb and pg_ctl of PostgreSQL are not there, or nobody who may run them")
    server = OwnPostgres()
    try:
        server.start()
        with psycopg.connect(dbname="postgres", autocommit=True, **where(server)) as connection:
            connection.execute(f"CREATE DATABASE {NAME}")
        prepare(environment(NAME, "tests.settings.postgres") | server.environment)
        yield server
    finally:
        server.remove()


def where(server: OwnPostgres) -> dict[str, Any]:
    return {"host": "127.0.0.1", "port": server.port, "user": server.user}


def rows(server: OwnPostgres, query: str) -> list[tuple[Any, ...]]:
    """What is stored, as nobody of the site sees it."""
    with psycopg.connect(dbname=NAME, autocommit=True, **where(server)) as connection:
        found: list[tuple[Any, ...]] = connection.execute(query).fetchall()
    return found


@pytest.fixture(params=["uvicorn", "gunicorn"])
def site(
    request: pytest.FixtureRequest, postgres: OwnPostgres, fake_openai: FakeOpenAI, tmp_path: Path
) -> Iterator[Browser]:
    """Somebody at a server: under ASGI with a pool as the docs have it, else without."""
    kind: Kind = request.param
    pool = {"OPTIONS": {"pool": {"min_size": 4, "max_size": 10}}, "CONN_HEALTH_CHECKS": True}
    variables = environment(
        NAME,
        "tests.settings.postgres",
        **USUAL
        | {
            "OPENAI_BASE_URL": fake_openai.base_url,
            "OPENAI_TURN_LEASE": 3,
            "OPENAI_BUDGETS": [{"scope": "user", "period": "day", "limit": "100"}],
            "DATABASE": pool if kind == "uvicorn" else {},
        },
    )
    server = Server(kind, variables | postgres.environment, tmp_path / "server.log").start()
    browser = Browser(server)
    try:
        server.configure(LOOK_SECONDS=0.01)  # somebody looks while it is away
        yield browser.sign_in()
    finally:
        browser.close()
        server.kill()


def test_restarted_in_the_middle_of_a_stream(
    site: Browser, postgres: OwnPostgres, fake_openai: FakeOpenAI, gate: Gate
) -> None:
    fake_openai.script(Answer(chunks=PIECES, stall_after=2, stall=gate), Answer("Still here"))
    with site.stream("Tell me a tale") as stream:
        stream.read_to(HEARD)
        with site.client.stream("GET", f"/ai/turns/{stream.turn_id}/events/") as response:
            follower = Stream(response)
            follower.read_to(HEARD)
            postgres.stop()
            gate.open()
            stream.read_to("time")  # the answer does not wait for the database
            postgres.start()
            stream.read_all()
            follower.read_all()
    assert stream.types == ["start", "content", "finish", "done"], (stream.seen, site.server.said()[-3000:])
    assert follower.seen == stream.seen, site.server.said()[-3000:]
    [status] = rows(postgres, f"SELECT status FROM ai_turn WHERE id = '{stream.turn_id}'")
    assert status == ("completed",)
    answer = site.ask("Go on", conversation_id=stream.conversation_id)
    assert answer.status_code == 200, site.server.said()[-3000:]
    assert fake_openai.calls[-1].texts == ["Tell me a tale", "".join(PIECES), "Go on"]
    nothing_is_left(postgres)


def nothing_is_left(postgres: OwnPostgres) -> None:
    assert rows(postgres, "SELECT id FROM ai_turn WHERE status IN ('queued', 'running')") == []
    assert rows(postgres, "SELECT id FROM ai_usage WHERE outcome = 'running' OR reserved_cost > 0") == []
