"""A thirtieth of the memory: the signs of the numbers are compared, then the vectors of the likely rows.

Good on vectors that lie in clusters, as those of texts do, poor on others: measure it on your own with
`manage.py chatgpt_vectors recall`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np

from django_chatgpt.models.embedding import EmbeddingVectorQuerySet
from django_chatgpt.storage.vectors import ranking, rows
from django_chatgpt.storage.vectors.backend import Hit, Scope
from django_chatgpt.storage.vectors.exact import ExactBackend
from django_chatgpt.storage.vectors.shelf import Shelf
from django_chatgpt.storage.vectors.snapshot import Snapshot

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from django_chatgpt.storage.vectors.rows import Keys, Matrix, Positions

    Words = NDArray[np.uint64]
    Distances = NDArray[np.uint32]

BITS = 64

#: So much of the bits at a time that what is made of it stays in a core's cache.
ROWS_AT_ONCE = 4096


class SignBitsBackend(ExactBackend):
    """Subclass it to weigh recall against time: `candidates` for each row that is asked for, and at least."""

    candidates = 20
    least_candidates = 200

    def search(
        self,
        scope: Scope,
        vector: NDArray[np.float32],
        *,
        top_k: int,
        threshold: float | None = None,
        within: EmbeddingVectorQuerySet | None = None,
    ) -> list[Hit]:
        snapshot = signs.current(scope)
        if snapshot is None:
            return super().search(scope, vector, top_k=top_k, threshold=threshold, within=within)
        keys = snapshot.keys()
        chosen = snapshot.standing(
            np.arange(snapshot.size) if within is None else rows.find(keys, rows.keys_within(scope, within))
        )
        number = max(self.least_candidates, self.candidates * top_k)
        likely = chosen
        if len(chosen) > number:
            whole = len(chosen) == snapshot.size
            found = distances(snapshot, chosen, Signs().encode(vector[np.newaxis])[0], whole=whole)
            likely = chosen[nearest(found, keys[chosen], number)]
        pieces = rows.read_some(scope, rows.pack_keys(keys[likely]))
        return ranking.scan(pieces, vector, top_k, threshold)


class Signs:
    """A bit for each number, set where it is positive, in words of 64."""

    def width(self, dimensions: int) -> int:
        return -(-dimensions // BITS)

    def dtype(self) -> np.dtype[Any]:
        return np.dtype(np.uint64)

    def encode(self, matrix: Matrix) -> Words:
        packed = np.packbits(matrix > 0, axis=1)
        words = np.zeros((len(matrix), self.width(matrix.shape[1]) * 8), dtype=np.uint8)
        words[:, : packed.shape[1]] = packed
        return words.view(np.uint64)


#: The bits of this process.
signs = Shelf(Signs())

_pool: ThreadPoolExecutor


def _new_pool() -> None:
    """Threads do not survive a fork."""
    global _pool
    _pool = ThreadPoolExecutor(os.cpu_count(), thread_name_prefix="django-chatgpt-signs")


_new_pool()
if hasattr(os, "register_at_fork"):  # pragma: no branch
    os.register_at_fork(after_in_child=_new_pool)


def distances(snapshot: Snapshot, chosen: Positions, asked: Words, *, whole: bool) -> Distances:
    """In how many bits each of the chosen rows differs from the one asked for, by all cores."""
    found = np.empty(len(chosen), dtype=np.uint32)

    def compare(start: int, words: Words) -> None:
        differing = np.bitwise_count(words ^ asked)
        differing.sum(axis=1, dtype=np.uint32, out=found[start : start + len(words)])

    def pieces() -> Iterator[tuple[int, Words]]:
        if whole:
            for first, block in snapshot.filled():
                for start in range(0, len(block), ROWS_AT_ONCE):
                    yield first + start, block[start : start + ROWS_AT_ONCE]
        else:
            for start in range(0, len(chosen), ROWS_AT_ONCE):
                yield start, snapshot.take(chosen[start : start + ROWS_AT_ONCE])

    for done in [_pool.submit(compare, start, words) for start, words in pieces()]:
        done.result()
    return found


def nearest(found: Distances, keys: Keys, number: int) -> Positions:
    """Where the `number` smallest distances are; of equal ones those of the smaller keys."""
    last = np.partition(found, number - 1)[number - 1]
    likely = np.flatnonzero(found <= last)
    return likely[np.lexsort((keys[likely], found[likely]))[:number]]
