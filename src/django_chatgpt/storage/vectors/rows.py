"""The vectors of a scope as the database gives them: packed keys and matrices, no model instances.

A key is the 16 bytes of the row's UUID, which sort as UUIDs do.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any
from uuid import UUID

import numpy as np
from django.core.exceptions import EmptyResultSet
from django.db import connections
from django.db.models import QuerySet

from django_chatgpt.models import EmbeddingVector
from django_chatgpt.models.embedding import EmbeddingVectorQuerySet
from django_chatgpt.storage.primary import primary
from django_chatgpt.storage.vectors.backend import Scope

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Keys = NDArray[np.bytes_]
    Matrix = NDArray[np.float32]
    Positions = NDArray[np.intp]

KEY = np.dtype("S16")

#: About 6 MB of vectors of 1536 numbers.
ROWS_PER_READ = 1000

#: SQLite allows few parameters in a statement.
KEYS_PER_READ = 500


def of_scope(scope: Scope) -> EmbeddingVectorQuerySet:
    """The rows of `scope`, where the app writes."""
    return EmbeddingVector.objects.using(primary()).filter(
        owner_key=scope.owner_key, model=scope.model, dimensions=scope.dimensions
    )


def read_all(scope: Scope) -> Iterator[tuple[Keys, Matrix]]:
    """All rows of `scope`, some at a time, in the order of the index that has them side by side.

    No cursor stays open in between: rows that are written meanwhile may or may not be among them.
    """
    rows = of_scope(scope).order_by("content_hash")
    page = rows
    while found := raw(page.values_list("content_hash", "pk", "vector")[:ROWS_PER_READ]):
        yield keys_of(row[1] for row in found), floats([row[2] for row in found], scope.dimensions)
        page = rows.filter(content_hash__gt=found[-1][0])


def read_some(scope: Scope, keys: Sequence[bytes]) -> Iterator[tuple[Keys, Matrix]]:
    """Those of the rows that are in `scope`, some at a time."""
    for start in range(0, len(keys), KEYS_PER_READ):
        wanted = [UUID(bytes=key) for key in keys[start : start + KEYS_PER_READ]]
        # By key alone: asked for the scope too, SQLite walks through all of it.
        asked = EmbeddingVector.objects.using(primary()).filter(pk__in=wanted)
        values = raw(asked.values_list("pk", "vector", "owner_key", "model", "dimensions"))
        place = (scope.owner_key, scope.model, scope.dimensions)
        found = [row for row in values if tuple(row[2:]) == place]
        if found:
            yield keys_of(row[0] for row in found), floats([row[1] for row in found], scope.dimensions)


def keys_within(scope: Scope, within: EmbeddingVectorQuerySet) -> Keys:
    """The keys of the rows of `scope` that are in `within`, as far as the database can compare them."""
    if within.query.is_sliced:
        return keys_of(row[0] for row in raw(within.using(primary()).values_list("pk")))
    chosen = of_scope(scope).filter(pk__in=within.using(primary()).order_by().values("pk"))
    return keys_of(row[0] for row in raw(chosen.order_by().values_list("pk")))


def raw(values: QuerySet[Any, Any]) -> list[Sequence[Any]]:
    """What the database answers, without the conversions of the ORM, which take longer than the reading."""
    try:
        sql, parameters = values.query.get_compiler(using=values.db).as_sql()
    except EmptyResultSet:
        return []
    with connections[values.db].cursor() as cursor:
        cursor.execute(sql, parameters)
        return list(cursor.fetchall())


def keys_of(values: Iterator[Any]) -> Keys:
    """Keys from what a database has for a UUID: a UUID, 32 or 36 characters."""
    packed = b"".join(
        value.bytes if isinstance(value, UUID) else bytes.fromhex(value.replace("-", "")) for value in values
    )
    return np.frombuffer(packed, dtype=KEY)


def floats(vectors: list[Any], dimensions: int) -> Matrix:
    """Stored vectors as the rows of a matrix."""
    return np.frombuffer(b"".join(vectors), dtype="<f4").reshape(len(vectors), dimensions)


def unpack_keys(packed: bytes) -> Keys:
    """Keys that lie one behind the other."""
    return np.frombuffer(packed, dtype=KEY)


def pack_keys(keys: Keys) -> list[bytes]:
    """Each key whole: NumPy would cut trailing zeros off."""
    packed = keys.tobytes()
    return [packed[start : start + KEY.itemsize] for start in range(0, len(packed), KEY.itemsize)]


def find(keys: Keys, wanted: Keys) -> Positions:
    """Where in `keys` those of `wanted` are, ascending."""
    if not len(keys) or not len(wanted):
        return np.empty(0, dtype=np.intp)
    ours, theirs = low_halves(keys), low_halves(wanted)
    order = np.argsort(theirs)
    theirs = theirs[order]
    if (theirs[1:] == theirs[:-1]).any():  # keys that were not made at random
        return np.flatnonzero(np.isin(keys, wanted))
    at = np.searchsorted(theirs, ours)
    at[at == len(theirs)] = 0
    likely = np.flatnonzero(theirs[at] == ours)
    positions: Positions = likely[keys[likely] == wanted[order[at[likely]]]]
    return positions


def low_halves(keys: Keys) -> NDArray[np.uint64]:
    """The half of each key that is random in a UUID, as a number."""
    halves: NDArray[np.uint64] = np.ascontiguousarray(keys).view(np.uint64).reshape(-1, 2)[:, 1]
    return halves
