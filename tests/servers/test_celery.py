"""A real worker behind a real broker answers what a web process was asked, whatever is killed meanwhile."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from django_chatgpt.testing import Answer, FakeOpenAI, Gate
from tests.servers.conftest import USUAL, Tables, environment
from tests.servers.processes import PATIENCE, ROOT, Browser, Server, until

pytest.importorskip("celery")

PIECES = ["Once ", "upon ", "a ", "time"]
HEARD = "Once upon "
BROKERS: dict[str, dict[str, Any]] = {
    "rabbitmq": {"broker_url": "amqp://guest:guest@127.0.0.1:5672//"},
    "redis": {"broker_url": "redis://127.0.0.1:6379/0"},
}


@dataclass
class Site:
    """A web process, and workers that are started when they are wanted."""

    broker: str
    folder: Path
    database: Path
    fake: FakeOpenAI
    server: Server = field(init=False)
    browser: Browser = field(init=False)
    tables: Tables = field(init=False)
    worker: subprocess.Popen[bytes] | None = None
    number: int = 0

    def __post_init__(self) -> None:
        name = f"django-chatgpt-{uuid4().hex}"
        self.celery = BROKERS[self.broker] | {
            "task_default_queue": name,
            "result_backend": f"file://{self.folder}",
            "worker_prefetch_multiplier": 1,
            "broker_connection_retry_on_startup": True,
        }
        if self.broker == "redis":
            self.celery["broker_transport_options"] = {
                "global_keyprefix": f"{name}:",
                "visibility_timeout": 2,
            }
        self.environment = environment(
            str(self.database),
            **USUAL
            | {
                "OPENAI_BASE_URL": self.fake.base_url,
                "OPENAI_API_KEY": self.fake.api_key,
                "OPENAI_TURN_RUNNER": "celery",
                "OPENAI_TURN_LEASE": 3,
                "OPENAI_QUEUE_PATIENCE": 30,
            },
        ) | {"SERVER_CELERY": json.dumps(self.celery)}
        self.tables = Tables(self.database)
        self.server = Server("gunicorn", self.environment, self.folder / "server.log").start()
        self.browser = Browser(self.server).sign_in()

    @property
    def app(self) -> Any:
        from celery import Celery

        app = Celery("test", set_as_current=False)
        app.conf.update(self.celery)
        return app

    def start(self) -> subprocess.Popen[bytes]:
        """A worker; the one that runs, if one does."""
        if self.worker is not None and self.worker.poll() is None:
            return self.worker
        self.number += 1
        with self.log.open("wb") as log:
            self.worker = subprocess.Popen(
                [
                    *(sys.executable, "-m", "celery", "-A", "tests.servers.worker", "worker"),
                    *(
                        "--concurrency",
                        "1",
                        "--loglevel",
                        "INFO",
                        "--hostname",
                        f"w{self.number}@{uuid4().hex}",
                    ),
                    *("--without-gossip", "--without-mingle", "--without-heartbeat"),
                ],
                cwd=ROOT,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        return self.worker

    @contextmanager
    def deaf(self) -> Iterator[None]:
        """What is asked within is lost: the worker hears of nothing, and its queue is emptied at the end."""
        self.start()
        queue = self.celery["task_default_queue"]
        until(lambda: self.app.control.cancel_consumer(queue, reply=True), "the worker to listen no more")
        yield
        assert self.app.control.purge() >= 1
        assert self.app.control.add_consumer(queue, reply=True)

    @property
    def log(self) -> Path:
        return self.folder / f"worker{self.number}.log"

    def said(self) -> str:
        return self.log.read_text(errors="replace")

    def kill(self) -> None:
        """Kill -9, whatever of the worker there is."""
        if self.worker is not None:
            with suppress(ProcessLookupError):
                os.killpg(self.worker.pid, signal.SIGKILL)
            self.worker.wait()

    def close(self) -> None:
        self.kill()
        self.browser.close()
        self.server.stop()
        with self.app.connection_for_write() as connection:
            channel = connection.default_channel
            with suppress(Exception):
                channel.queue_delete(self.celery["task_default_queue"])
        if self.broker == "redis":
            import redis

            client = redis.Redis()
            prefix = self.celery["broker_transport_options"]["global_keyprefix"]
            for key in client.scan_iter(f"{prefix}*"):
                client.delete(key)
            client.close()


RABBITMQ = pytest.param("rabbitmq", marks=pytest.mark.rabbitmq)
REDIS = pytest.param("redis", marks=pytest.mark.redis)
ON_RABBITMQ = pytest.mark.parametrize("site", [RABBITMQ], indirect=True, scope="module")
ON_BOTH = pytest.mark.parametrize("site", [RABBITMQ, REDIS], indirect=True, scope="module")


@pytest.fixture(scope="module")
def site(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    database: Path,
    _fake_openai_server: FakeOpenAI,
) -> Iterator[Site]:
    site = Site(request.param, tmp_path_factory.mktemp(request.param), database, _fake_openai_server)
    yield site
    site.close()


def ended(site: Site, turn_id: str) -> str:
    def look() -> str | None:
        status = str(site.tables.turn(turn_id)["status"])
        return status if status not in ("queued", "running") else None

    return until(look, f"the end of the turn; the worker said {site.said()}")


@ON_BOTH
def test_a_stream_from_a_worker_that_is_told_to_end(site: Site, fake_openai: FakeOpenAI, gate: Gate) -> None:
    """SIGTERM lets what it has begun come to its end."""
    worker = site.start()
    fake_openai.script(Answer(chunks=PIECES, stall_after=2, stall=gate))
    with site.browser.stream("Tell me a tale") as stream:
        stream.read_to(HEARD)
        worker.send_signal(signal.SIGTERM)
        until(lambda: "Warm shutdown" in site.said(), "the word to end")
        gate.open()
        stream.read_all()
    assert stream.text == "".join(PIECES)
    assert stream.types == ["start", "content", "finish", "done"]
    assert worker.wait(PATIENCE) == 0
    assert site.tables.turn(stream.turn_id)["status"] == "completed"
    (attempt,) = site.tables.attempts(stream.turn_id)
    assert (attempt["outcome"], attempt["usage_source"]) == ("completed", "provider")
    result = site.app.AsyncResult(stream.turn_id)
    assert (result.state, result.result["status"]) == ("SUCCESS", "completed")
    assert "Once" not in json.dumps(result.result)
    assert "tale" not in site.said()


@ON_BOTH
def test_kill_9_of_a_worker(site: Site, fake_openai: FakeOpenAI, gate: Gate) -> None:
    """The broker gives its message to another, which finds what is left and asks nobody again."""
    site.start()
    fake_openai.script(Answer(chunks=PIECES, stall_after=2, stall=gate))
    with site.browser.stream("Tell me a tale") as stream:
        stream.read_to(HEARD)
        until(lambda: site.tables.turn(stream.turn_id)["partial_text"] == HEARD, "the checkpoint")
        site.kill()
        site.start()
        stream.read_all()
    assert [event["type"] for event in stream.seen[-2:]] == ["error", "done"]
    assert stream.seen[-2]["error"]["code"] == "interrupted"
    until(lambda: "succeeded" in site.said(), f"the message to be given again; it said {site.said()}")
    turn = site.tables.turn(stream.turn_id)
    assert (turn["status"], turn["active_conversation"]) == ("interrupted", None)
    assert site.tables.messages(stream.conversation_id) == [
        ("user", "Tell me a tale", "complete"),
        ("assistant", HEARD, "interrupted"),
    ]
    (attempt,) = site.tables.attempts(stream.turn_id)
    assert (attempt["outcome"], attempt["usage_source"]) == ("interrupted", "estimated")
    assert len(fake_openai.calls) == 1


@ON_RABBITMQ
def test_a_worker_that_has_to_end_at_once(site: Site, fake_openai: FakeOpenAI, gate: Gate) -> None:
    """SIGQUIT: what has arrived is kept, the turn is over before the worker is."""
    worker = site.start()
    fake_openai.script(Answer(chunks=PIECES, stall_after=2, stall=gate))
    with site.browser.stream("Tell me a tale") as stream:
        stream.read_to(HEARD)
        worker.send_signal(signal.SIGQUIT)
        stream.read_all()
    worker.wait(PATIENCE)
    assert stream.seen[-2]["error"]["code"] == "interrupted", site.said()
    assert site.tables.turn(stream.turn_id)["status"] == "interrupted"
    assert site.tables.messages(stream.conversation_id)[-1] == ("assistant", HEARD, "interrupted")
    assert "was interrupted" in site.said()
    (attempt,) = site.tables.attempts(stream.turn_id)
    assert attempt["outcome"] == "interrupted"
    fake_openai.wait_for(1, disconnected=True)


@ON_RABBITMQ
def test_a_message_that_is_lost(site: Site, fake_openai: FakeOpenAI) -> None:
    """Whoever follows the turn has it handed to another worker, once its patience is over."""
    site.server.configure(OPENAI_QUEUE_PATIENCE=1)
    fake_openai.script("Here I am")
    with ExitStack() as stack:
        with site.deaf():
            stream = stack.enter_context(site.browser.stream("Anybody?"))
            assert next(iter(stream))["type"] == "start"
            site.server.configure(OPENAI_QUEUE_PATIENCE=30)
        stream.read_all()
    assert stream.text == "Here I am", stream.seen
    assert len(fake_openai.calls) == 1
    turn = site.tables.turn(stream.turn_id)
    assert turn["status"] == "completed"


@ON_RABBITMQ
def test_a_time_limit(site: Site, fake_openai: FakeOpenAI, gate: Gate) -> None:
    """It interrupts the turn, whose text is kept."""
    fake_openai.script(Answer(chunks=PIECES, stall_after=2, stall=gate))
    with ExitStack() as stack:
        with site.deaf():
            stream = stack.enter_context(site.browser.stream("Tell me a tale"))
            assert next(iter(stream))["type"] == "start"
        site.app.send_task(
            "django_chatgpt.tasks.process_ai_message_async", args=[stream.turn_id], soft_time_limit=2
        )
        stream.read_all()
    assert stream.text == HEARD
    assert stream.seen[-2]["error"]["code"] == "interrupted"
    assert "SoftTimeLimitExceeded" in site.said()
    assert site.tables.turn(stream.turn_id)["status"] == "interrupted"


@ON_RABBITMQ
def test_a_socket_is_told_what_a_worker_says(site: Site, fake_openai: FakeOpenAI, gate: Gate) -> None:
    """And stops it, from a process that has nothing to do with it but the database."""
    pytest.importorskip("channels")
    pytest.importorskip("websockets")
    from tests.servers.sockets import open_socket

    site.start()
    fake_openai.script(
        Answer(chunks=PIECES, stall_after=2, stall=gate), Answer(chunks=["Half ", "more"], stall_after=1)
    )
    server = Server("uvicorn", site.environment, site.folder / "uvicorn.log").start()
    browser = site.browser.visit(server)
    try:
        with open_socket(browser) as socket:
            socket.read()
            socket.send("chat_message", message="Tell me a tale")
            socket.read_text(HEARD)
            socket.send("ping", ref="p")
            socket.read_to("pong")
            gate.open()
            assert socket.read_to("message_complete")["reason"] == "stop"
            assert socket.text == "".join(PIECES)
            told = site.tables.turn(socket.events[0]["turn_id"])
            assert [frame["id"] for frame in socket.events] == list(range(1, len(socket.events) + 1))
            socket.send("chat_message", message="And more")
            socket.read_text("Half ")
            turn_id = socket.events[-1]["turn_id"]
            socket.send("cancel", turn_id=turn_id)
            assert socket.read_to("message_complete")["reason"] == "cancelled"
    finally:
        browser.close()
        server.stop()
    assert told["status"] == "completed"
    assert ended(site, turn_id) == "cancelled"
    assert site.said().count("process_ai_message_async") >= 2
    fake_openai.wait_for(1, disconnected=True)
