"""A turn rests without its process: whoever is there when the decision comes goes on with it."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest

from django_chatgpt.testing import Answer, Call, FakeOpenAI
from tests.servers.conftest import Tables, environment, prepare
from tests.servers.processes import Browser, Kind, Server, until
from tests.settings import base

Serve = Callable[[Kind], Server]


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """The database file of a site of this test's own."""
    path = tmp_path / "site.sqlite3"
    prepare(environment(str(path)))
    return path


@pytest.fixture
def payments(tmp_path: Path) -> Path:
    """Where each payment is a line."""
    path = tmp_path / "payments"
    path.touch()
    return path


@pytest.fixture
def serve(site: Path, payments: Path, tmp_path: Path, fake_openai: FakeOpenAI) -> Iterator[Serve]:
    """Start another process of the site."""
    started: list[Server] = []

    def serve(kind: Kind) -> Server:
        variables = environment(
            str(site),
            INSTALLED_APPS=[*base.INSTALLED_APPS, "tests.approvals"],
            OPENAI_BASE_URL=fake_openai.base_url,
            OPENAI_API_KEY=fake_openai.api_key,
            PAYMENTS_FILE=str(payments),
        )
        started.append(Server(kind, variables, tmp_path / f"{kind}{len(started)}.log").start())
        return started[-1]

    yield serve
    for server in started:
        server.stop()


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    """What is closed at the end of the test, whatever happens."""
    with ExitStack() as stack:
        yield stack


def calls(site: Path) -> list[tuple[str, str, str]]:
    """Function, arguments and status of each call on record."""
    with closing(sqlite3.connect(site, timeout=20)) as connection:
        return connection.execute("SELECT name, arguments, status FROM ai_function_call").fetchall()


def decide(browser: Browser, turn_id: str, **body: Any) -> Any:
    return browser.client.post(
        f"/ai/turns/{turn_id}/approve/",
        json={"approve": True} | body,
        headers={"X-CSRFToken": browser.token, "Referer": browser.server.url},
    )


@pytest.mark.parametrize(
    ("kind", "survivor", "stream"), [("uvicorn", "gunicorn", False), ("gunicorn", "uvicorn", True)]
)
def test_kill_9_while_a_call_waits_for_approval(
    kind: Kind,
    survivor: Kind,
    stream: bool,
    serve: Serve,
    site: Path,
    payments: Path,
    stack: ExitStack,
    fake_openai: FakeOpenAI,
) -> None:
    tables = Tables(site)
    fake_openai.script(Answer("One moment.", calls=[Call("pay", {"amount": 5})]), Answer("It is done."))
    victim = serve(kind)
    browser = stack.enter_context(closing(Browser(victim).sign_in()))
    with browser.stream("Pay five") as asked:
        asked.read_all()
    assert asked.seen[-2]["reason"] == "awaiting_approval"
    turn_id, conversation_id = asked.turn_id, asked.conversation_id

    victim.kill()

    assert tables.turn(turn_id)["status"] == "awaiting_approval"
    assert calls(site) == [("pay", '{"amount":5}', "awaiting_approval")]
    assert payments.read_text() == ""
    other = stack.enter_context(closing(browser.visit(serve(survivor))))
    (waiting,) = other.turn(turn_id)["waiting"]
    assert (waiting["name"], json.loads(waiting["arguments"])) == ("pay", {"amount": 5})
    decided = decide(other, turn_id, call_id=waiting["call_id"], stream=stream)
    assert decided.status_code == 200, other.server.said()
    if stream:
        assert '"type":"done"' in decided.text
    until(lambda: other.turn(turn_id)["status"] == "completed", "the end of the turn")

    assert [line.split()[0] for line in payments.read_text().splitlines()] == ["5"]
    assert calls(site) == [("pay", '{"amount":5}', "completed")]
    assert tables.messages(conversation_id) == [
        ("user", "Pay five", "complete"),
        ("assistant", "One moment.", "complete"),
        ("tool", "paid 5", "complete"),
        ("assistant", "It is done.", "complete"),
    ]
    assert [row["outcome"] for row in tables.attempts(turn_id)] == ["completed", "completed"]
    assert tables.turn(turn_id)["active_conversation"] is None
    fake_openai.assert_script_used()
    # A decision is made once, in every process.
    again = decide(other, turn_id, call_id=waiting["call_id"])
    assert (again.status_code, again.json()["error"]["code"]) == (409, "decided")
    assert len(payments.read_text().splitlines()) == 1
