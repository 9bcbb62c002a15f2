"""The service that finds objects of the site by the meaning of their texts."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

from django.db import router
from django.db.models import QuerySet

from django_chatgpt.core.effects import Db, Effect
from django_chatgpt.database import ahop
from django_chatgpt.exceptions import InvalidRequestError
from django_chatgpt.indexes import Index, index_registry
from django_chatgpt.models import EmbeddingVector, IndexedPassage
from django_chatgpt.services import embeddings
from django_chatgpt.storage import indexes as storage
from django_chatgpt.storage.primary import primary
from django_chatgpt.storage.vectors import Scope, get_backend

if TYPE_CHECKING:
    from numpy import float32
    from numpy.typing import NDArray

#: Of how many more passages than objects are wanted the first look is, as an object may have several.
SPARE: Final = 4

KEY: Final = "_index_key"


@dataclass(frozen=True, slots=True)
class Passage:
    """A piece of an object's text that was found; `similarity` is the cosine, 1 for the same meaning.

    `number` says which piece it is, counted from 0. `object` is as its queryset gives it.
    """

    index: str
    object: Any = field(repr=False)
    key: str
    number: int
    text: str = field(repr=False)
    text_hash: str
    similarity: float


class IndexService:
    """Search in the site's own objects on behalf of one user; without a user, of the site itself.

    Methods come in Django's two colours: `search` and `asearch`.
    """

    def __init__(self, user: Any = None) -> None:
        self.user = user

    def __repr__(self) -> str:
        return f"<IndexService user={getattr(self.user, 'pk', None)!r}>"

    def search(self, query: str, index: Index | str, **options: Any) -> list[Passage]:
        """The objects of an index nearest to `query`, each with its best passage, the nearest first.

        Options: queryset (no other object is found), top_k (10), threshold (the least similarity, -1 to 1),
        per_object (1; as many passages of an object may be among the `top_k`, None: any number). What the
        index's own queryset and its `for_user` leave out is not found either. Raises any AIServiceError.
        """
        return embeddings.run(self.prepare(query, index, **options))

    async def asearch(self, query: str, index: Index | str, **options: Any) -> list[Passage]:
        """Like `search`, in a coroutine."""
        return await embeddings.arun(await ahop(partial(self.prepare, query, index, **options)))

    def prepare(
        self,
        query: str,
        index: Index | str,
        *,
        queryset: QuerySet[Any] | None = None,
        top_k: int = 10,
        threshold: float | None = None,
        per_object: int | None = 1,
        admitted: bool = False,
        truncate: bool = False,
    ) -> Generator[Effect, Any, list[Passage]]:
        """The steps of `search`, after everything that may refuse it.

        With `admitted` the rate limits have counted it already; with `truncate` a query that is too long
        is cut.
        """
        index = index_registry.get(index)
        if queryset is not None and not _is_of(queryset, index):
            raise InvalidRequestError(fields={"queryset": f"must be of {index.model.__name__}."})
        if per_object is not None and per_object < 1:
            raise InvalidRequestError(fields={"per_object": "must be 1 or more."})
        service = embeddings.EmbeddingService(self.user)
        embed, model = service.prepare_query(query, top_k, threshold, admitted=admitted, truncate=truncate)
        search = _Search(index, self._querysets(index, queryset), model, top_k, threshold, per_object)
        return _steps(embed, search.run)

    def _querysets(self, index: Index, queryset: QuerySet[Any] | None) -> list[QuerySet[Any]]:
        """What an object has to be in to be found; the last one gives the objects."""
        found = [index.rows()]
        if index.for_user is not None:
            found.append(index.for_user(self.user))
        return found if queryset is None else [*found, queryset]


def _steps(
    embed: Generator[Effect, Any, NDArray[float32]], found: Callable[[NDArray[float32]], list[Passage]]
) -> Generator[Effect, Any, list[Passage]]:
    vector = yield from embed
    results: list[Passage] = yield Db(partial(found, vector))
    return results


@dataclass(frozen=True, slots=True)
class _Search:
    """One search; `run` is a hop."""

    index: Index
    querysets: list[QuerySet[Any]]
    model: str
    top_k: int
    threshold: float | None
    per_object: int | None

    def run(self, vector: NDArray[float32]) -> list[Passage]:
        allowed = storage.allowed(self.index.name, [_keys(self.index, each) for each in self.querysets])
        scope, number = Scope("", self.model, len(vector)), self.top_k * SPARE
        # Mostly enough of the nearest of all may be found; only otherwise the database is asked which may.
        within = None
        while True:
            hits = get_backend().search(scope, vector, top_k=number, threshold=self.threshold, within=within)
            hashes = dict(_rows([hit.id for hit in hits]).values_list("pk", "content_hash"))
            similarities = {hashes[hit.id]: hit.similarity for hit in hits if hit.id in hashes}
            ranked = self._ranked(allowed, similarities)
            if len(ranked) >= self.top_k or len(hits) < number:
                return self._shown(ranked[: self.top_k], similarities)
            if within is None:
                within = storage.vectors_of(self.model, allowed)
            else:
                number *= SPARE

    def _ranked(
        self, allowed: QuerySet[IndexedPassage], similarities: Mapping[str, float]
    ) -> list[tuple[str, int, str]]:
        """Keys of objects, numbers and hashes of their passages, the most similar first."""
        rows = allowed.filter(content_hash__in=similarities).values_list(
            "indexed__object_key", "number", "content_hash"
        )
        ranked = sorted(rows, key=lambda row: (-similarities[row[2]], row[0], row[1]))
        if self.per_object is None:
            return ranked
        seen: dict[str, int] = {}
        kept = []
        for row in ranked:
            seen[row[0]] = seen.get(row[0], 0) + 1
            if seen[row[0]] <= self.per_object:
                kept.append(row)
        return kept

    def _shown(
        self, ranked: Iterable[tuple[str, int, str]], similarities: Mapping[str, float]
    ) -> list[Passage]:
        ranked = list(ranked)
        texts = storage.texts(self.model, {content_hash for _, _, content_hash in ranked})
        objects = self._objects({key for key, _, _ in ranked})
        return [
            Passage(
                self.index.name,
                objects[key],
                key,
                number,
                texts[content_hash],
                content_hash,
                max(-1.0, min(similarities[content_hash], 1.0)),
            )
            for key, number, content_hash in ranked
            if key in objects and content_hash in texts
        ]

    def _objects(self, keys: set[str]) -> dict[str, Any]:
        rows = next(each for each in reversed(self.querysets) if _can_be_narrowed(each))
        found = rows.filter(pk__in=[self.index.pk_of(key) for key in keys])
        return {self.index.key_of(row): row for row in found}


def _rows(ids: list[UUID]) -> QuerySet[EmbeddingVector]:
    return EmbeddingVector.objects.using(primary()).filter(pk__in=ids)


def _is_of(queryset: object, index: Index) -> bool:
    return isinstance(queryset, QuerySet) and issubclass(queryset.model, index.model)


def _can_be_narrowed(queryset: QuerySet[Any]) -> bool:
    query = queryset.query
    return not (query.is_sliced or query.combinator or queryset._fields is not None)  # type: ignore[attr-defined]


def _keys(index: Index, queryset: QuerySet[Any]) -> Any:
    """The keys of a queryset's objects: a subquery where the database can compare them, else a list."""
    here = queryset._db or router.db_for_write(queryset.model)  # type: ignore[attr-defined]
    if here == primary() and _can_be_narrowed(queryset):
        return queryset.using(primary()).order_by().values(**{KEY: index.key_expression})
    return [index.as_key(pk) for pk in queryset.values_list("pk", flat=True)]
