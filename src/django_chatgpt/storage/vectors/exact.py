"""Every vector of the scope is read and compared for each question; nothing is kept."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import TYPE_CHECKING
from uuid import UUID

from django_chatgpt.models.embedding import EmbeddingVectorQuerySet
from django_chatgpt.storage.vectors import ranking, rows
from django_chatgpt.storage.vectors.backend import Hit, Scope

if TYPE_CHECKING:
    from numpy import float32
    from numpy.typing import NDArray


class ExactBackend:
    """Exact, and slow above some ten thousand vectors; what another backend's answers are measured by."""

    def search(
        self,
        scope: Scope,
        vector: NDArray[float32],
        *,
        top_k: int,
        threshold: float | None = None,
        within: EmbeddingVectorQuerySet | None = None,
    ) -> list[Hit]:
        if within is None:
            pieces = rows.read_all(scope)
        else:
            pieces = rows.read_some(scope, rows.pack_keys(rows.keys_within(scope, within)))
        return ranking.scan(pieces, vector, top_k, threshold)

    def count(self, scope: Scope) -> int:
        return rows.of_scope(scope).count()

    def added(self, scope: Scope, ids: Collection[UUID]) -> None:
        """Nothing is kept that would have to be told."""

    def removed(self, scope: Scope, ids: Collection[UUID]) -> None:
        """Nothing is kept that would have to be told."""

    def sync(self, model: str, dimensions: int, advance: Callable[[int], None]) -> None:
        """Nothing is kept that could lack something."""
