"""Objects become passages with vectors once; what has not changed is not sent again, what is gone goes."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.db import connection
from django.test.utils import CaptureQueriesContext
from pytest_django import Settings

from django_chatgpt.exceptions import ProviderUnavailableError
from django_chatgpt.indexes import Index
from django_chatgpt.models import AIConfiguration, AIUsage, EmbeddingVector, IndexedObject, IndexedPassage
from django_chatgpt.services import EmbeddingService, indexing
from django_chatgpt.services.indexing import Work
from django_chatgpt.testing import Failure, FakeOpenAI
from tests.indexes.conftest import Register, add

pytestmark = pytest.mark.django_db

LARGE = "text-embedding-3-large"


def build(index: Index) -> Work:
    return indexing.build(index, lambda number: None)


def stored() -> list[str]:
    return sorted(EmbeddingVector.objects.values_list("content", flat=True))


def sent(fake: FakeOpenAI) -> list[str]:
    return [text for call in fake.requests for text in call.body["input"]]


@pytest.fixture
def short(register: Register) -> Index:
    """The same in passages of 8 tokens, without an overlap."""
    return register("short", AIConfiguration, fields=["system_prompt"], chunk_tokens=8, overlap=0)


def test_objects_are_embedded_as_the_sites_own(index: Index, fake_openai: FakeOpenAI) -> None:
    add("lions", "hunt at night")
    add("cats", "sleep by day")
    add("gone", "not public", is_active=False)
    work = build(index)
    assert (work.seen, work.changed, work.texts, work.failed) == (2, 2, 2, 0)
    assert stored() == ["cats\n\nsleep by day", "lions\n\nhunt at night"]
    assert {row.user_id for row in EmbeddingVector.objects.all()} == {None}
    assert {(row.stale, row.error) for row in IndexedObject.objects.all()} == {(None, "")}
    assert AIUsage.objects.get().kind == "embedding"


def test_what_has_not_changed_costs_nothing(index: Index, fake_openai: FakeOpenAI) -> None:
    row = add("lions", "hunt at night")
    add("cats", "sleep by day")
    build(index)
    row.save()
    AIConfiguration.objects.filter(pk=row.pk).update(temperature=1)
    work = build(index)
    assert (work.seen, work.changed, work.texts) == (2, 0, 0)
    assert len(fake_openai.requests) == 1
    assert not IndexedObject.objects.exclude(stale=None).exists()


def test_a_long_text_is_cut_and_only_the_new_passage_is_sent(short: Index, fake_openai: FakeOpenAI) -> None:
    row = add("a", "Lions hunt at night.\n\nCats sleep by day.\n\nStones do not move.")
    build(short)
    assert stored() == ["Cats sleep by day.", "Lions hunt at night.", "Stones do not move."]
    row.system_prompt = "Lions hunt at night.\n\nCats sleep by day.\n\nStones roll."
    row.save()
    build(short)
    assert sent(fake_openai)[3:] == ["Stones roll."]
    assert stored() == ["Cats sleep by day.", "Lions hunt at night.", "Stones roll."]
    assert [each.number for each in IndexedPassage.objects.order_by("number")] == [0, 1, 2]


def test_passages_overlap(register: Register, fake_openai: FakeOpenAI) -> None:
    index = register("overlap", AIConfiguration, fields=["system_prompt"], chunk_tokens=14, overlap=7)
    add("a", "Lions hunt. Cats sleep. Stones rest. Birds sing. Fish swim. Bees hum.")
    build(index)
    assert stored()[0].split(". ")[-1].rstrip(".") in stored()[1]
    assert len(stored()) > 1


def test_the_same_text_in_two_objects_is_one_vector_until_both_are_gone(
    short: Index, fake_openai: FakeOpenAI
) -> None:
    first, second = add("a", "the same"), add("b", "the same")
    assert build(short).texts == 1
    AIConfiguration.objects.filter(pk=first.pk)._raw_delete("default")
    assert build(short).gone == 1
    assert stored() == ["the same"]
    AIConfiguration.objects.filter(pk=second.pk)._raw_delete("default")
    build(short)
    assert stored() == []
    assert not IndexedObject.objects.exists()


def test_a_repeated_passage_is_one_passage(short: Index, fake_openai: FakeOpenAI) -> None:
    add("a", "\n\n".join(["Lions hunt at night again."] * 3))
    build(short)
    assert stored() == ["Lions hunt at night again."]
    assert IndexedPassage.objects.count() == 1


def test_a_text_that_the_site_has_embedded_itself_stays(short: Index, fake_openai: FakeOpenAI) -> None:
    row = EmbeddingService().create_embedding("the same", metadata={"mine": 1})
    made = add("a", "the same")
    assert build(short).texts == 0
    AIConfiguration.objects.filter(pk=made.pk)._raw_delete("default")
    build(short)
    row.refresh_from_db()
    assert row.metadata == {"mine": 1}


def test_an_empty_text_has_no_passages_and_is_not_looked_at_again(
    short: Index, fake_openai: FakeOpenAI
) -> None:
    add("a", "  ")
    assert build(short).changed == 1
    assert build(short).changed == 0
    assert not IndexedPassage.objects.exists()
    assert not fake_openai.requests


def test_what_leaves_the_queryset_is_taken_out(index: Index, fake_openai: FakeOpenAI) -> None:
    row = add("lions", "hunt at night")
    build(index)
    AIConfiguration.objects.filter(pk=row.pk).update(is_active=False)
    assert build(index).gone == 1
    assert stored() == []


def test_a_text_that_can_not_be_told_is_noted_and_the_others_are_done(
    register: Register, fake_openai: FakeOpenAI, caplog: pytest.LogCaptureFixture
) -> None:
    def text(row: Any) -> str:
        return "" if row.name == "c" else {"a": "fine", "b": "half \ud800"}[row.name]

    index = register("odd", Group, text=text)
    for name in ("a", "b", "c", "d"):
        Group.objects.create(name=name)
    with caplog.at_level(logging.CRITICAL, logger="django_chatgpt"):
        work = build(index)
    assert (work.changed, work.failed) == (2, 2)
    errors = IndexedObject.objects.exclude(error="").values_list("error", flat=True)
    assert list(errors) == ["text_failed", "text_failed"]


def test_a_refused_text_is_noted_keeps_what_there_was_and_is_tried_again(
    short: Index, fake_openai: FakeOpenAI
) -> None:
    row = add("a", "good")
    add("b", "fine")
    build(short)
    row.system_prompt = "poison"
    row.save()
    fake_openai.when(endpoint="embeddings", contains="poison").answer(Failure(400, param="input"))
    work = build(short)
    assert (work.changed, work.failed) == (0, 1)
    assert IndexedObject.objects.get(error="provider_rejected").stale is None
    assert stored() == ["fine", "good"]
    assert build(short).changed == 1
    assert stored() == ["fine", "poison"]


def test_a_provider_that_fails_ends_it_and_what_is_done_stays(
    short: Index, fake_openai: FakeOpenAI, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.OPENAI_MAX_RETRIES = 0
    monkeypatch.setattr(indexing, "OBJECTS_AT_ONCE", 1)
    for name in ("a", "b", "c"):
        add(name, name)
    fake_openai.when(endpoint="embeddings", contains="b").answer(Failure(503))
    with pytest.raises(ProviderUnavailableError):
        build(short)
    assert stored() == ["a"]
    assert build(short).changed == 2
    assert stored() == ["a", "b", "c"]


def test_another_model_takes_over_from_the_texts(
    short: Index, fake_openai: FakeOpenAI, settings: Settings
) -> None:
    row = add("a", "Lions hunt at night.\n\nCats sleep by day.")
    build(short)
    settings.OPENAI_EMBEDDING_MODEL = LARGE
    assert build(short).texts == 2
    assert set(EmbeddingVector.objects.values_list("model", flat=True)) == {LARGE, "text-embedding-3-small"}
    AIConfiguration.objects.filter(pk=row.pk)._raw_delete("default")
    build(short)
    assert stored() == []


def test_a_plan_says_what_it_costs_and_does_nothing(short: Index, fake_openai: FakeOpenAI) -> None:
    add("a", "Lions hunt at night.\n\nCats sleep by day.")
    seen: list[int] = []
    work = indexing.plan(short, seen.append)
    assert (work.seen, work.changed, work.texts, work.tokens) == (1, 1, 2, 12)
    assert seen == [1]
    assert not fake_openai.requests
    assert not IndexedObject.objects.exclude(text_hash="").exists()


def test_vectors_that_nobody_has_any_more_are_deleted(short: Index, fake_openai: FakeOpenAI) -> None:
    add("a", "good")
    build(short)
    IndexedObject.objects.all().delete()
    AIConfiguration.objects.all()._raw_delete("default")
    EmbeddingService().create_embedding("mine")
    build(short)
    assert stored() == ["mine"]


def test_the_queries_do_not_grow_with_the_objects(short: Index, fake_openai: FakeOpenAI) -> None:
    add("first", "first")
    build(short)

    def queries(names: str) -> int:
        for name in names:
            add(name, f"text {name}")
        with CaptureQueriesContext(
            connection,
        ) as captured:
            assert build(short).changed == len(names)
        return len(captured)

    assert queries("ab") == queries("cdefgh")
