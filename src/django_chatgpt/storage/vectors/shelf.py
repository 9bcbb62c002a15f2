"""What one process keeps of the vectors: built once, brought up to date by what changed, within bounds."""

from __future__ import annotations

import os
from collections import OrderedDict
from dataclasses import dataclass, field, replace
from threading import Lock
from typing import TypeAlias
from uuid import UUID
from weakref import WeakSet

import numpy as np
from django.db import IntegrityError, connections, transaction

from django_chatgpt.conf import conf
from django_chatgpt.models import EmbeddingChange, EmbeddingScope
from django_chatgpt.models.embedding_scope import CHANGES_KEPT, IDS_PER_CHANGE, note_change
from django_chatgpt.storage.primary import primary
from django_chatgpt.storage.vectors import rows
from django_chatgpt.storage.vectors.backend import Scope
from django_chatgpt.storage.vectors.snapshot import Encoding, Snapshot

Place: TypeAlias = tuple[str, Scope]

MEGABYTE = 2**20

HEAD = (
    f"SELECT version, head FROM {EmbeddingScope._meta.db_table} "
    "WHERE owner_key = %s AND model = %s AND dimensions = %s"
)

#: Small scopes are quickly read again, and what keeps each of them takes memory and time of its own.
MOST_SCOPES = 1024

#: Above so large a part of the rows there are, reading all is quicker than following the changes.
WORTH_FOLLOWING = 2


@dataclass(slots=True)
class Entry:
    """A scope that is kept; who brings it up to date has the lock, who only reads needs none."""

    lock: Lock = field(default_factory=Lock)
    snapshot: Snapshot | None = None


class Shelf:
    """The scopes used last, in one encoding, as many as OPENAI_VECTOR_MEMORY has room for."""

    def __init__(self, encoding: Encoding) -> None:
        self.encoding = encoding
        self._entries: OrderedDict[Place, Entry] = OrderedDict()
        self._lock = Lock()
        _shelves.add(self)

    def current(self, scope: Scope) -> Snapshot | None:
        """The scope as this thread sees it in the database; None if it is larger than the memory allowed.

        One query where nothing has changed. Threads that ask for what nobody has built wait for one that
        builds it.
        """
        version, head = head_of(scope)
        if head is None and note_anew(scope):
            version, head = head_of(scope)
        if head is None:
            return self._built(scope, version, head)
        entry = self._entry((primary(), scope))
        snapshot = entry.snapshot
        if snapshot is not None and snapshot.head == head:
            return snapshot
        with entry.lock:
            version, head = head_of(scope)
            snapshot = entry.snapshot
            if snapshot is None or snapshot.head != head:
                entry.snapshot = None if snapshot is None else self._followed(scope, snapshot)
                if entry.snapshot is None:
                    snapshot = None  # so that what it had is free before as much is built again
                    entry.snapshot = self._built(scope, version, head)
                snapshot = entry.snapshot
        self._make_room((primary(), scope))
        return snapshot

    def nbytes(self) -> int:
        """The memory of all that is kept."""
        with self._lock:
            return self._sum()

    def clear(self) -> None:
        """Keep nothing."""
        with self._lock:
            self._entries.clear()

    def _entry(self, place: Place) -> Entry:
        with self._lock:
            entry = self._entries.setdefault(place, Entry())
            self._entries.move_to_end(place)
            return entry

    def _built(self, scope: Scope, version: int, head: UUID | None) -> Snapshot | None:
        count = rows.of_scope(scope).count()
        width = self.encoding.width(scope.dimensions) * self.encoding.dtype().itemsize
        if count * (width + rows.KEY.itemsize) > allowed():
            return None
        snapshot = Snapshot.empty(version, head, self.encoding, scope.dimensions, count)
        for keys, matrix in rows.read_all(scope):
            snapshot = snapshot.with_rows(keys, self.encoding.encode(matrix))
        return snapshot

    def _followed(self, scope: Scope, snapshot: Snapshot) -> Snapshot | None:
        """The snapshot and what changed since; None if that is unknown or too much."""
        changes = list(
            EmbeddingChange.objects.using(primary())
            .filter(
                scope__owner_key=scope.owner_key,
                scope__model=scope.model,
                scope__dimensions=scope.dimensions,
                version__gte=snapshot.version,
            )
            .order_by("version")
            .values_list("pk", "version", "touched")[: CHANGES_KEPT + 1]
        )
        # What this state is of must still be there: it may have been rolled back, or be too long ago.
        if not changes or changes[0][0] != snapshot.head or len(changes) > CHANGES_KEPT:
            return None
        touched = [piece for _, _, piece in changes[1:]]
        if any(piece is None for piece in touched):
            return None
        keys = np.unique(rows.unpack_keys(b"".join(piece or b"" for piece in touched)))
        if len(keys) > max(snapshot.count // WORTH_FOLLOWING, IDS_PER_CHANGE):
            return None
        head, version, _ = changes[-1]
        followed = replace(snapshot, version=version, head=head).without(keys)
        for found, matrix in rows.read_some(scope, rows.pack_keys(keys)):
            followed = followed.with_rows(found, self.encoding.encode(matrix))
        return followed

    def _make_room(self, kept: Place) -> None:
        """Forget what was not used for longest; `kept` goes only if it alone is too much."""
        with self._lock:
            while len(self._entries) > MOST_SCOPES or (self._entries and self._sum() > allowed()):
                oldest = next((place for place in self._entries if place != kept), kept)
                del self._entries[oldest]

    def _sum(self) -> int:
        snapshots = (entry.snapshot for entry in self._entries.values())
        return sum(snapshot.nbytes for snapshot in snapshots if snapshot is not None)

    def _after_fork(self) -> None:
        """Other threads' locks stay locked in a forked process, where those threads are not."""
        self._lock = Lock()
        for entry in self._entries.values():
            entry.lock = Lock()


_shelves: WeakSet[Shelf] = WeakSet()


def _renew_locks() -> None:
    for shelf in list(_shelves):
        shelf._after_fork()


if hasattr(os, "register_at_fork"):  # pragma: no branch
    os.register_at_fork(after_in_child=_renew_locks)


def note_anew(scope: Scope) -> bool:
    """Note a change where nobody has, if there are rows: the scope was deleted, or filled past the models.

    Otherwise each search would read everything. False if there is none, or their owner goes right now.
    """
    user_ids = rows.of_scope(scope).values_list("user_id", flat=True)[:1]
    if not user_ids:
        return False
    try:
        with transaction.atomic(using=primary()):
            note_change(primary(), (scope.owner_key, scope.model, scope.dimensions), user_ids[0], None)
    except IntegrityError:
        return False
    return True


def allowed() -> int:
    """The memory that all vectors of this process may take, in bytes."""
    return conf.vector_memory * MEGABYTE


def head_of(scope: Scope) -> tuple[int, UUID | None]:
    """The version of a scope and the key of its last change; 0 and None where nothing was ever noted."""
    # In SQL, because each search asks it, and the ORM would take longer to put it together than to run it.
    with connections[primary()].cursor() as cursor:
        cursor.execute(HEAD, [scope.owner_key, scope.model, scope.dimensions])
        found = cursor.fetchone()
    if found is None:
        return 0, None
    version, head = found
    return version, head if head is None or isinstance(head, UUID) else UUID(head)
