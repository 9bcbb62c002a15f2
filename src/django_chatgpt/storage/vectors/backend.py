"""What a vector backend is asked, and which one answers.

The rows are in the table of EmbeddingVector, whatever the backend; it gives ids and similarities, and whoever
asks loads the rows that are shown. A backend is made anew for each use: what it keeps, it keeps in its module
or in the database.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Protocol
from uuid import UUID

from django_chatgpt.conf import conf

if TYPE_CHECKING:
    from numpy import float32
    from numpy.typing import NDArray

    from django_chatgpt.models.embedding import EmbeddingVectorQuerySet


@dataclass(frozen=True, slots=True)
class Scope:
    """The vectors that may be compared with one another: of one owner, made by one model, of one length."""

    owner_key: str
    model: str
    dimensions: int


class Hit(NamedTuple):
    """A row that was found, and the cosine of its vector with the one searched for."""

    id: UUID
    similarity: float


class VectorBackend(Protocol):
    """All methods are plain functions that may use the database, in the thread of whoever calls them."""

    def search(
        self,
        scope: Scope,
        vector: NDArray[float32],
        *,
        top_k: int,
        threshold: float | None = None,
        within: EmbeddingVectorQuerySet | None = None,
    ) -> list[Hit]:
        """The `top_k` rows of `scope` nearest to `vector`, a unit vector of the scope's dimensions.

        They come by similarity, the greatest first, those of equal similarity by id, so that a longer list
        begins with the shorter one. None has less than `threshold`. `within` is a queryset that no other row
        may come from; it need not be narrowed to the scope.
        """

    def count(self, scope: Scope) -> int:
        """How many rows can be found in `scope`."""

    def added(self, scope: Scope, ids: Collection[UUID]) -> None:
        """Rows were written; called in the transaction that writes them."""

    def removed(self, scope: Scope, ids: Collection[UUID]) -> None:
        """Rows were deleted; called in the transaction that deletes them."""

    def sync(self, model: str, dimensions: int, advance: Callable[[int], None]) -> None:
        """Take in what is not there yet, of all owners; `advance` is told how many rows at a time.

        It can be stopped, and run again, at any time, while others write.
        """


def get_backend() -> VectorBackend:
    """The backend that OPENAI_VECTOR_BACKEND names."""
    from django_chatgpt.storage.vectors.matrix import MatrixBackend

    backend: VectorBackend = (conf.vector_backend or MatrixBackend)()
    return backend
