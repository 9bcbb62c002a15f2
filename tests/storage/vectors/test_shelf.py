"""What a process keeps of the vectors: up to date after each write, whoever writes, within its bounds."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest import mock
from uuid import UUID, uuid4

import numpy as np
import pytest
from django.db import IntegrityError, connection, connections, transaction
from django.test.utils import CaptureQueriesContext
from pytest_django import Settings

from django_chatgpt.core.vectors import pack_vector
from django_chatgpt.models import EmbeddingChange, EmbeddingScope, EmbeddingVector, embedding_scope
from django_chatgpt.models.embedding import EmbeddingVectorQuerySet
from django_chatgpt.storage.vectors import Hit, Scope, rows, shelf
from django_chatgpt.storage.vectors.exact import ExactBackend
from django_chatgpt.storage.vectors.matrix import MatrixBackend, matrices

if TYPE_CHECKING:
    from django.contrib.auth.models import User

SCOPE = Scope("", "m", 8)
RANDOM = np.random.default_rng(7)
ASKED = RANDOM.standard_normal(8).astype(np.float32)
ASKED /= np.linalg.norm(ASKED)


@pytest.fixture(autouse=True)
def _nothing_kept() -> Iterator[None]:
    matrices.clear()
    yield
    matrices.clear()


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[Scope]:
    """The scopes that were read whole."""
    seen: list[Scope] = []
    read_all = rows.read_all

    def counted(scope: Scope) -> Any:
        seen.append(scope)
        return read_all(scope)

    monkeypatch.setattr(rows, "read_all", counted)
    return seen


def vector() -> bytes:
    return pack_vector(RANDOM.standard_normal(8))


def row(**fields: Any) -> EmbeddingVector:
    return EmbeddingVector(**{"content": str(uuid4()), "model": "m", "vector": vector(), **fields})


def add(number: int, **fields: Any) -> list[EmbeddingVector]:
    return EmbeddingVector.objects.bulk_create([row(**fields) for _ in range(number)])


def found(top_k: int = 5, **options: Any) -> list[Hit]:
    return MatrixBackend().search(SCOPE, ASKED, top_k=top_k, **options)


def truth(top_k: int = 5, **options: Any) -> list[Hit]:
    return ExactBackend().search(SCOPE, ASKED, top_k=top_k, **options)


@pytest.mark.django_db
def test_a_search_of_what_did_not_change_is_one_small_query(reads: list[Scope]) -> None:
    add(50)
    assert found() == truth()
    reads.clear()
    with CaptureQueriesContext(
        connection,
    ) as queries:
        assert len(found()) == 5
    assert len(queries) == 1
    assert "embedding_scope" in queries[0]["sql"]
    assert reads == []


@pytest.mark.django_db
def test_no_write_has_all_read_again(reads: list[Scope]) -> None:
    made = add(600)
    found()
    reads.clear()
    writes = {
        "saved": lambda: row().save(),
        "created in bulk": lambda: add(300),
        "deleted": lambda: made[0].delete(),
        "deleted by a queryset": lambda: these(made[1:80]).delete(),
        "given another vector": lambda: these(made[99:100]).update(vector=pack_vector(ASKED)),
        "saved with another vector": lambda: turn(made[98]),
        "moved to another model": lambda: these(made[97:98]).update(model="n"),
        "moved by saving": lambda: move(made[96]),
    }
    for what, write in writes.items():
        write()
        after = found(1000)
        assert reads == [], what
        assert [hit.id for hit in after] == [hit.id for hit in truth(1000)], what
        reads.clear()


def these(made: list[EmbeddingVector]) -> EmbeddingVectorQuerySet:
    return EmbeddingVector.objects.filter(pk__in=[each.pk for each in made])


def turn(stored: EmbeddingVector) -> None:
    stored.vector = vector()
    stored.save()


def move(stored: EmbeddingVector) -> None:
    stored.model = "n"
    stored.save(update_fields=["model"])


@pytest.mark.django_db
def test_columns_that_no_search_looks_at_are_no_change() -> None:
    made = add(3)
    before = EmbeddingScope.objects.get().version
    EmbeddingVector.objects.update(metadata={"a": 1})
    made[0].metadata = {"b": 2}
    made[0].save(update_fields=["metadata"])
    assert EmbeddingScope.objects.get().version == before


@pytest.mark.django_db
def test_an_upsert_may_have_changed_any_row() -> None:
    made = add(3)
    found()
    unique = ["owner_key", "model", "dimensions", "content_hash"]
    again = row(content=made[0].content, vector=pack_vector(ASKED))
    EmbeddingVector.objects.bulk_create(
        [again],
        update_conflicts=True,
        update_fields=["vector"],
        unique_fields=None if connection.vendor == "mysql" else unique,
    )
    assert found(1)[0].id == made[0].pk
    assert found(1)[0].similarity == pytest.approx(1)


@pytest.mark.django_db
def test_what_was_rolled_back_is_forgotten() -> None:
    add(5)
    before = found(20)
    with transaction.atomic():
        add(5)
        assert len(found(20)) == 10
        transaction.set_rollback(True)
    assert found(20) == before
    add(1)  # has the version that was given out before
    assert found(20) == truth(20)
    assert len(found(20)) == 6


@pytest.mark.django_db
def test_rows_that_nobody_noted_are_found_and_read_once(reads: list[Scope]) -> None:
    """Whoever deletes a scope, in the admin or elsewhere, has the next search alone read everything."""
    add(4)
    found()
    EmbeddingScope.objects.all().delete()
    reads.clear()
    assert [len(found(9)) for _ in range(3)] == [4, 4, 4]
    assert len(reads) == 1
    assert found(9) == truth(9)
    EmbeddingVector.objects.all().delete()
    EmbeddingScope.objects.all().delete()
    assert found(9) == []
    assert not EmbeddingScope.objects.exists()


@pytest.mark.django_db
def test_an_owner_who_goes_meanwhile_has_no_scope_made(user: User) -> None:
    add(2, user=user)
    EmbeddingScope.objects.all().delete()
    with mock.patch.object(shelf, "note_change", side_effect=IntegrityError):
        assert len(MatrixBackend().search(Scope(str(user.pk), "m", 8), ASKED, top_k=5)) == 2
    assert matrices.nbytes() == 0


@pytest.mark.django_db
def test_no_more_scopes_are_kept_than_are_worth_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shelf, "MOST_SCOPES", 2)
    for model in ("m", "n", "o"):
        add(1, model=model)
        assert len(MatrixBackend().search(Scope("", model, 8), ASKED, top_k=5)) == 1
    assert [scope.model for _, scope in matrices._entries] == ["n", "o"]


@pytest.mark.django_db(transaction=True)
def test_writers_who_make_the_same_scope_at_once_all_succeed() -> None:
    """MariaDB had them wait for each other in a circle."""

    def write(model: str) -> None:
        try:
            barrier.wait()
            row(model=model).save()
        finally:
            connections.close_all()

    with ThreadPoolExecutor(5) as pool:
        for model in ("a", "b", "c", "d", "e"):
            barrier = threading.Barrier(5, timeout=20)
            for done in [pool.submit(write, model) for _ in range(5)]:
                done.result(timeout=60)
            assert EmbeddingScope.objects.get(model=model).version == 5


@pytest.mark.django_db(transaction=True)
def test_a_forked_process_searches_and_follows_what_it_was_born_with(reads: list[Scope]) -> None:
    add(300)
    before = found()
    reads.clear()
    connections.close_all()
    with warnings.catch_warnings(action="ignore"):  # of other threads, as servers that fork have them too
        child = os.fork()
    if child == 0:  # pragma: no cover
        failed = True
        try:
            same = found() == before
            add(1, vector=ASKED.tobytes())
            hits, warm = found(), not reads
            failed = not (same and warm and hits == truth() != before)
        finally:
            os._exit(failed)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    hits = found()
    assert reads == []
    assert hits == truth()
    assert hits[0].similarity == pytest.approx(1)


@pytest.mark.django_db
def test_who_is_too_far_behind_reads_all(reads: list[Scope], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedding_scope, "CHANGES_KEPT", 4)
    monkeypatch.setattr(shelf, "CHANGES_KEPT", 4)
    add(3)
    found()
    for _ in range(11):
        row().save()
    assert EmbeddingChange.objects.count() <= 8
    reads.clear()
    assert found(99) == truth(99)
    assert len(reads) == 2  # one of them is the truth's


@pytest.mark.django_db
def test_large_changes_are_cut_in_pieces_and_huge_ones_not_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedding_scope, "IDS_PER_CHANGE", 10)
    add(25)
    pieces = EmbeddingChange.objects.order_by("version").values_list("touched", flat=True)
    assert [len(piece) // 16 for piece in pieces] == [10, 10, 5]
    monkeypatch.setattr(embedding_scope, "CHANGES_KEPT", 8)
    found()
    add(25)
    assert EmbeddingChange.objects.order_by("version").last().touched is None
    assert found(99) == truth(99)


@pytest.mark.django_db
def test_more_changes_than_are_worth_following(reads: list[Scope], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shelf, "IDS_PER_CHANGE", 4)
    add(10)
    found()
    reads.clear()
    add(8)
    assert len(found(99)) == 18
    assert len(reads) == 1


@pytest.mark.django_db
def test_deleting_for_ever_takes_no_room_for_ever() -> None:
    for _ in range(6):
        made = add(1200)
        found()
        EmbeddingVector.objects.filter(pk__in=[each.pk for each in made[:1190]]).delete()
        found()
    assert matrices.nbytes() < 3 * 1200 * (8 * 4 + 16)
    assert found(99) == truth(99)


@pytest.mark.django_db
def test_what_was_searched_for_longest_ago_goes_first(
    user: User, other_user: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    size = 100 * (8 * 4 + 16)
    monkeypatch.setattr(shelf, "MEGABYTE", 1)
    scopes = [SCOPE, Scope(str(user.pk), "m", 8), Scope(str(other_user.pk), "m", 8)]
    for owner in (None, user, other_user):
        add(100, user=owner)
    with mock.patch.object(shelf, "allowed", return_value=2 * size):
        for scope in scopes:
            assert len(MatrixBackend().search(scope, ASKED, top_k=3)) == 3
        assert matrices.nbytes() == 2 * size
        assert [place[1] for place in matrices._entries] == scopes[1:]


@pytest.mark.django_db
def test_a_scope_larger_than_the_memory_is_searched_all_the_same(settings: Settings) -> None:
    settings.OPENAI_VECTOR_MEMORY = 1
    add(10)
    with mock.patch.object(shelf, "MEGABYTE", 100):
        assert found() == truth()
        assert matrices.nbytes() == 0
        within = EmbeddingVector.objects.filter(pk__in=[hit.id for hit in truth(6)[3:]])
        assert found(2, within=within) == truth(5)[3:]


@pytest.mark.django_db
def test_a_scope_that_outgrows_the_memory_is_let_go() -> None:
    add(10)
    found()
    with mock.patch.object(shelf, "allowed", return_value=11 * 48):
        add(5)
        assert found(99) == truth(99)
        assert matrices.nbytes() == 0


@pytest.mark.django_db
@pytest.mark.parametrize("number", [0, 1, 40, 350, 400])
def test_a_queryset_of_any_size(number: int) -> None:
    made = add(400)
    chosen = [each.pk for each in made[:number]]
    EmbeddingVector.objects.filter(pk__in=chosen).update(metadata={"in": True})
    within = EmbeddingVector.objects.filter(metadata={"in": True})
    hits = found(10, within=within)
    assert hits == truth(10, within=within)
    assert {hit.id for hit in hits} <= set(chosen)
    assert len(hits) == min(number, 10)
    sliced = EmbeddingVector.objects.order_by("-pk")[:number]
    assert {hit.id for hit in found(400, within=sliced)} == {each.pk for each in made[400 - number :]}


@pytest.mark.django_db
def test_equal_similarity_is_ordered_by_key_wherever_the_rows_lie() -> None:
    same = vector()
    made = add(30, vector=same)
    add(200)
    made += add(30, vector=same)
    everywhere = sorted(each.pk for each in made)
    asked = np.frombuffer(same, dtype=np.float32)
    for top_k in (1, 29, 60):
        hits = MatrixBackend().search(SCOPE, asked, top_k=top_k)
        assert [hit.id for hit in hits] == everywhere[:top_k]
        assert len({hit.similarity for hit in hits}) == 1


@pytest.mark.django_db(transaction=True)
def test_many_threads_read_while_others_write_and_one_builds(reads: list[Scope]) -> None:
    add(500)
    stop = threading.Event()

    def search() -> int:
        searched = 0
        try:
            while not stop.is_set():
                hits = found(5000)
                assert len(hits) == len({hit.id for hit in hits}) >= 500
                assert [-hit.similarity for hit in hits] == sorted(-hit.similarity for hit in hits)
                searched += 1
            return searched
        finally:
            connections.close_all()

    with ThreadPoolExecutor(4) as pool:
        running = [pool.submit(search) for _ in range(4)]
        try:
            for _ in range(12):
                kept = add(20)
                EmbeddingVector.objects.filter(pk__in=[each.pk for each in kept[:3]]).delete()
                assert {each.pk for each in kept[3:]} <= {hit.id for hit in found(5000)}
        finally:
            stop.set()
        assert all(each.result(timeout=30) for each in running)
    assert len(reads) == 1
    assert found(5000) == truth(5000)


WRITER = """
import django; django.setup()
from django_chatgpt.models import EmbeddingVector
from django_chatgpt.core.vectors import pack_vector
import sys
EmbeddingVector.objects.filter(pk=sys.argv[1]).delete()
print(EmbeddingVector.objects.create(content="new", model="m", vector=pack_vector(eval(sys.argv[2]))).pk)
"""


@pytest.mark.django_db(transaction=True)
def test_another_process_s_writes_are_found_by_the_next_search(reads: list[Scope]) -> None:
    made = add(50)
    found()
    gone = found(1)[0].id
    written = subprocess.run(
        [sys.executable, "-c", WRITER, str(gone), repr(ASKED.tolist())],
        env={
            **os.environ,
            # Not pgvector: its module would start a server for itself.
            "DJANGO_SETTINGS_MODULE": os.environ["DJANGO_SETTINGS_MODULE"].replace("pgvector", "postgres"),
            "DJANGO_CHATGPT_DATABASE": str(connection.settings_dict["NAME"]),
            "PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[3]), *sys.path]),
        },
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    ).stdout
    reads.clear()
    hits = found(len(made))
    assert reads == []
    assert hits[0].id == UUID(written.strip())
    assert gone not in {hit.id for hit in hits}


@pytest.mark.django_db
def test_a_forked_process_has_locks_of_its_own() -> None:
    add(3)
    found()
    [entry] = matrices._entries.values()
    entry.lock.acquire()
    matrices._after_fork()
    assert not entry.lock.locked()
    assert len(found()) == 3


def test_keys_are_found_by_their_random_half_or_whole() -> None:
    some = [uuid4().bytes for _ in range(200)]
    keys = rows.unpack_keys(b"".join(some))
    wanted = rows.unpack_keys(some[150] + uuid4().bytes + some[3])
    assert rows.find(keys, wanted).tolist() == [3, 150]
    alike = [bytes([number]) * 8 + b"\0" * 8 for number in range(9)]
    assert rows.find(rows.unpack_keys(b"".join(alike)), rows.unpack_keys(alike[7] + alike[2])).tolist() == [
        2,
        7,
    ]
    assert rows.pack_keys(rows.unpack_keys(b"".join(alike))) == alike
    assert rows.find(keys, rows.unpack_keys(b"")).tolist() == []
    assert rows.find(rows.unpack_keys(b""), keys).tolist() == []
