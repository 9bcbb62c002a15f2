"""What every backend does the same: who is searched, in which order, and what is left out."""

from typing import Any
from uuid import UUID

import numpy as np
import pytest
from django.contrib.auth.models import User
from pytest_django import Settings

from django_chatgpt.models import EmbeddingVector
from django_chatgpt.models.owner import owner_key_of
from django_chatgpt.storage.vectors import Scope, VectorBackend, get_backend

pytestmark = pytest.mark.django_db

EAST, NORTH_EAST, NORTH, WEST = (1.0, 0.0), (0.6, 0.8), (0.0, 1.0), (-1.0, 0.0)


def row(content: str, values: tuple[float, ...], user: User | None = None, **fields: Any) -> UUID:
    made = EmbeddingVector(content=content, user=user, **{"model": "m", **fields})
    made.values = values
    made.save()
    get_backend().added(Scope(made.owner_key, made.model, made.dimensions), [made.pk])
    return made.pk


def scope(user: User | None = None, model: str = "m", dimensions: int = 2) -> Scope:
    return Scope(owner_key_of(user and user.pk), model, dimensions)


def unit(*numbers: float) -> "np.typing.NDArray[np.float32]":
    return np.array(numbers, dtype=np.float32)


@pytest.fixture(
    params=[
        "exact.ExactBackend",
        "matrix.MatrixBackend",
        "signbits.SignBitsBackend",
        pytest.param("pgvector.PgvectorBackend", marks=pytest.mark.pgvector),
    ]
)
def backend(request: pytest.FixtureRequest, settings: Settings) -> VectorBackend:
    settings.OPENAI_VECTOR_BACKEND = f"django_chatgpt.storage.vectors.{request.param}"
    for kind in (("m", 2), ("M", 2), ("m", 3)):
        get_backend().sync(*kind, lambda rows: None)
    return get_backend()


def test_the_nearest_come_first(backend: VectorBackend) -> None:
    west, north, east = row("west", WEST), row("north", NORTH), row("east", EAST)
    hits = backend.search(scope(), unit(*EAST), top_k=10)
    assert [hit.id for hit in hits] == [east, north, west]
    assert [hit.similarity for hit in hits] == pytest.approx([1, 0, -1])
    assert backend.count(scope()) == 3


def test_a_longer_list_begins_with_the_shorter_one(backend: VectorBackend) -> None:
    same = [row(f"same {number}", NORTH_EAST) for number in range(5)]
    long = backend.search(scope(), unit(*EAST), top_k=5)
    assert [hit.id for hit in long] == sorted(same)
    for top_k in range(1, 5):
        assert backend.search(scope(), unit(*EAST), top_k=top_k) == long[:top_k]


def test_nothing_below_the_threshold(backend: VectorBackend) -> None:
    near = row("near", NORTH_EAST)
    row("far", NORTH)
    assert [hit.id for hit in backend.search(scope(), unit(*EAST), top_k=9, threshold=0.5)] == [near]


def test_owners_models_and_lengths_are_never_mixed(
    backend: VectorBackend, user: User, other_user: User
) -> None:
    mine = row("a", EAST, user)
    for fields in ({"user": other_user}, {"user": None}, {"user": user, "model": "M"}):
        row("a", EAST, **fields)
    row("a", (1.0, 0.0, 0.0), user)
    assert [hit.id for hit in backend.search(scope(user), unit(*EAST), top_k=9)] == [mine]
    assert backend.count(scope(user)) == 1


def test_only_what_a_queryset_holds_is_ranked(backend: VectorBackend, user: User) -> None:
    row("best", EAST)
    second = row("second", NORTH_EAST, metadata={"shown": True})
    row("somebody's", EAST, user, metadata={"shown": True})
    within = EmbeddingVector.objects.filter(metadata__shown=True)
    hits = backend.search(scope(), unit(*EAST), top_k=1, within=within)
    assert [hit.id for hit in hits] == [second]
    assert backend.search(scope(), unit(*EAST), top_k=1, within=EmbeddingVector.objects.none()) == []


def test_an_empty_scope_has_nothing(backend: VectorBackend) -> None:
    assert backend.search(scope(), unit(*EAST), top_k=3) == []
    assert backend.count(scope()) == 0


def test_what_was_added_is_found_and_what_was_removed_is_not(backend: VectorBackend) -> None:
    first = row("first", EAST)
    backend.added(scope(), [first])
    assert [hit.id for hit in get_backend().search(scope(), unit(*EAST), top_k=3)] == [first]
    second = row("second", NORTH)
    backend.added(scope(), [second])
    assert [hit.id for hit in get_backend().search(scope(), unit(*EAST), top_k=3)] == [first, second]
    EmbeddingVector.objects.filter(pk=first).delete()
    backend.removed(scope(), [first])
    assert [hit.id for hit in get_backend().search(scope(), unit(*EAST), top_k=3)] == [second]
