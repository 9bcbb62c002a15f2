"""Every vector of the scope is read and compared for each question; nothing is kept."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING
from uuid import UUID

from django_chatgpt.models import EmbeddingVector
from django_chatgpt.models.embedding import EmbeddingVectorQuerySet
from django_chatgpt.storage.primary import primary
from django_chatgpt.storage.vectors.backend import Hit, Scope

if TYPE_CHECKING:
    from numpy import float32
    from numpy.typing import NDArray


class ExactBackend:
    """Exact, and slow above some ten thousand vectors."""

    def search(
        self,
        scope: Scope,
        vector: NDArray[float32],
        *,
        top_k: int,
        threshold: float | None = None,
        within: EmbeddingVectorQuerySet | None = None,
    ) -> list[Hit]:
        import numpy as np

        rows = _rows(scope)
        if within is not None:
            rows = rows.filter(pk__in=within.order_by().values("pk"))
        found = list(rows.order_by("pk").values_list("pk", "vector"))
        if not found:
            return []
        matrix = np.frombuffer(b"".join(bytes(stored) for _, stored in found), dtype="<f4")
        similarities = matrix.reshape(len(found), scope.dimensions) @ vector
        # Stable, so that rows of equal similarity stay in the order of their ids.
        best = np.argsort(-similarities, kind="stable")[:top_k]
        hits = [Hit(found[at][0], float(similarities[at])) for at in best]
        return [hit for hit in hits if threshold is None or hit.similarity >= threshold]

    def count(self, scope: Scope) -> int:
        return _rows(scope).count()

    def added(self, scope: Scope, ids: Collection[UUID]) -> None:
        """Nothing is kept that would have to be told."""

    def removed(self, scope: Scope, ids: Collection[UUID]) -> None:
        """Nothing is kept that would have to be told."""


def _rows(scope: Scope) -> EmbeddingVectorQuerySet:
    return EmbeddingVector.objects.using(primary()).filter(
        owner_key=scope.owner_key, model=scope.model, dimensions=scope.dimensions
    )
