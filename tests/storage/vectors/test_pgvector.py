"""The table and the index that pgvector searches: made when it is asked for, kept in step, found whole."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from unittest import mock

import numpy as np
import pytest
from django.core.management import call_command
from django.db import connection, transaction

from django_chatgpt.core.vectors import pack_vector, unit_rows
from django_chatgpt.exceptions import NotConfiguredError
from django_chatgpt.models import EmbeddingVector
from django_chatgpt.storage.vectors import Scope
from django_chatgpt.storage.vectors.exact import ExactBackend
from django_chatgpt.storage.vectors.pgindex import VectorIndex, need_extension
from django_chatgpt.storage.vectors.pgvector import PgvectorBackend

if TYPE_CHECKING:
    from django.contrib.auth.models import User

SCOPE = Scope("", "m", 16)
INDEX = VectorIndex("m", 16)
RANDOM = np.random.default_rng(11)
CENTRES = RANDOM.standard_normal((20, 16))

pytestmark = pytest.mark.pgvector


class Eager(PgvectorBackend):
    """Compares few at a time, so that a small table shows what a large one does."""

    compared_up_to = 20


def fill(number: int, dimensions: int = 16, **fields: object) -> list[EmbeddingVector]:
    if dimensions == 16:
        vectors = CENTRES[RANDOM.integers(0, 20, number)] + 0.3 * RANDOM.standard_normal((number, 16))
    else:
        vectors = RANDOM.standard_normal((number, dimensions))
    return EmbeddingVector.objects.bulk_create(
        EmbeddingVector(
            **{"content": f"{len(vectors)} {at} {fields}", "model": "m", "vector": pack_vector(one), **fields}
        )
        for at, one in enumerate(vectors)
    )


def asked(dimensions: int = 16) -> np.typing.NDArray[np.float32]:
    near = CENTRES[3] if dimensions == 16 else RANDOM.standard_normal(dimensions)
    return unit_rows(near[np.newaxis])[0]


def recall(backend: PgvectorBackend, **options: object) -> float:
    found = backend.search(SCOPE, asked(), top_k=10, **options)
    true = ExactBackend().search(SCOPE, asked(), top_k=10, **options)
    assert dict(found).keys() <= dict(ExactBackend().search(SCOPE, asked(), top_k=10_000, **options)).keys()
    return len(set(found) & set(true)) / len(true)


def copies() -> int:
    return INDEX.count("")


@pytest.mark.django_db
def test_syncing_copies_all_and_again_only_what_is_missing() -> None:
    made = fill(700)
    seen: list[int] = []
    PgvectorBackend().sync("m", 16, seen.append)
    assert seen == [500, 200]
    assert INDEX.is_ready()
    with connection.cursor() as cursor:
        cursor.execute(f"DELETE FROM {INDEX.table} WHERE id = ANY(%s)", [[each.pk for each in made[::7]]])
    assert copies() == 600
    PgvectorBackend().sync("m", 16, seen.append)
    assert copies() == len(made)
    assert recall(Eager()) >= 0.9


@pytest.mark.django_db
def test_hnsw_is_used_for_many_and_similarities_are_exact() -> None:
    fill(600)
    PgvectorBackend().sync("m", 16, lambda rows: None)
    plans: list[str] = []

    def explain(execute: Any, sql: str, parameters: Any, many: bool, context: Any) -> Any:
        if "<#>" in sql:
            with context["connection"].connection.cursor() as cursor:
                cursor.execute(f"EXPLAIN {sql}", parameters)
                plans.append("\n".join(line for (line,) in cursor.fetchall()))
        return execute(sql, parameters, many, context)

    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL enable_seqscan = off")
        cursor.execute("SET LOCAL enable_sort = off")
    with connection.execute_wrapper(explain):
        hits = Eager().search(SCOPE, asked(), top_k=10)
    (plan,) = plans
    assert f"Index Scan using {INDEX.table}_hnsw" in plan
    true = dict(ExactBackend().search(SCOPE, asked(), top_k=600))
    assert [hit.similarity for hit in hits] == [true[hit.id] for hit in hits]
    with mock.patch.object(VectorIndex, "is_searchable", False):
        assert Eager().search(SCOPE, asked(), top_k=10) == ExactBackend().search(SCOPE, asked(), top_k=10)


@pytest.mark.django_db
def test_a_filter_keeps_recall(user: User) -> None:
    fill(900)
    mine = fill(60, user=user)
    PgvectorBackend().sync("m", 16, lambda rows: None)
    some = EmbeddingVector.objects.filter(
        pk__in=[each.pk for each in EmbeddingVector.objects.filter(user=None)[::10]]
    )
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL enable_seqscan = off")
    assert recall(Eager(), within=some) == 1
    own = Eager().search(Scope(str(user.pk), "m", 16), asked(), top_k=60)
    assert {hit.id for hit in own} == {each.pk for each in mine}
    assert Eager().search(SCOPE, asked(), top_k=5, within=EmbeddingVector.objects.none()) == []
    sliced = EmbeddingVector.objects.filter(user=None).order_by("pk")[:5]
    assert len(Eager().search(SCOPE, asked(), top_k=50, within=sliced)) == 5


@pytest.mark.django_db(transaction=True)
def test_rows_and_copies_go_together_in_every_way() -> None:
    PgvectorBackend().sync("m", 16, lambda rows: None)
    made = fill(30)
    assert copies() == 30
    with transaction.atomic():
        EmbeddingVector.objects.filter(pk__in=[each.pk for each in made[:10]]).delete()
        transaction.set_rollback(True)
    assert copies() == 30
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM embedding_vector WHERE id = ANY(%s)", [[each.pk for each in made[:10]]])
    assert copies() == 20
    call_command("flush", interactive=False, verbosity=0)
    assert copies() == 0
    INDEX.drop()
    assert not INDEX.exists()


@pytest.mark.django_db
def test_a_row_that_changes_is_found_where_it_is_now(user: User) -> None:
    """Copies follow the ORM's writes, and raw SQL's, without a `sync`."""
    west, far = pack_vector([-1.0, *15 * [0.0]]), pack_vector([*15 * [0.0], 1.0])
    made = fill(40)
    PgvectorBackend().sync("m", 16, lambda rows: None)
    saved, updated, moved, given, left = made[:5]
    saved.vector = west
    saved.save()
    EmbeddingVector.objects.filter(pk=updated.pk).update(vector=west)
    with connection.cursor() as cursor:
        cursor.execute("UPDATE embedding_vector SET vector = %s WHERE id = %s", [far, left.pk])
    moved.model = "another"
    moved.save()
    given.user = user
    given.save()
    new = fill(1, content="new", vector=west)
    for kind in (Eager, PgvectorBackend):
        for towards in (west, far):
            query = np.frombuffer(towards, "<f4")
            hits = kind().search(SCOPE, query, top_k=3)
            assert hits == ExactBackend().search(SCOPE, query, top_k=3)
            assert hits[0].similarity == 1
    assert {each.pk for each in (saved, updated, *new)} == {
        hit.id for hit in Eager().search(SCOPE, np.frombuffer(west, "<f4"), top_k=9, threshold=0.99)
    }
    assert copies() == 39
    assert [hit.id for hit in Eager().search(Scope(str(user.pk), "m", 16), query, top_k=3)] == [given.pk]


@pytest.mark.django_db
def test_numbers_are_read_as_they_are_stored() -> None:
    INDEX.create()
    numbers = np.array([0.0, -0.0, 1e-40, -1e-45, 1.5, -1.0, 3.4e38, -1.1754944e-38, 0.1], dtype="<f4")
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {INDEX.table}_numbers(%s)", [numbers.tobytes()])
        assert np.array(cursor.fetchone()[0], dtype="<f4").tobytes() == numbers.tobytes()


@pytest.mark.django_db
@pytest.mark.parametrize("model", ["o'clock", "$$", "%s", "a\\b"])
def test_any_name_of_a_model_will_do(model: str) -> None:
    PgvectorBackend().sync(model, 16, lambda rows: None)
    fill(3, model=model)
    assert VectorIndex(model, 16).count("") == 3


@pytest.mark.django_db(transaction=True)
def test_an_index_whose_building_was_stopped_is_built_anew() -> None:
    fill(30)
    index = VectorIndex("m", 16)
    PgvectorBackend().sync("m", 16, lambda rows: None)
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE pg_index SET indisvalid = false WHERE indexrelid = to_regclass(%s)",
            [f"{index.table}_hnsw"],
        )
    index.finish()
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass(%s)", [f"{index.table}_hnsw"]
        )
        assert cursor.fetchone() == (True,)
    index.drop()


@pytest.mark.django_db
@pytest.mark.parametrize(("dimensions", "kind"), [(2000, "vector"), (2001, "halfvec"), (4001, "vector")])
def test_long_vectors_have_the_type_that_can_hold_them(dimensions: int, kind: str) -> None:
    index = VectorIndex("m", dimensions)
    assert index.kind == kind
    fill(25, dimensions)
    PgvectorBackend().sync("m", dimensions, lambda rows: None)
    scope, vector = Scope("", "m", dimensions), asked(dimensions)
    assert Eager().search(scope, vector, top_k=25) == ExactBackend().search(scope, vector, top_k=25)


@pytest.mark.django_db
def test_before_there_is_an_index_few_are_compared_and_many_refused() -> None:
    fill(20)
    PgvectorBackend().added(SCOPE, [])
    assert len(Eager().search(SCOPE, asked(), top_k=50)) == 20
    assert Eager().count(SCOPE) == 20
    fill(1, metadata={"a": 1})
    with pytest.raises(NotConfiguredError, match="chatgpt_vectors sync"):
        Eager().search(SCOPE, asked(), top_k=5)


@pytest.mark.django_db
def test_an_old_extension_is_refused() -> None:
    cursor = mock.Mock()
    cursor.fetchone.return_value = ("0.7.4",)
    with pytest.raises(NotConfiguredError, match=r"pgvector is 0\.7\.4"):
        need_extension(cursor)
