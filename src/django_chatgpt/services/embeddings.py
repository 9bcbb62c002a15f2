"""The service that turns texts into vectors and finds texts by their meaning."""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from itertools import count
from typing import TYPE_CHECKING, Any, Final, TypeVar
from uuid import UUID

from django_chatgpt.adapter import get_adapter
from django_chatgpt.conf import conf
from django_chatgpt.core.effects import Db, Effect, Embed, Stopped, Wait
from django_chatgpt.core.request import Embeddings
from django_chatgpt.core.retry import retry_delay
from django_chatgpt.core.vectors import unpack_vector
from django_chatgpt.database import ahop
from django_chatgpt.exceptions import InvalidRequestError
from django_chatgpt.models import EmbeddingVector
from django_chatgpt.models.embedding import EmbeddingVectorQuerySet, content_hash_of
from django_chatgpt.runtime import inline
from django_chatgpt.runtime.coroutines import aperform
from django_chatgpt.services import access, embedder, queries, rates
from django_chatgpt.services.attempts import Attempt
from django_chatgpt.services.batches import (
    EmbeddingBatch,
    FailedText,
    Item,
    Job,
    Metadata,
    Part,
    TooLong,
    measure,
    window_of,
)
from django_chatgpt.services.budgets import Payer, Purse
from django_chatgpt.services.chat import is_text
from django_chatgpt.storage import embeddings as storage
from django_chatgpt.storage.vectors import Scope, get_backend

if TYPE_CHECKING:
    from numpy import float32
    from numpy.typing import NDArray

T = TypeVar("T")

MAX_FOUND: Final = 10_000
MAX_MODEL_NAME: Final = 200

Filters = Mapping[str, str | int | float | bool]


@dataclass(frozen=True, slots=True)
class SearchResult:
    """A text that was found; `similarity` is the cosine, 1 for the same meaning, 0 for none in common."""

    id: UUID
    text: str = field(repr=False)
    similarity: float
    created_at: datetime
    metadata: dict[str, Any] = field(repr=False)


class EmbeddingService:
    """Vectors of one user's texts; without a user, of the site's own.

    Methods come in Django's two colours: `create_embedding` and `acreate_embedding`. A user's vectors are
    never seen by another, nor those of one model compared with another's.
    """

    def __init__(self, user: Any = None) -> None:
        self.user = user

    def __repr__(self) -> str:
        return f"<EmbeddingService user={getattr(self.user, 'pk', None)!r}>"

    def create_embedding(self, text: str, **options: Any) -> EmbeddingVector:
        """Embed a text and store it; one that is stored already is given as it is, and costs nothing.

        Options: model, dimensions, metadata (given again, it takes the place of what is stored), and for
        a text that is longer than the model takes, which is an error, `truncate=True` to embed and store
        its beginning, or `chunk=True` to store it whole with the mean vector of its pieces. Raises any
        AIServiceError.
        """
        return _only(self.create_embeddings_batch([text], **options))

    async def acreate_embedding(self, text: str, **options: Any) -> EmbeddingVector:
        """Like `create_embedding`, in a coroutine."""
        return _only(await self.acreate_embeddings_batch([text], **options))

    def create_embeddings_batch(self, texts: Sequence[str], **options: Any) -> EmbeddingBatch:
        """Embed any number of texts and store them; the result says of each what became of it.

        Takes the options of `create_embedding`; `metadata` may be a list, one for each text. A text that
        is too long, or that the provider refuses, is reported by its position, and the others are stored.
        So are those that a failure of the provider leaves without a vector; raises that failure if no text
        has one. Called again, only what is missing is sent.
        """
        return run(self.prepare_batch(texts, **options))

    async def acreate_embeddings_batch(self, texts: Sequence[str], **options: Any) -> EmbeddingBatch:
        """Like `create_embeddings_batch`, in a coroutine."""
        return await arun(await ahop(partial(self.prepare_batch, texts, **options)))

    def similarity_search(self, query: str, top_k: int = 10, **options: Any) -> list[SearchResult]:
        """The stored texts nearest to `query`, the nearest first, those equally near in a fixed order.

        Options: threshold (the least similarity, -1 to 1), filters (metadata keys and the values they must
        have), offset (so many are left out, for the next page), model, dimensions, within (a queryset of
        EmbeddingVector; no other row is found). Raises any AIServiceError.
        """
        return run(self.prepare_search(query, top_k, **options))

    async def asimilarity_search(self, query: str, top_k: int = 10, **options: Any) -> list[SearchResult]:
        """Like `similarity_search`, in a coroutine."""
        return await arun(await ahop(partial(self.prepare_search, query, top_k, **options)))

    def prepare_batch(self, texts: Sequence[str], **options: Any) -> Generator[Effect, Any, EmbeddingBatch]:
        """The steps of `create_embeddings_batch`, after everything that may refuse it."""
        return embedder.embed(self.job(texts, **options))

    def prepare_search(
        self,
        query: str,
        top_k: int = 10,
        *,
        threshold: float | None = None,
        filters: Filters | None = None,
        offset: int = 0,
        model: str | None = None,
        dimensions: int | None = None,
        within: EmbeddingVectorQuerySet | None = None,
    ) -> Generator[Effect, Any, list[SearchResult]]:
        """The steps of `similarity_search`, after everything that may refuse it."""
        _check_search(query, top_k, threshold, filters, offset)
        job = self.job([query], model=model, dimensions=dimensions)

        def found(vector: NDArray[float32]) -> list[SearchResult]:
            scope = Scope(job.owner_key, job.model, len(vector))
            rows = within
            if filters:
                narrowed = storage.narrowed(scope, filters)
                rows = narrowed if rows is None else rows.filter(pk__in=narrowed.values("pk"))
            hits = get_backend().search(
                scope, vector, top_k=offset + top_k, threshold=threshold, within=rows
            )[offset:]
            texts = storage.load([hit.id for hit in hits], vectors=False)
            return [
                SearchResult(
                    row.pk, row.content, max(-1.0, min(hit.similarity, 1.0)), row.created_at, row.metadata
                )
                for hit in hits
                if (row := texts.get(hit.id)) is not None
            ]

        return _search(job, found)

    def prepare_query(
        self,
        query: str,
        top_k: int,
        threshold: float | None = None,
        *,
        admitted: bool = False,
        truncate: bool = False,
    ) -> tuple[Generator[Effect, Any, NDArray[float32]], str]:
        """The steps that give a query's vector, after everything that may refuse the search, and its model.

        With `admitted` the rate limits have counted it already; with `truncate` it is cut if it is too long.
        """
        _check_search(query, top_k, threshold, None, 0)
        job = self.job([query], admitted=admitted, truncate=truncate)
        return _query_vector(job), job.model

    def job(
        self,
        texts: Sequence[str],
        *,
        model: str | None = None,
        dimensions: int | None = None,
        metadata: Metadata | Sequence[Metadata] | None = None,
        truncate: bool = False,
        chunk: bool = False,
        vectors: bool = True,
        admitted: bool = False,
    ) -> Job:
        """What is to be done, checked. `vectors=False` leaves them in the database until they are read."""
        access.require(self.user)
        model = access.choose_embedding_model(self.user, model)
        _check_texts(texts)
        _check_options(model, dimensions, metadata, len(texts))
        if truncate and chunk:
            raise InvalidRequestError(fields={"chunk": "can't be had together with truncate."})
        if not admitted:
            rates.admit(self.user)
        endpoint = access.embedding_endpoint_of(self.user)
        payer = Payer.of(self.user)
        too_long: TooLong = "truncate" if truncate else "chunk" if chunk else "error"
        return Job(
            texts=list(texts),
            user_id=None if self.user is None else self.user.pk,
            endpoint=endpoint,
            model=model,
            dimensions=dimensions,
            metadata=metadata,
            too_long=too_long,
            window=window_of(model, conf.context_window),
            max_retries=conf.max_retries,
            timeout=float(conf.timeout),
            vectors=vectors,
            redact=get_adapter().redactor,
            purse=None if payer is None else Purse(payer, endpoint.base_url, max_output_tokens=0),
        )


def run(steps: Generator[Effect, Any, T], *, release: bool = False) -> T:
    """Run prepared steps here; `release` gives the database connection back while the provider works."""
    world = inline.InlineWorld(release=release)
    return inline.result(inline.drive(steps, world, on_leave=inline.cancelled))


async def arun(steps: Generator[Effect, Any, T]) -> T:
    """Run prepared steps in the calling coroutine."""
    return await aperform(steps)


def _search(
    job: Job, found: Callable[[NDArray[float32]], list[SearchResult]]
) -> Generator[Effect, Any, list[SearchResult]]:
    vector = yield from _query_vector(job)
    results: list[SearchResult] = yield Db(partial(found, vector))
    return results


def _query_vector(job: Job) -> Generator[Effect, Any, NDArray[float32]]:
    """Steps that embed what is searched for, unless it is among what is stored. It is not stored itself."""
    (query,) = job.texts
    shelf = storage.Shelf(job.owner_key, job.model, job.stored_dimensions)

    def look() -> NDArray[float32] | Item:
        stored = storage.find_vector(shelf, content_hash_of(query))
        if stored is not None:
            return unpack_vector(stored)
        item = measure(query, job)
        kept = queries.find(queries.key(job, item))
        return item if kept is None else kept

    found: NDArray[float32] | Item = yield Db(look)
    if not isinstance(found, Item):
        return found
    item, part = found, Part([found])
    for tried in count(1):
        attempt = Attempt(job, part)
        yield Db(attempt.announce)
        try:
            (answer,) = yield Embed([attempt.request])
        except Stopped as stop:
            yield Db(partial(_settle, attempt, stop.why))
            raise
        if isinstance(answer, Embeddings):
            vector: NDArray[float32] = answer.vectors[0]
            yield Db(partial(_settle, attempt, "completed", answer=answer))
            yield Db(partial(queries.keep, queries.key(job, item), vector))
            return vector
        yield Db(partial(_settle, attempt, "failed", error=answer))
        delay = retry_delay(answer, tried, job.max_retries, job.timeout)
        if delay is None:
            raise answer
        yield Wait(delay)
    raise AssertionError("count() has no end")


def _settle(attempt: Attempt, outcome: str, **came: Any) -> None:
    attempt.settle(outcome, **came)
    attempt.tell()


def _only(batch: EmbeddingBatch) -> EmbeddingVector:
    (result,) = batch.results
    if isinstance(result, FailedText):
        raise result.error
    return result


def _check_texts(texts: Sequence[str]) -> None:
    """Raise InvalidRequestError, which names the first twenty that are no texts."""
    if isinstance(texts, str):
        raise InvalidRequestError(fields={"texts": "must be a list of texts."})
    wrong: dict[str, str] = {}
    for position, text in enumerate(texts):
        problem = _problem(text)
        if problem:
            wrong[f"texts.{position}"] = problem
            if len(wrong) == 20:
                break
    if wrong:
        raise InvalidRequestError(fields=wrong)


def _problem(text: object) -> str:
    if not isinstance(text, str):
        return "must be text."
    if not text.strip():
        return "must not be empty."
    return "" if is_text(text) else "must be text; it has a NUL or half a character."


def _check_options(model: str, dimensions: int | None, metadata: object, texts: int) -> None:
    wrong: dict[str, str] = {}
    if len(model) > MAX_MODEL_NAME or not is_text(model):
        wrong["model"] = f"must be a name of at most {MAX_MODEL_NAME} characters."
    if dimensions is not None and (isinstance(dimensions, bool) or dimensions < 1):
        wrong["dimensions"] = "must be 1 or more."
    if metadata is not None and not isinstance(metadata, Mapping):
        if not isinstance(metadata, Sequence) or len(metadata) != texts:
            wrong["metadata"] = "must be a mapping, or a list of one for each text."
        elif not all(isinstance(each, Mapping) for each in metadata):
            wrong["metadata"] = "must hold mappings only."
    if "metadata" not in wrong and not _is_json([metadata] if isinstance(metadata, Mapping) else metadata):
        wrong["metadata"] = (
            "must be what JSON can say: text, finite numbers, true, false, null, lists, mappings."
        )
    if wrong:
        raise InvalidRequestError(fields=wrong)


def _check_search(
    query: str, top_k: int, threshold: float | None, filters: Filters | None, offset: int
) -> None:
    wrong: dict[str, str] = {}
    problem = _problem(query)
    if problem:
        wrong["query"] = problem
    if not 1 <= top_k <= MAX_FOUND:
        wrong["top_k"] = f"must be between 1 and {MAX_FOUND}."
    if not 0 <= offset <= MAX_FOUND:
        wrong["offset"] = f"must be between 0 and {MAX_FOUND}."
    if threshold is not None and not -1 <= threshold <= 1:
        wrong["threshold"] = "must be between -1 and 1."
    for key, value in (filters or {}).items():
        if not isinstance(value, str | int | float):
            wrong["filters"] = f"{key}: must be text, a number, true or false."
        elif not _is_json(value):
            wrong["filters"] = f"{key}: must be finite, or text without a NUL or half a character."
        if not isinstance(key, str) or not _is_name(key):
            wrong["filters"] = f"{key!r}: must be a name, without quotes, and no number."
    if wrong:
        raise InvalidRequestError(fields=wrong)


def _is_json(value: object) -> bool:
    """Whether every database stores it as JSON."""
    if isinstance(value, str):
        return is_text(value)
    if isinstance(value, float):
        return math.isfinite(value)
    if isinstance(value, Mapping):
        return all(isinstance(key, str) and is_text(key) for key in value) and _is_json([*value.values()])
    if isinstance(value, list | tuple):
        return all(_is_json(each) for each in value)
    return value is None or isinstance(value, int)


def _is_name(key: str) -> bool:
    """Whether every database finds the key: some take a number in a path for a place in a list."""
    try:
        int(key)
    except ValueError:
        return is_text(key) and not {'"', "\\"} & set(key)
    return False
