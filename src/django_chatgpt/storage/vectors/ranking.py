"""Which rows are nearest: found by rough scores, ordered by exact ones, so that every backend agrees."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING
from uuid import UUID

import numpy as np

from django_chatgpt.storage.vectors.backend import Hit
from django_chatgpt.storage.vectors.rows import pack_keys

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from django_chatgpt.storage.vectors.rows import Keys, Matrix, Positions

#: More than float32 can be wrong by in the product of two unit vectors of some thousand numbers.
MARGIN = 1e-5

#: How many rows are multiplied in double precision at a time.
ROWS_AT_ONCE = 2048


def exact(matrix: Matrix, vector: NDArray[np.float32]) -> NDArray[np.float64]:
    """The cosine of each row with `vector`, in double precision, the same wherever the row lies."""
    wide = vector.astype(np.float64)
    found = np.empty(len(matrix))
    for start in range(0, len(matrix), ROWS_AT_ONCE):
        some = matrix[start : start + ROWS_AT_ONCE].astype(np.float64)
        found[start : start + ROWS_AT_ONCE] = (some * wide).sum(axis=1)
    return found


def contenders(scores: NDArray[np.float32], top_k: int) -> Positions:
    """Where the rows are that may be among the `top_k` once they are compared exactly; never -inf."""
    if len(scores) > top_k:
        last = np.partition(scores, len(scores) - top_k)[len(scores) - top_k]
        if last > -np.inf:
            return np.flatnonzero(scores >= last - MARGIN)
    return np.flatnonzero(scores > -np.inf)


def hits(keys: Keys, similarities: NDArray[np.float64], top_k: int, threshold: float | None) -> list[Hit]:
    """The best of some rows, the most similar first, those of equal similarity by key."""
    if threshold is not None:
        enough = similarities >= threshold
        keys, similarities = keys[enough], similarities[enough]
    order = np.lexsort((keys, -similarities))[:top_k]
    best = zip(pack_keys(keys[order]), similarities[order].tolist(), strict=True)
    return [Hit(UUID(bytes=key), similarity) for key, similarity in best]


def scan(
    pieces: Iterator[tuple[Keys, Matrix]],
    vector: NDArray[np.float32],
    top_k: int,
    threshold: float | None,
) -> list[Hit]:
    """The best of all pieces, of which one is held at a time."""
    best: list[Hit] = []
    for keys, matrix in pieces:
        at = contenders(matrix @ vector, top_k)
        best += hits(keys[at], exact(matrix[at], vector), top_k, threshold)
        best.sort(key=lambda hit: (-hit.similarity, hit.id))
        del best[top_k:]
    return best
