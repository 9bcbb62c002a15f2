"""The one bridge to the database: a hop is one plain function, in one thread, that leaves nothing behind.

A stream may last minutes; a connection held meanwhile would starve every other request. So a hop gives
its connection back before it returns, unless a transaction around it (a test case, a caller's `atomic`)
still needs it.
"""

from __future__ import annotations

import asyncio
import contextvars
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar
from functools import partial
from typing import TypeVar

from asgiref.sync import SyncToAsync, sync_to_async
from django.db import InterfaceError, OperationalError, connections
from django.db.backends.signals import connection_created

T = TypeVar("T")

POOL_THREADS = 8

_pool: ThreadPoolExecutor


def _new_pool() -> None:
    """Threads do not survive a fork; a forked worker starts with a pool of its own."""
    global _pool
    _pool = ThreadPoolExecutor(max_workers=POOL_THREADS, thread_name_prefix="django-chatgpt-db")


_new_pool()
if hasattr(os, "register_at_fork"):  # pragma: no branch
    os.register_at_fork(after_in_child=_new_pool)


def only_here() -> bool:
    """Whether this thread has data that no other thread sees: an open transaction, a database in memory."""
    for connection in connections.all(initialized_only=True):
        if connection.in_atomic_block:
            return True
        is_in_memory = getattr(connection, "is_in_memory_db", None)
        if is_in_memory is not None and is_in_memory():
            return True
    return False


def release_connections(*, obsolete_only: bool = False) -> None:
    """Close this thread's connections, or return them to their pool; those in a transaction stay."""
    for connection in connections.all(initialized_only=True):
        if connection.in_atomic_block:
            continue
        if obsolete_only:
            connection.close_if_unusable_or_obsolete()
        else:
            connection.close()


def hop(function: Callable[[], T]) -> T:
    """Run `function` here and release the connections it used."""
    try:
        return function()
    finally:
        release_connections()


_here = threading.local()
_failures = 0


def _pool_hop(function: Callable[[], T]) -> T:
    """A thread of the pool may keep a connection that CONN_MAX_AGE lets live: their number is bounded.

    Where one has failed, as when the database was restarted, those of the other threads are not trusted.
    """
    global _failures
    release_connections(obsolete_only=getattr(_here, "failures", 0) == _failures)
    _here.failures = _failures
    try:
        return function()
    except (OperationalError, InterfaceError):
        _failures += 1
        raise
    finally:
        release_connections(obsolete_only=True)


# Whether the thread of this request has opened a connection; asgiref brings back what threads set.
_opened: ContextVar[bool] = ContextVar("django_chatgpt_opened_connection", default=False)


def _note_opened(**_: object) -> None:
    _opened.set(True)


connection_created.connect(_note_opened, dispatch_uid="django_chatgpt.database")


async def arelease() -> None:
    """Give back what the thread of this request holds: middleware may have used the database there.

    Django would keep it until the response is closed, which for a stream is minutes away.
    """
    is_new_thread = SyncToAsync.thread_sensitive_context.get(None) is not None
    if _opened.get() or not is_new_thread:
        await sync_to_async(release_connections, thread_sensitive=True)()
        _opened.set(False)


async def ahop(function: Callable[[], T]) -> T:
    """Run `function` in a thread.

    A server's request (asgiref gives each a context of its own) is served by a small pool. Anywhere else,
    in a test case, a script or under `async_to_sync`, it runs where Django keeps the connection of the
    code that waits, so that it sees that code's transaction.
    """
    if SyncToAsync.thread_sensitive_context.get(None) is None:
        return await sync_to_async(hop, thread_sensitive=True)(function)
    context = contextvars.copy_context()
    return await asyncio.get_running_loop().run_in_executor(_pool, partial(context.run, _pool_hop, function))
