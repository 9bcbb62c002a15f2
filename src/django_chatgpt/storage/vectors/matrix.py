"""The default: the vectors of a scope in the memory of each process, multiplied by all its cores. Exact."""

from __future__ import annotations

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

    from django_chatgpt.storage.vectors.rows import Matrix, Positions

#: A smaller part of the rows than one in so many is copied out; of a larger one the rest is crossed out.
WORTH_COPYING = 4


class MatrixBackend(ExactBackend):
    """One matrix for each scope, of float32; a scope too large for the memory is read at each search."""

    def search(
        self,
        scope: Scope,
        vector: NDArray[np.float32],
        *,
        top_k: int,
        threshold: float | None = None,
        within: EmbeddingVectorQuerySet | None = None,
    ) -> list[Hit]:
        snapshot = matrices.current(scope)
        if snapshot is None:
            return super().search(scope, vector, top_k=top_k, threshold=threshold, within=within)
        keys = snapshot.keys()
        chosen = None
        if within is not None:
            chosen = snapshot.standing(rows.find(keys, rows.keys_within(scope, within)))
        at = nearest(snapshot, vector, top_k, chosen)
        return ranking.hits(keys[at], ranking.exact(snapshot.take(at), vector), top_k, threshold)


class Whole:
    """Vectors as they are."""

    def width(self, dimensions: int) -> int:
        return dimensions

    def dtype(self) -> np.dtype[Any]:
        return np.dtype(np.float32)

    def encode(self, matrix: Matrix) -> Matrix:
        return matrix


#: The matrices of this process.
matrices = Shelf(Whole())


def nearest(
    snapshot: Snapshot, vector: NDArray[np.float32], top_k: int, chosen: Positions | None
) -> Positions:
    """Where the rows are that may be among the `top_k`, of all or of the chosen positions; ascending."""
    if chosen is not None and len(chosen) <= snapshot.size // WORTH_COPYING:
        scores = np.empty(len(chosen), dtype=np.float32)
        step = max(1, 2**22 // len(vector))
        for start in range(0, len(chosen), step):
            scores[start : start + step] = snapshot.take(chosen[start : start + step]) @ vector
        return chosen[ranking.contenders(scores, top_k)]
    scores = np.empty(snapshot.size, dtype=np.float32)
    for start, block in snapshot.filled():
        np.matmul(block, vector, out=scores[start : start + len(block)])
    if chosen is not None:
        left_out = np.ones(snapshot.size, dtype=bool)
        left_out[chosen] = False
        scores[left_out] = -np.inf
    scores[snapshot.gone] = -np.inf
    return ranking.contenders(scores, top_k)
