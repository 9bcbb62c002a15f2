"""Processes tell each other of which turns something has been written, where there is a Redis.

Ids of turns are published, and never anything else. What was written is in the log; who is told looks there.
Nobody waits for Redis: one thread publishes what is left for it, another listens as long as somebody in the
process waits, and each goes on trying while Redis is away.

    publish(ids)     leave ids to be told to the other processes; returns at once
    listen()         have this process told, from soon on
    is_live()        whether it is
    join(ear)        who in this process wants to hear
"""

from __future__ import annotations

import atexit
import logging
import os
import threading
import time
from collections.abc import Callable, Collection, Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID, uuid4

from django.conf import settings

from django_chatgpt.conf import missing_extra
from django_chatgpt.exceptions import NotConfiguredError
from django_chatgpt.runtime.address import Address, find_address

CHANNEL: Final = "django_chatgpt:wake:1"
CONNECT_SECONDS: Final = 0.5
TICK_SECONDS: Final = 0.25
PING_SECONDS: Final = 0.4  # of silence, after which Redis is asked whether it is there
SILENCE_SECONDS: Final = 0.9  # after which it is not
AGAIN_SECONDS: Final = 0.5
IDLE_SECONDS: Final = 60.0  # after which a thread ends that has nothing to do
IDS_PER_MESSAGE: Final = 500
MOST_PENDING: Final = 10_000

logger = logging.getLogger("django_chatgpt.wakes")


@dataclass(frozen=True, slots=True)
class Ear:
    """Somebody who is told: `heard` of each id, `roused` where some may have been missed.

    `waits` says whether there is anything to hear at all.
    """

    heard: Callable[[UUID], object]
    roused: Callable[[], object]
    waits: Callable[[], bool]


_ears: list[Ear] = []


def join(ear: Ear) -> None:
    """Have somebody told, for as long as the process lives."""
    _ears.append(ear)


class Outbox:
    """What is to be published, each id once, and the thread that does it."""

    def __init__(self, address: Address, sender: str) -> None:
        self._address = address
        self._sender = sender
        self._pending: set[UUID] = set()
        self._due = threading.Event()
        self._closed = threading.Event()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def put(self, ids: Iterable[UUID]) -> None:
        with self._lock:
            if len(self._pending) < MOST_PENDING:
                self._pending.update(ids)
            if self._thread is None and not self._closed.is_set():
                self._thread = threading.Thread(
                    target=self._run, name="django-chatgpt-wakes-out", daemon=True
                )
                self._thread.start()
        self._due.set()

    def close(self) -> None:
        """Publish what is left, if that is possible at once, and end."""
        self._closed.set()
        self._due.set()
        if (thread := self._thread) is not None:
            thread.join(2 * CONNECT_SECONDS)

    def _run(self) -> None:
        client: Any = None
        fails = False
        while not self._closed.is_set():
            if not self._due.wait(IDLE_SECONDS):
                with self._lock:
                    if not self._pending:
                        self._thread = None
                        break
            self._due.clear()
            with self._lock:
                ids, self._pending = self._pending, set()
            try:
                client = client or _connect(self._address)
                self._send(client, sorted(ids))
                fails = False
            except Exception as error:
                if not fails:
                    logger.warning("Other processes can't be woken: %s", _named(error))
                _close(client)
                client, fails = None, True
                with self._lock:
                    self._pending |= ids
                self._due.set()
                self._closed.wait(AGAIN_SECONDS)
        if self._pending and not fails:
            with suppress(Exception):
                client = client or _connect(self._address)
                self._send(client, sorted(self._pending))
        _close(client)

    def _send(self, client: Any, ids: Collection[UUID]) -> None:
        texts = [each.hex for each in ids]
        for start in range(0, len(texts), IDS_PER_MESSAGE):
            client.publish(CHANNEL, " ".join([self._sender, *texts[start : start + IDS_PER_MESSAGE]]))


class Inbox:
    """The thread that hears what others publish. `live`: whatever is published from now on is heard."""

    def __init__(self, address: Address, sender: str) -> None:
        self.live = False
        self._address = address
        self._sender = sender
        self._closed = threading.Event()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._wanted_at = 0.0
        self._told = False

    def open(self) -> None:
        """Listen, if that is not done yet."""
        if self._thread is not None:
            return
        with self._lock:
            if self._thread is None and not self._closed.is_set():
                self._wanted_at = time.monotonic()
                self._thread = threading.Thread(target=self._run, name="django-chatgpt-wakes-in", daemon=True)
                self._thread.start()

    def close(self) -> None:
        self.live = False
        self._closed.set()
        if (thread := self._thread) is not None and thread is not threading.current_thread():
            thread.join(2 * CONNECT_SECONDS)

    def _run(self) -> None:
        while not self._ended():
            try:
                self._listen()
            except Exception as error:
                if not self._told:
                    logger.warning("This process is not woken by others: %s", _named(error))
                self._told = True
                # They wait for news in the longer way, of which there is none any more.
                for ear in _ears:
                    ear.roused()
                self._closed.wait(AGAIN_SECONDS)

    def _ended(self) -> bool:
        """Whether nobody has waited for so long that the thread may go."""
        with self._lock:
            if self._closed.is_set() or self._is_idle():
                self._thread = None
                return True
        return False

    def _is_idle(self) -> bool:
        now = time.monotonic()
        if any(ear.waits() for ear in _ears):
            self._wanted_at = now
        return now - self._wanted_at > IDLE_SECONDS

    def _listen(self) -> None:
        """Hear what is published until nobody wants to; raises what goes wrong."""
        client = _connect(self._address)
        subscription = client.pubsub()
        try:
            subscription.subscribe(CHANNEL)
            heard = asked = looked = time.monotonic()
            while not self._closed.is_set():
                message = subscription.get_message(timeout=TICK_SECONDS)
                now = time.monotonic()
                if message is not None:
                    heard = now
                    self._take(message)
                elif now - heard > SILENCE_SECONDS:
                    raise TimeoutError
                if now - max(heard, asked) > PING_SECONDS:
                    subscription.ping()
                    asked = now
                if now - looked > IDLE_SECONDS / 4:
                    looked = now
                    if self._is_idle():
                        return
        finally:
            self.live = False
            _close(subscription)
            _close(client)

    def _take(self, message: dict[str, Any]) -> None:
        if message["type"] == "subscribe":
            self.live, self._told = True, False
            # What was published before, nobody has heard.
            for ear in _ears:
                ear.roused()
        if message["type"] != "message":
            return
        data = message["data"]
        # Whoever may publish there may publish anything.
        text = data.decode(errors="replace") if isinstance(data, bytes) else str(data)
        sender, *ids = text.split() or [""]
        if sender == self._sender:
            return
        for each in ids:
            with suppress(ValueError):
                turn_id = UUID(each)
                for ear in _ears:
                    ear.heard(turn_id)


class Relay:
    """Both directions, with one server."""

    def __init__(self, address: Address) -> None:
        sender = uuid4().hex
        self.address = address
        self.outbox = Outbox(address, sender)
        self.inbox = Inbox(address, sender)

    def close(self) -> None:
        self.outbox.close()
        self.inbox.close()


_relay: Relay | None = None
_read_from: tuple[Any, ...] = ()
_lock = threading.Lock()


def publish(ids: Collection[UUID]) -> None:
    """Tell other processes of these turns, soon; without Redis, nobody."""
    relay = _current()
    if relay is not None and ids:
        relay.outbox.put(ids)


def listen() -> None:
    """Have this process told, from soon on, for as long as somebody waits."""
    relay = _current()
    if relay is not None:
        relay.inbox.open()


def is_live() -> bool:
    """Whether this process is told of whatever others publish from now on."""
    relay = _relay
    return relay is not None and relay.inbox.live


def close() -> None:
    """End the threads; the next use starts others."""
    global _relay, _read_from
    with _lock:
        relay, _relay, _read_from = _relay, None, ()
    if relay is not None:
        relay.close()


def _current() -> Relay | None:
    """The relay that the settings want, as they are now."""
    source = (
        getattr(settings, "OPENAI_WAKE_URL", None),
        settings.CACHES,
        getattr(settings, "CHANNEL_LAYERS", None),
    )
    if len(_read_from) == len(source) and all(map(_same, _read_from, source)):
        return _relay
    return _renewed(source)


def _same(one: object, other: object) -> bool:
    return one is other


def _renewed(source: tuple[Any, ...]) -> Relay | None:
    global _relay, _read_from
    with _lock:
        try:
            address = find_address()
        except NotConfiguredError as error:
            logger.error("Other processes are not woken: %s", error)
            address = None
        old = _relay
        if address != (old and old.address):
            _relay = None if address is None else Relay(address)
            if old is not None:
                old.close()
        _read_from = source
        return _relay


def _connect(address: Address) -> Any:
    try:
        import redis
        from redis.backoff import NoBackoff
        from redis.retry import Retry
    except ModuleNotFoundError as error:
        if error.name != "redis":
            raise
        raise NotConfiguredError(missing_extra("redis")) from error
    told = {
        **address.options,
        "socket_timeout": CONNECT_SECONDS,
        "socket_connect_timeout": CONNECT_SECONDS,
        "retry": Retry(NoBackoff(), 0),
    }
    return redis.Redis.from_url(address.url, **told)


def _close(thing: Any) -> None:
    if thing is not None:
        with suppress(Exception):
            thing.close()


def _named(error: Exception) -> str:
    """What may be written of an error: its name, as what it says may hold the password of the server."""
    return str(error) if isinstance(error, NotConfiguredError) else type(error).__name__


def _new_process() -> None:
    """Threads and connections do not survive a fork."""
    global _relay, _read_from, _lock
    _relay, _read_from, _lock = None, (), threading.Lock()


# What a short process has to tell, it tells before it ends.
atexit.register(close)
if hasattr(os, "register_at_fork"):  # pragma: no branch
    os.register_at_fork(after_in_child=_new_process)
