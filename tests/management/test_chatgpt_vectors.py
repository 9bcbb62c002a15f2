"""The command that looks after stored vectors."""

from __future__ import annotations

import io
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from pytest_django import Settings

from django_chatgpt.models import EmbeddingVector
from django_chatgpt.services import EmbeddingService
from django_chatgpt.testing import Failure, FakeOpenAI
from tests.models import rows

pytestmark = pytest.mark.django_db

SMALL, LARGE = "text-embedding-3-small", "text-embedding-3-large"


def said(*arguments: str) -> str:
    out, err = io.StringIO(), io.StringIO()
    call_command("chatgpt_vectors", *arguments, stdout=out, stderr=err)
    assert err.getvalue() == ""
    return out.getvalue()


def models() -> list[str]:
    return sorted(EmbeddingVector.objects.values_list("model", flat=True))


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_stats_say_what_there_is_and_who_searches(settings: Settings) -> None:
    settings.OPENAI_VECTOR_BACKEND = None
    assert said("stats") == "searched by MatrixBackend\n"
    rows.embedding(content="a")
    rows.embedding(content="b")
    assert said("stats").splitlines()[1:] == [f"{SMALL}, 3 dimensions: 2 vectors"]


def test_syncing_what_needs_none_does_nothing_and_says_so() -> None:
    rows.embedding()
    assert said("sync") == f"{SMALL}, 3 dimensions: in step.\n"


@pytest.mark.pgvector
def test_syncing_copies_into_pgvector() -> None:
    rows.embedding()
    assert said("sync") == f"{SMALL}, 3 dimensions: in step.\n"
    assert said("recall", "--questions", "5").startswith(f"{SMALL}, 3 dimensions: recall@10 1.000")


@pytest.mark.sqlite_only
def test_another_database_than_postgres_is_named(settings: Settings) -> None:
    settings.OPENAI_VECTOR_BACKEND = "django_chatgpt.storage.vectors.pgvector.PgvectorBackend"
    rows.embedding()
    with pytest.raises(CommandError, match="needs PostgreSQL with pgvector, and the database is SQLite"):
        said("sync")


@pytest.mark.parametrize("backend", ["matrix.MatrixBackend", "signbits.SignBitsBackend"])
def test_recall_is_measured_on_the_own_vectors(backend: str, settings: Settings, user: User) -> None:
    settings.OPENAI_VECTOR_BACKEND = f"django_chatgpt.storage.vectors.{backend}"
    assert said("recall") == ""
    for number in range(30):
        row = rows.unsaved_embedding(content=str(number), user=user)
        row.values = [1.0, number, number**2]
        row.save()
    answer = said("recall", "--questions", "7", "--top-k", "3")
    assert answer.startswith(f"{SMALL}, 3 dimensions: recall@3 1.000 (worst 1.00) over 7 questions, ")
    for wrong in ("--questions", "--top-k"):
        with pytest.raises(CommandError, match="1 or more"):
            said("recall", wrong, "0")


class TestAnotherModel:
    @pytest.fixture(autouse=True)
    def _texts(self, user: User, fake_openai: FakeOpenAI) -> None:
        EmbeddingService(user).create_embeddings_batch(["one", "two", "three"], metadata={"a": 1})
        EmbeddingService().create_embedding("one")

    def test_every_text_gets_a_vector_beside_the_old_one(self, user: User) -> None:
        answer = said("reembed", LARGE)
        assert answer.splitlines() == [
            "4 texts embedded, 0 left out.",
            f'Every text has one. To search them, set OPENAI_EMBEDDING_MODEL = "{LARGE}".',
        ]
        assert models() == [LARGE] * 4 + [SMALL] * 4
        new = EmbeddingVector.objects.filter(model=LARGE, user=user)
        assert [row.metadata for row in new] == [{"a": 1}] * 3
        assert said("reembed", LARGE).startswith("0 texts embedded, 0 left out.\nEvery text has one.")

    def test_the_setting_switches_the_search(self, user: User, settings: Settings) -> None:
        said("reembed", LARGE)
        settings.OPENAI_EMBEDDING_MODEL = LARGE
        found = EmbeddingService(user).similarity_search("two")
        assert found[0].text == "two"
        assert EmbeddingVector.objects.get(pk=found[0].id).model == LARGE

    def test_what_was_refused_is_left_and_tried_again(self, fake_openai: FakeOpenAI) -> None:
        held = fake_openai.when(endpoint="embeddings", where=lambda asked: "two" in asked.body["input"])
        held.always(Failure(400, message="no"))
        answer = said("reembed", LARGE, "--dimensions", "8")
        assert answer.splitlines() == [
            "3 texts embedded, 1 left out.",
            f"Without a vector of {LARGE}: 1. Run this again to try once more.",
        ]
        sent = len(fake_openai.requests)
        assert said("reembed", LARGE, "--dimensions", "8").startswith("0 texts embedded, 1 left out.")
        assert all(request.body["input"] == ["two"] for request in fake_openai.requests[sent:])

    def test_stopped_half_way_it_goes_on_from_there(
        self, fake_openai: FakeOpenAI, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from django_chatgpt.services import vectors

        monkeypatch.setattr(vectors, "TEXTS_AT_ONCE", 2)

        def stop(number: int) -> None:
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            vectors.reembed(SMALL, LARGE, None, stop)
        assert 0 < models().count(LARGE) < 4
        before = sum(len(request.body["input"]) for request in fake_openai.requests)
        said("reembed", LARGE)
        after = sum(len(request.body["input"]) for request in fake_openai.requests)
        assert models().count(LARGE) == 4
        assert after - before < 4

    def test_a_text_that_was_cut_is_cut_again(self) -> None:
        EmbeddingService().create_embedding("Go on. " * 4000, chunk=True)
        assert said("reembed", LARGE).startswith("5 texts embedded, 0 left out.")

    def test_the_same_model_makes_shorter_vectors_too(self, user: User) -> None:
        answer = said("reembed", SMALL, "--dimensions", "8")
        assert answer.startswith("4 texts embedded, 0 left out.")
        assert answer.endswith("Store and search with dimensions=8 from then on.\n")
        assert said("reembed", SMALL, "--dimensions", "8").startswith("0 texts embedded, 0 left out.")
        (found, *_) = EmbeddingService(user).similarity_search("two", dimensions=8)
        assert EmbeddingVector.objects.get(pk=found.id).dimensions == 8

    def test_whoever_may_not_use_it_is_left_out(self, user: User) -> None:
        user.is_active = False
        user.save()
        assert said("reembed", LARGE).startswith("1 texts embedded, 3 left out.")

    def test_a_bar_is_drawn_for_who_looks(self) -> None:
        out: Any = io.StringIO()
        err = Terminal()
        call_command("chatgpt_vectors", "reembed", LARGE, stdout=out, stderr=err)
        assert "4/4" in err.getvalue()

    @pytest.mark.parametrize(
        ("arguments", "problem"),
        [((SMALL,), "name another with --from"), ((LARGE, "--dimensions", "0"), "must be 1 or more")],
    )
    def test_what_makes_no_sense_is_refused(self, arguments: tuple[str, ...], problem: str) -> None:
        with pytest.raises(CommandError, match=problem):
            said("reembed", *arguments)
