"""Indexes follow their objects: a change is noted with it, and taken in by a thread after the commit.

Nobody who saves an object waits for the provider or fails because of it. What the thread does not get done,
as the provider can't be reached or the process ends, stays noted, for the next change or for
`manage.py chatgpt_index`.
"""

from __future__ import annotations

import logging
import os
import threading
from functools import partial
from typing import Any

from django.apps import apps
from django.db import models, transaction
from django.db.models.signals import post_delete, post_save

from django_chatgpt.database import hop, only_here
from django_chatgpt.exceptions import AIServiceError
from django_chatgpt.indexes import Index, index_registry
from django_chatgpt.storage import indexes as storage

logger = logging.getLogger("django_chatgpt.indexes")


def watch(index: Index) -> None:
    """Have an index follow the objects of its model, however they are saved and deleted one by one."""
    if index.problems:
        return
    for model in _models_of(index.model):
        uid = f"django_chatgpt.index.{index.name}"
        post_save.connect(partial(_saved, index), sender=model, weak=False, dispatch_uid=uid)
        post_delete.connect(partial(_deleted, index), sender=model, weak=False, dispatch_uid=uid)


def unwatch(index: Index) -> None:
    """Have it follow nothing any more."""
    for model in _models_of(index.model):
        uid = f"django_chatgpt.index.{index.name}"
        post_save.disconnect(sender=model, dispatch_uid=uid)
        post_delete.disconnect(sender=model, dispatch_uid=uid)


def _models_of(model: type[models.Model]) -> list[type[models.Model]]:
    """The model, its proxies and its children: each of them tells of its own objects alone."""
    concrete = model._meta.concrete_model
    assert concrete is not None
    return [each for each in apps.get_models() if issubclass(each, concrete)]


def _saved(index: Index, instance: Any, created: bool, using: str, **kwargs: Any) -> None:
    storage.mark(index.name, index.key_of(instance), is_new=created)
    if index.background:
        transaction.on_commit(partial(refresher.wake, index), using=using, robust=True)


def _deleted(index: Index, instance: Any, using: str, **kwargs: Any) -> None:
    key = index.key_of(instance)
    # Of those that are deleted together, the first asks to be told of the commit, for all.
    last = transaction.get_connection(using).run_on_commit[-1:]
    savepoints = set(transaction.get_connection(using).savepoint_ids)
    for known, waiting, _ in last:
        if isinstance(waiting, _Deletion) and waiting.index is index and known == savepoints:
            waiting.keys.append(key)
            return
    transaction.on_commit(_Deletion(index, key), using=using, robust=True)


class _Deletion:
    """Objects that were deleted in one transaction."""

    def __init__(self, index: Index, key: str) -> None:
        self.index = index
        self.keys = [key]

    def __call__(self) -> None:
        from django_chatgpt.services import indexing

        # What was made again under the same key meanwhile, stays.
        there = indexing.present(self.index, self.keys)
        storage.forget(self.index.name, [key for key in self.keys if key not in there])
        for key in there:
            storage.mark(self.index.name, key, is_new=False)


class Refresher:
    """One thread in the process, as long as there is something to do."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: dict[str, Index] = {}
        self._thread: threading.Thread | None = None

    def wake(self, index: Index) -> None:
        """Take in the changes of an index soon. Returns at once."""
        if only_here():
            return  # no other thread would see the change
        with self._lock:
            self._waiting[index.name] = index
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="django-chatgpt-indexes", daemon=True)
                self._thread.start()

    def join(self, timeout: float) -> bool:
        """Wait until there is nothing to do, at most so many seconds; whether that is so."""
        thread = self._thread
        if thread is not None:
            thread.join(timeout)
        return self._thread is None

    def _work(self) -> None:
        while True:
            with self._lock:
                if not self._waiting:
                    self._thread = None
                    return
                _, index = self._waiting.popitem()
            try:
                hop(partial(_refresh, index))
            except Exception:
                logger.exception("Index %s could not be brought up to date.", index.name)


def _refresh(index: Index) -> None:
    from django_chatgpt.services import indexing

    try:
        indexing.refresh(index_registry.get(index))
    except AIServiceError as error:
        logger.warning(
            "Index %s is not up to date (%s); manage.py chatgpt_index goes on with it.",
            index.name,
            error.code,
        )


refresher = Refresher()


def _new_refresher() -> None:
    """Threads do not survive a fork."""
    refresher.__init__()  # type: ignore[misc]


if hasattr(os, "register_at_fork"):  # pragma: no branch
    os.register_at_fork(after_in_child=_new_refresher)
