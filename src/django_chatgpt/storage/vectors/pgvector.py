"""PostgreSQL's extension pgvector: an HNSW index in the database, nothing in the memory of a process."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import TYPE_CHECKING, Any
from uuid import UUID

from django.core.exceptions import EmptyResultSet
from django.db import transaction

from django_chatgpt.exceptions import NotConfiguredError
from django_chatgpt.models import EmbeddingVector
from django_chatgpt.models.embedding import EmbeddingVectorQuerySet
from django_chatgpt.storage.primary import primary
from django_chatgpt.storage.vectors import ranking, rows
from django_chatgpt.storage.vectors.backend import Hit, Scope
from django_chatgpt.storage.vectors.exact import ExactBackend
from django_chatgpt.storage.vectors.pgindex import VectorIndex, cursor_of_postgres

if TYPE_CHECKING:
    from numpy import float32
    from numpy.typing import NDArray

Found = list[Sequence[Any]]


class PgvectorBackend(ExactBackend):
    """Nearly exact: subclass it to weigh recall against time.

    Few rows, be it an owner's or those of a queryset, are all compared; of more, HNSW gives the likely ones,
    and goes on looking while a filter leaves too few (pgvector 0.8). Either way the vectors of what was
    found are compared whole.
    """

    ef_search = 200
    compared_up_to = 10_000
    most_scanned = 100_000

    def search(
        self,
        scope: Scope,
        vector: NDArray[float32],
        *,
        top_k: int,
        threshold: float | None = None,
        within: EmbeddingVectorQuerySet | None = None,
    ) -> list[Hit]:
        index = VectorIndex(scope.model, scope.dimensions)
        if not index.is_ready():
            if rows.of_scope(scope)[: self.compared_up_to + 1].count() > self.compared_up_to:
                raise NotConfiguredError(
                    f"The vectors of {scope.model} with {scope.dimensions} dimensions are not all in "
                    "pgvector: run manage.py chatgpt_vectors sync."
                )
            return super().search(scope, vector, top_k=top_k, threshold=threshold, within=within)
        try:
            where, parameters = _where(scope, within)
        except EmptyResultSet:
            return []
        found = self._found(index, where, parameters, _text(vector), max(2 * top_k, top_k + 50))
        if not found:
            return []
        keys = rows.keys_of(row[0] for row in found)
        matrix = rows.floats([row[1] for row in found], scope.dimensions)
        return ranking.hits(keys, ranking.exact(matrix, vector), top_k, threshold)

    def count(self, scope: Scope) -> int:
        index = VectorIndex(scope.model, scope.dimensions)
        return index.count(scope.owner_key) if index.is_ready() else super().count(scope)

    def added(self, scope: Scope, ids: Collection[UUID]) -> None:
        """A trigger does it, whoever writes."""

    def removed(self, scope: Scope, ids: Collection[UUID]) -> None:
        """A trigger does it, whoever deletes."""

    def sync(self, model: str, dimensions: int, advance: Callable[[int], None]) -> None:
        index = VectorIndex(model, dimensions)
        index.create()
        index.fill(advance)
        index.finish()

    def _found(self, index: VectorIndex, where: str, parameters: list[Any], asked: str, most: int) -> Found:
        """Keys and vectors of the likely rows."""
        few = f"SELECT count(*) FROM (SELECT 1 FROM {index.table} c WHERE {where} LIMIT %s) few"
        likely = f"SELECT id FROM {index.table} c WHERE {where} ORDER BY v <#> %s::{index.kind} LIMIT %s"
        compared = (
            f"WITH allowed AS MATERIALIZED (SELECT id, v FROM {index.table} c WHERE {where}) "
            f"SELECT id FROM allowed ORDER BY v <#> %s::{index.kind}, id LIMIT %s"
        )
        whole = f"SELECT e.id, e.vector FROM ({{}}) n JOIN {EmbeddingVector._meta.db_table} e USING (id)"
        with transaction.atomic(using=primary()), cursor_of_postgres() as cursor:
            cursor.execute(few, [*parameters, self.compared_up_to + 1])
            if index.is_searchable and cursor.fetchone()[0] > self.compared_up_to:
                cursor.execute(
                    "SELECT set_config('hnsw.iterative_scan', 'relaxed_order', true), "
                    "set_config('hnsw.ef_search', %s, true), set_config('hnsw.max_scan_tuples', %s, true)",
                    [str(min(max(self.ef_search, most), 1000)), str(self.most_scanned)],
                )
                cursor.execute(whole.format(likely), [*parameters, asked, most])
                found: Found = cursor.fetchall()
                if len(found) >= most:
                    return found
            cursor.execute(whole.format(compared), [*parameters, asked, most])
            return list(cursor.fetchall())


def _where(scope: Scope, within: EmbeddingVectorQuerySet | None) -> tuple[str, list[Any]]:
    """The condition on the copies `c`. Raises EmptyResultSet where nothing can meet it."""
    if within is None:
        return "c.owner_key = %s", [scope.owner_key]
    keys = within.using(primary())
    if not keys.query.is_sliced:
        keys = keys.order_by()
    sql, parameters = keys.values("pk").query.get_compiler(using=primary()).as_sql()
    return f"c.owner_key = %s AND c.id IN ({sql})", [scope.owner_key, *parameters]


def _text(vector: NDArray[float32]) -> str:
    return str(vector.tolist())
