"""The threads that the site's synchronous functions run in.

They are daemons, unlike those of the standard library's executor: a function that never returns must not keep
the process from ending. Their number is bounded; one that is left behind keeps its place until it returns.
"""

from __future__ import annotations

import contextvars
import logging
import os
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from typing import Final, TypeVar

from django.db import connections
from django.utils import timezone, translation

T = TypeVar("T")

MAX_THREADS: Final = 32

logger = logging.getLogger("django_chatgpt.functions")

_Job = Callable[[], None]


class Threads:
    """At most `limit` daemon threads; what finds none free waits in line."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._lock = threading.Lock()
        self._waiting: deque[_Job] = deque()
        self._running = 0

    @property
    def running(self) -> int:
        """How many threads are at work."""
        return self._running

    @property
    def waiting(self) -> int:
        """How much waits for one of them."""
        return len(self._waiting)

    def submit(self, function: Callable[[], T]) -> Future[T]:
        """Run `function` with the context, the language and the time zone of whoever calls this.

        A future that has not begun can be cancelled.
        """
        future: Future[T] = Future()
        context = contextvars.copy_context()
        language, zone = translation.get_language(), timezone.get_current_timezone()

        def surrounded() -> T:
            # Not every version of asgiref lets a thread see what Django keeps in the context.
            with translation.override(language), timezone.override(zone):
                try:
                    return function()
                finally:
                    _close_connections()

        def job() -> None:
            if not future.set_running_or_notify_cancel():
                return
            try:
                answer = context.run(surrounded)
            except BaseException as error:
                future.set_exception(error)
            else:
                future.set_result(answer)

        with self._lock:
            if self._running >= self.limit:
                self._waiting.append(job)
                # What nobody waits for any more goes, even if no thread is ever free again.
                future.add_done_callback(lambda _: self._forget(job))
                return future
            self._running += 1
        thread = threading.Thread(target=self._work, args=(job,), name="django-chatgpt-function", daemon=True)
        try:
            thread.start()
        except RuntimeError:
            with self._lock:
                self._running -= 1
            raise
        return future

    def _forget(self, job: _Job) -> None:
        with self._lock, suppress(ValueError):
            self._waiting.remove(job)

    def _work(self, job: _Job | None) -> None:
        while job is not None:
            job()
            with self._lock:
                job = self._waiting.popleft() if self._waiting else None
                if job is None:
                    self._running -= 1


def _close_connections() -> None:
    """Close what the function has opened; whether that goes well is nothing to its result."""
    for connection in connections.all(initialized_only=True):
        try:
            connection.close()
        except Exception:
            logger.warning("A database connection of a function could not be closed.", exc_info=True)


_threads = Threads(MAX_THREADS)


def threads() -> Threads:
    """The threads of this process."""
    return _threads


def _new_threads() -> None:
    """Threads do not survive a fork; a forked worker starts with none of them."""
    global _threads
    _threads = Threads(MAX_THREADS)


if hasattr(os, "register_at_fork"):  # pragma: no branch
    os.register_at_fork(after_in_child=_new_threads)
