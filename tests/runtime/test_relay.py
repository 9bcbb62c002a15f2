"""Processes wake each other by way of Redis, and get along without it at any moment."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import IO
from unittest import mock
from uuid import UUID, uuid4

import pytest
from pytest_django import Settings

from django_chatgpt.runtime import relay, wakes
from django_chatgpt.runtime.address import Address
from django_chatgpt.services import follow
from tests.redis_server import OwnRedis, until

ELSEWHERE = """
import sys
from uuid import UUID
from django.conf import settings
settings.configure(OPENAI_WAKE_URL=sys.argv[1])
from django_chatgpt.runtime import wakes
for line in sys.stdin:
    wakes.wake(*map(UUID, line.split()))
"""
FORKED = """
import os, sys, time
from uuid import uuid4
from django.conf import settings
settings.configure(OPENAI_WAKE_URL=sys.argv[1])
from django_chatgpt.runtime import relay, wakes

def live():
    until = time.monotonic() + 10
    while not relay.is_live() and time.monotonic() < until:
        time.sleep(0.01)
    return relay.is_live()

with wakes.waiting(uuid4(), print):
    assert live()
    child = os.fork()
    if not child:
        assert not relay.is_live() and not wakes._waiting
        with wakes.waiting(uuid4(), print):
            os._exit(0 if live() else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert relay.is_live()
"""


class Ring:
    """Somebody who waits."""

    def __init__(self, turn_id: UUID) -> None:
        self.turn_id = turn_id
        self.rung = threading.Event()
        self.times = 0

    def __call__(self) -> None:
        self.times += 1
        self.rung.set()

    def wait(self) -> None:
        assert self.rung.wait(20)
        self.rung.clear()

    def listens(self) -> None:
        """Wait until others are heard: then one is woken once, for what may have been missed."""
        self.wait()
        assert relay.is_live()
        self.times = 0


@pytest.fixture(autouse=True)
def closed() -> Iterator[None]:
    yield
    relay.close()


@pytest.fixture
def ring() -> Iterator[Ring]:
    made = Ring(uuid4())
    with wakes.waiting(made.turn_id, made):
        yield made


def threads() -> set[str]:
    return {each.name for each in threading.enumerate() if each.name.startswith("django-chatgpt-wakes")}


class TestWithout:
    """Where there is no Redis, there is nothing of all this."""

    def test_no_thread_and_the_usual_patience(self, ring: Ring, settings: Settings) -> None:
        settings.OPENAI_WAKE_URL = None
        wakes.wake(ring.turn_id)
        assert ring.times == 1
        assert threads() == set()
        assert wakes.patience(0.5) == 0.5

    def test_a_malformed_setting_fails_nobody(
        self, ring: Ring, settings: Settings, caplog: pytest.LogCaptureFixture
    ) -> None:
        settings.OPENAI_WAKE_URL = "http://host"
        with mock.patch.object(logging.getLogger("django_chatgpt.wakes"), "propagate", True):
            wakes.wake(ring.turn_id)
            wakes.wake(ring.turn_id)
        assert ring.times == 2
        assert len(caplog.records) == 1
        assert "OPENAI_WAKE_URL" in caplog.text

    def test_a_missing_extra_is_said_in_a_sentence(
        self, settings: Settings, caplog: pytest.LogCaptureFixture
    ) -> None:
        settings.OPENAI_WAKE_URL = "redis://127.0.0.1:9"
        logger = logging.getLogger("django_chatgpt.wakes")
        with mock.patch.dict(sys.modules, {"redis": None}), mock.patch.object(logger, "propagate", True):
            wakes.wake(uuid4())
            until(lambda: "django-chatgpt[redis]" in caplog.text, "it was said")
            relay.close()


@pytest.mark.parametrize("data", [b"", "", b" ", b"\xff\xfe", b"other \xff", "other no-id", b"other"])
def test_anybody_may_publish_anything(data: bytes | str, ring: Ring) -> None:
    inbox = relay.Inbox(Address("redis://127.0.0.1:9"), "this-process")
    inbox._take({"type": "message", "data": data})
    assert ring.times == 0
    inbox._take({"type": "message", "data": f"other nonsense {ring.turn_id.hex}"})
    assert ring.times == 1


@pytest.fixture(scope="module")
def redis_of_ours(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OwnRedis]:
    server = OwnRedis(tmp_path_factory.mktemp("redis"))
    yield server
    server.stop()


@pytest.fixture
def server(redis_of_ours: OwnRedis, settings: Settings) -> OwnRedis:
    if not redis_of_ours.is_running:
        redis_of_ours.start()
    settings.OPENAI_WAKE_URL = redis_of_ours.url
    return redis_of_ours


@pytest.fixture(scope="module")
def elsewhere(redis_of_ours: OwnRedis) -> Iterator[IO[str]]:
    """Another process, that writes of the turns it is told."""
    command = [sys.executable, "-c", ELSEWHERE, redis_of_ours.url]
    with subprocess.Popen(command, stdin=subprocess.PIPE, text=True, bufsize=1) as process:
        assert process.stdin is not None
        yield process.stdin


def write(elsewhere: IO[str], *turn_ids: UUID) -> None:
    elsewhere.write(" ".join(map(str, turn_ids)) + "\n")


@pytest.mark.redis
class TestWith:
    def test_woken_by_another_process(self, server: OwnRedis, ring: Ring, elsewhere: IO[str]) -> None:
        ring.listens()
        assert wakes.patience(0.5) == wakes.SAFETY_SECONDS
        write(elsewhere, uuid4(), ring.turn_id)
        ring.wait()
        assert ring.times == 1

    def test_one_that_waits_from_the_start_is_woken_as_soon_as_it_is_heard(
        self, server: OwnRedis, ring: Ring, elsewhere: IO[str]
    ) -> None:
        assert follow._patience() in (0.5, wakes.SAFETY_SECONDS)
        until(relay.is_live, "it listens")
        assert follow._patience() == wakes.SAFETY_SECONDS
        assert follow._patience(heartbeat=2.0) == 2.0

    def test_the_own_process_is_woken_once(self, server: OwnRedis, ring: Ring, elsewhere: IO[str]) -> None:
        ring.listens()
        last = Ring(uuid4())
        with wakes.waiting(last.turn_id, last):
            wakes.wake(ring.turn_id)
            assert ring.times == 1
            # What is published behind it has passed it.
            until(lambda: not _pending(), "it is published")
            write(elsewhere, last.turn_id)
            last.wait()
        assert ring.times == 1

    def test_stopped_and_back(self, server: OwnRedis, ring: Ring, elsewhere: IO[str]) -> None:
        ring.listens()
        server.stop()
        ring.wait()  # to look, and from now on in the shorter way
        until(lambda: not relay.is_live(), "it is noticed")
        assert wakes.patience(0.5) == 0.5
        wakes.wake(ring.turn_id)
        ring.wait()  # in the own process all is as ever
        server.start()
        ring.listens()
        write(elsewhere, ring.turn_id)
        ring.wait()

    def test_what_is_written_while_it_is_away_is_told_later(
        self, server: OwnRedis, ring: Ring, settings: Settings
    ) -> None:
        import redis

        server.stop()
        wakes.wake(ring.turn_id)
        server.start()
        with redis.Redis.from_url(server.url) as client, client.pubsub() as heard:
            heard.subscribe(relay.CHANNEL)
            until(lambda: ring.turn_id.hex in _text(heard.get_message(timeout=0.1)), "it was told")

    def test_one_that_is_silent_is_away(self, server: OwnRedis, ring: Ring) -> None:
        ring.listens()
        server.freeze()
        try:
            until(lambda: not relay.is_live(), "it is noticed")
        finally:
            server.thaw()
        until(relay.is_live, "it listens again")

    def test_nothing_but_ids_is_published(self, server: OwnRedis, ring: Ring) -> None:
        import redis

        with redis.Redis.from_url(server.url) as client, client.pubsub() as heard:
            heard.subscribe(relay.CHANNEL)
            until(lambda: heard.get_message(timeout=0.1), "it has subscribed")
            wakes.wake(ring.turn_id, UUID(int=7))
            said: list[str] = []
            until(lambda: said.append(_text(heard.get_message(timeout=0.1))) or said[-1], "it was told")
        sender, *ids = said[-1].split()
        assert len(sender) == 32
        assert set(ids) == {ring.turn_id.hex, UUID(int=7).hex}

    def test_what_strangers_publish_does_no_harm(
        self, server: OwnRedis, ring: Ring, elsewhere: IO[str]
    ) -> None:
        import redis

        ring.listens()
        with redis.Redis.from_url(server.url) as client:
            for nonsense in ("", "x", "x y z", b"\x00 \x01", "x" * 10_000):
                client.publish(relay.CHANNEL, nonsense)
        write(elsewhere, ring.turn_id)
        ring.wait()

    def test_threads_end_when_nobody_waits(self, server: OwnRedis, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(relay, "IDLE_SECONDS", 0.1)
        ring = Ring(uuid4())
        with wakes.waiting(ring.turn_id, ring):
            until(relay.is_live, "it listens")
            wakes.wake(ring.turn_id)
        until(lambda: not threads(), "they end")
        assert not relay.is_live()
        with wakes.waiting(ring.turn_id, ring):
            until(relay.is_live, "it listens again")

    def test_other_settings_are_heard_of_at_once(
        self, server: OwnRedis, ring: Ring, settings: Settings
    ) -> None:
        ring.listens()
        settings.OPENAI_WAKE_URL = False
        wakes.wake(ring.turn_id)
        assert not relay.is_live()
        assert threads() == set()

    def test_a_forked_process_listens_for_itself(self, server: OwnRedis) -> None:
        command = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", FORKED, server.url]
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, env=os.environ)
        assert done.returncode == 0, done.stderr

    def test_a_server_that_is_away_costs_the_turn_nothing(
        self, server: OwnRedis, ring: Ring, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Whoever writes never talks to Redis itself."""
        speakers: set[str] = set()
        connect = relay._connect

        def noted(address: relay.Address) -> object:
            speakers.add(threading.current_thread().name)
            return connect(address)

        monkeypatch.setattr(relay, "_connect", noted)
        server.stop()
        for _ in range(100):
            wakes.wake(ring.turn_id)
        until(lambda: "django-chatgpt-wakes-out" in speakers, "it was tried")
        assert threading.current_thread().name not in speakers


def _pending() -> bool:
    current = relay._relay
    return current is not None and bool(current.outbox._pending)


def _text(message: dict[str, object] | None) -> str:
    data = message["data"] if message else ""
    return data.decode() if isinstance(data, bytes) else str(data)
