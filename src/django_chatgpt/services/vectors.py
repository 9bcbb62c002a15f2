"""Work on stored vectors as a whole: taken in by the backend, measured, embedded again by another model."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from django.contrib.auth import get_user_model
from django.db.models import Count, Exists, OuterRef

from django_chatgpt.adapter import get_adapter
from django_chatgpt.models import EmbeddingVector
from django_chatgpt.models.embedding import EmbeddingVectorQuerySet
from django_chatgpt.services.embeddings import EmbeddingService
from django_chatgpt.storage.primary import primary
from django_chatgpt.storage.vectors import Scope, get_backend

if TYPE_CHECKING:
    from numpy import float32
    from numpy.typing import NDArray

TEXTS_AT_ONCE = 500

Advance = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class Kind:
    """The vectors of one model and length, of all owners."""

    model: str
    dimensions: int
    count: int


@dataclass(frozen=True, slots=True)
class Recall:
    """How many of the truly nearest the backend finds, and how long it takes, in milliseconds."""

    recall: float
    worst: float
    median_ms: float
    exact_ms: float
    questions: int


@dataclass(frozen=True, slots=True)
class Reembedded:
    """`done` texts have a vector of the new model now; `failed` have none."""

    done: int
    failed: int


def kinds() -> list[Kind]:
    """What there is, the most first."""
    found = _rows().values("model", "dimensions").annotate(number=Count("pk")).order_by("-number", "model")
    return [Kind(each["model"], each["dimensions"], each["number"]) for each in found]


def sync(kind: Kind, advance: Advance) -> None:
    """Have the backend take in what it lacks."""
    get_backend().sync(kind.model, kind.dimensions, advance)


def recall(kind: Kind, questions: int, top_k: int, advance: Advance) -> Recall | None:
    """Ask the owner with the most vectors of `kind` for some of them; None if there are none.

    What is asked for is stored too, and left out of what is counted: everything finds itself.
    """
    from django_chatgpt.storage.vectors.exact import ExactBackend

    rows = _rows().filter(model=kind.model, dimensions=kind.dimensions)
    owner = rows.values("owner_key").annotate(number=Count("pk")).order_by("-number", "owner_key").first()
    if owner is None:
        return None
    scope, backend = Scope(owner["owner_key"], kind.model, kind.dimensions), get_backend()
    found: list[float] = []
    taken: list[float] = []
    exactly: list[float] = []
    for vector in _spread(rows.filter(owner_key=scope.owner_key), owner["number"], questions):
        if not found:
            backend.search(scope, vector, top_k=1)  # so that what is built once is not measured
        start = time.perf_counter()
        hits = backend.search(scope, vector, top_k=top_k + 1)
        middle = time.perf_counter()
        true = ExactBackend().search(scope, vector, top_k=top_k + 1)
        exactly.append(time.perf_counter() - middle)
        taken.append(middle - start)
        wanted = {hit.id for hit in true[1:]}
        found.append(len(wanted & {hit.id for hit in hits}) / len(wanted) if wanted else 1.0)
        advance(1)
    return Recall(
        sum(found) / len(found), min(found), 1000 * _median(taken), 1000 * _median(exactly), len(found)
    )


def lacking(old: str, new: str, dimensions: int | None) -> EmbeddingVectorQuerySet:
    """The rows of the model `old` whose owners don't have the same text from the model `new`."""
    there = _rows().filter(owner_key=OuterRef("owner_key"), model=new, content_hash=OuterRef("content_hash"))
    if dimensions is not None:
        there = there.filter(dimensions=dimensions)
    return _rows().filter(~Exists(there), model=old)


def reembed(old: str, new: str, dimensions: int | None, advance: Advance) -> Reembedded:
    """Embed every text of the model `old` by `new`, beside what is there; searches go on meanwhile.

    Stopped and begun again, it goes on with what is lacking. A text longer than the model takes is cut, as by
    `chunk`; one that the provider refuses, or whose owner may not use the service, is counted and left.
    Raises any AIServiceError.
    """
    done = failed = 0
    for user_id, rows in _by_owner(lacking(old, new, dimensions)):
        user = None if user_id is None else get_user_model()._default_manager.filter(pk=user_id).first()
        if (user is None) is not (user_id is None) or not get_adapter().may_use(user):
            failed += len(rows)
        else:
            batch = EmbeddingService(user).create_embeddings_batch(
                [row.content for row in rows],
                model=new,
                dimensions=dimensions,
                metadata=[row.metadata for row in rows],
                chunk=True,
            )
            failed += len(batch.failed)
            done += len(rows) - len(batch.failed)
        advance(len(rows))
    return Reembedded(done, failed)


def _by_owner(lacking: EmbeddingVectorQuerySet) -> Iterator[tuple[Any, list[EmbeddingVector]]]:
    """Some hundred rows at a time, of one owner each; a failed one does not come again."""
    for owner_key in lacking.order_by("owner_key").values_list("owner_key", flat=True).distinct():
        own = lacking.filter(owner_key=owner_key).defer("vector").order_by("pk")
        rows = list(own[:TEXTS_AT_ONCE])
        while rows:
            yield rows[0].user_id, rows
            rows = list(own.filter(pk__gt=rows[-1].pk)[:TEXTS_AT_ONCE])


def _spread(rows: EmbeddingVectorQuerySet, count: int, number: int) -> Iterator[NDArray[float32]]:
    """Vectors from all over the table: every so-many-th in the order of the hashes of their texts."""
    step = max(1, count // number)
    hashes = rows.order_by("content_hash").values_list("content_hash", flat=True)[::step][:number]
    for content_hash in hashes:
        row = rows.filter(content_hash=content_hash).only("vector").first()
        if row is not None:
            yield row.values


def _median(numbers: list[float]) -> float:
    return sorted(numbers)[len(numbers) // 2]


def _rows() -> EmbeddingVectorQuerySet:
    return EmbeddingVector.objects.using(primary())
