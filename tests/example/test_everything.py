"""The command that starts everything a large site has: two web servers, a worker, a clock."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import httpx2
import pytest
from visitor import Visitor

from django_chatgpt.testing import FakeOpenAI
from tests.packaging.visitor import free_port

pytestmark = [pytest.mark.postgres, pytest.mark.redis, pytest.mark.rabbitmq, pytest.mark.timeout(170)]

HERE = Path(__file__).resolve().parents[2] / "example_project"
ANSWER = "Four, as always."


@pytest.fixture
def fake() -> Iterator[FakeOpenAI]:
    with FakeOpenAI() as fake:
        fake.reply(ANSWER)
        yield fake


@pytest.fixture
def name() -> Iterator[str]:
    """That of a database and a queue of this test's own."""
    pytest.importorskip("celery")
    psycopg = pytest.importorskip("psycopg")
    name = f"django_chatgpt_{uuid.uuid4().hex[:12]}"
    yield name
    server = psycopg.connect(
        host=os.environ.get("PGHOST", "127.0.0.1"),
        user=os.environ.get("PGUSER", "root"),
        password=os.environ.get("PGPASSWORD") or None,
        dbname="postgres",
        autocommit=True,
    )
    with server:
        server.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")


def test_a_question_goes_through_all_of_it(fake: FakeOpenAI, name: str, tmp_path: Path) -> None:
    port, log = free_port(), tmp_path / "log"
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("OPENAI_", "DJANGO_"))}
    with log.open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, str(HERE / "everything.py")],
            env=kept
            | {
                "PORT": str(port),
                "PGDATABASE": name,
                "CELERY_QUEUE": name,
                "CLOCK": str(tmp_path / "clock"),
                "OPENAI_BASE_URL": fake.base_url,
                "OPENAI_API_KEY": fake.api_key,
                "OPENAI_DEFAULT_MODEL": "smollm2",
            },
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            start_new_session=True,
        )
    try:
        address = f"http://127.0.0.1:{port}"
        deadline = time.monotonic() + 100
        while process.poll() is None and not answers(address):
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.1)
        password = re.search(r"password (\S+)\)", log.read_text())
        assert password is not None, log.read_text()
        with Visitor(address) as visitor:
            visitor.log_in("demo", password[1])
            answer = visitor.ask("What is two and two?", lambda arrived: None)
            assert answer.text == ANSWER, log.read_text()
            assert answer.done
        process.send_signal(signal.SIGINT)
        assert process.wait(40) == 0, log.read_text()
    finally:
        # What it has started is in groups of their own; only it can end them.
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(20)
        process.kill()
        process.wait()


def answers(address: str) -> bool:
    try:
        return httpx2.get(f"{address}/login/", trust_env=False).is_success
    except httpx2.TransportError:
        return False
