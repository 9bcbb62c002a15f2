"""What is known of the server that a turn runs in: whether it goes away, and how much time it leaves."""

from __future__ import annotations

import signal
import sys
import time
from importlib import import_module
from typing import Any

#: How long before gunicorn kills a worker its turns are ended: they need time to hear of it and be stored.
SPARE_SECONDS = 5.0

_going_since: float | None = None


def overdue() -> bool:
    """Whether this is a worker of gunicorn that was told to end, and will be killed soon.

    It counts from when it first sees that, so it has to be asked now and then as long as turns run. From any
    thread: gunicorn's handler of SIGTERM is looked at, and none is installed.
    """
    global _going_since
    handler = signal.getsignal(signal.SIGTERM)
    server = getattr(getattr(handler, "previous", handler), "__self__", None)
    worker, going = server, getattr(server, "alive", True) is False
    if getattr(server, "should_exit", False):  # uvicorn, which may be run by gunicorn
        notify = getattr(getattr(server, "config", None), "callback_notify", None)
        worker, going = getattr(notify, "__self__", None), True
    grace = getattr(getattr(worker, "cfg", None), "graceful_timeout", None)
    if not going or not isinstance(grace, int | float):
        return False
    if _going_since is None:
        _going_since = time.monotonic()
    return time.monotonic() - _going_since >= grace - min(SPARE_SECONDS, grace / 2)


def reactor() -> Any:
    """Twisted's reactor, if this is called from what it runs: daphne; else None."""
    found = sys.modules.get("twisted.internet.reactor")
    if found is None or not found.running or not import_module("twisted.python.threadable").isInIOThread():
        return None
    return found
