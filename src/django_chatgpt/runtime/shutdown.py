"""The last seconds of a server with an event loop: its turns are ended as interrupted, with their text.

Until then they go on, as long as the server waits for those who listen. After that, servers differ:

- uvicorn raises the signal again that it was sent, which ends the process between two statements. So once a
  SIGTERM has come, another is held back while turns run. The loop is then wound up as after Ctrl-C, every
  task is cancelled, and the signal gets through as soon as the turns are stored.
- Twisted, which runs daphne, stops its loop and cancels nothing. Before, it calls those who want to know.

gunicorn kills; its turns have to end before, see `servers.overdue`.
"""

from __future__ import annotations

import asyncio
import signal
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from importlib import import_module
from types import FrameType
from typing import Any
from weakref import WeakKeyDictionary, WeakSet

from django_chatgpt.runtime import servers, stops

#: How long the process may outlive its server, for turns to be stored.
END_SECONDS = 5.0
LOOK_SECONDS = 0.05

_attended: WeakSet[asyncio.AbstractEventLoop] = WeakSet()
_seeing_off: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Task[None]] = WeakKeyDictionary()
_begun = False


def attend() -> None:
    """A turn begins on the running event loop: have it ended in time should the server go away."""
    loop = asyncio.get_running_loop()
    if loop not in _attended:
        _attended.add(loop)
        reactor = servers.reactor()
        if reactor is not None:
            reactor.addSystemEventTrigger("before", "shutdown", _before_twisted_stops, loop)
        elif threading.current_thread() is threading.main_thread():
            _chain()
    if _begun and threading.current_thread() is threading.main_thread():
        _hold(loop)


def has_begun() -> bool:
    """Whether the process is going away: who is not listened to any more was not left by a person."""
    return _begun


class Handler:
    """Hears of SIGTERM after the handler that was there, which decides what happens."""

    def __init__(self, previous: Callable[[int, FrameType | None], Any]) -> None:
        self.previous = previous

    def __call__(self, number: int, frame: FrameType | None) -> None:
        global _begun
        self.previous(number, frame)
        _begun = True
        with suppress(RuntimeError):  # no loop runs
            _hold(asyncio.get_running_loop())


def _chain() -> None:
    """Install the handler, unless nobody handles the signal: then it is to end the process there and then."""
    previous = signal.getsignal(signal.SIGTERM)
    if callable(previous) and not isinstance(previous, Handler) and hasattr(signal, "pthread_sigmask"):
        signal.signal(signal.SIGTERM, Handler(previous))


def _hold(loop: asyncio.AbstractEventLoop) -> None:
    """Hold back what the main thread raises, until no turn runs. What others send finds another thread."""
    if stops.any_runs():
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        loop.call_soon_threadsafe(_start, loop)


def _start(loop: asyncio.AbstractEventLoop) -> None:
    task = _seeing_off.get(loop)
    if task is None or task.done():
        _seeing_off[loop] = loop.create_task(_see_off())


async def _see_off() -> None:
    try:
        while stops.any_runs():  # noqa: ASYNC110 - they may end in any thread
            await asyncio.sleep(LOOK_SECONDS)
    except asyncio.CancelledError:
        # Whoever cancels this cancels everything: the loop is being wound up.
        await _interrupted()
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})


async def _interrupted() -> None:
    """Interrupt all turns and wait for their end, but not too long."""
    stops.interrupt_all()
    until = time.monotonic() + END_SECONDS
    while stops.any_runs() and time.monotonic() < until:  # noqa: ASYNC110 - they may end in any thread
        await asyncio.sleep(LOOK_SECONDS)


def _before_twisted_stops(loop: asyncio.AbstractEventLoop) -> Any:
    global _begun
    _begun = True
    return import_module("twisted.internet.defer").Deferred.fromFuture(loop.create_task(_interrupted()))
