"""embeddings/ and embeddings/search/: the shapes, the limits, and nobody else's texts."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import User

from django_chatgpt.models import AIUsage, EmbeddingVector
from django_chatgpt.testing import Failure, FakeOpenAI
from tests.api.conftest import Door

pytestmark = [pytest.mark.django_db, pytest.mark.sqlite_only]

STORE, SEARCH = "/ai/embeddings/", "/ai/embeddings/search/"


def store(door: Door, *texts: str, **fields: Any) -> Any:
    return door.send("POST", STORE, {"texts": list(texts), **fields})


def search(door: Door, query: str, **fields: Any) -> Any:
    return door.send("POST", SEARCH, {"query": query, **fields})


def test_texts_are_stored_and_answered_in_order(door: Door, user: User, fake: FakeOpenAI) -> None:
    answer = store(door, "lions hunt", "cats sleep", "lions hunt")
    assert answer.status == 200
    assert set(answer.json) == {"embeddings", "count", "failed", "errors"}
    assert (answer.json["count"], answer.json["failed"], answer.json["errors"]) == (3, 0, [])
    first, second, third = answer.json["embeddings"]
    assert set(first) == {"id", "text", "model", "dimensions", "created_at"}
    assert (first["text"], second["text"], third) == ("lions hunt", "cats sleep", first)
    assert (first["model"], first["dimensions"]) == ("text-embedding-3-small", 1536)
    assert set(EmbeddingVector.objects.values_list("user", flat=True)) == {user.pk}
    assert EmbeddingVector.objects.count() == 2


def test_the_same_text_again_is_the_same_row_and_no_second_charge(door: Door, fake: FakeOpenAI) -> None:
    assert store(door, "lions hunt").json == store(door, "lions hunt").json
    assert len(fake.requests) == 1
    assert AIUsage.objects.count() == 1


def test_a_refused_text_is_named_and_the_others_are_stored(door: Door, fake: FakeOpenAI) -> None:
    fake.when(endpoint="embeddings", contains="poison").always(Failure(400))
    answer = store(door, "a", "poison", "b")
    assert [each["text"] for each in answer.json["embeddings"]] == ["a", "b"]
    assert (answer.json["count"], answer.json["failed"]) == (2, 1)
    (error,) = answer.json["errors"]
    assert (error["position"], error["code"]) == (1, "provider_rejected")
    assert error["message"]


def test_where_none_could_be_stored_the_answer_is_the_error(door: Door, fake: FakeOpenAI) -> None:
    answer = store(door, "a b " * 5000)
    assert (answer.status, answer.error["code"]) == (413, "token_limit")
    fake.when(endpoint="embeddings").answer(Failure(401))
    answer = store(door, "a")
    assert (answer.status, answer.error["code"]) == (502, "provider_rejected")


def test_only_your_own_texts_are_found(door: Door, other_door: Door, fake: FakeOpenAI) -> None:
    store(door, "lions hunt", "cats sleep")
    store(other_door, "lions hunt alone")
    answer = search(door, "what do lions hunt")
    assert answer.status == 200
    assert set(answer.json) == {"query", "results", "count"}
    assert (answer.json["query"], answer.json["count"]) == ("what do lions hunt", 2)
    first, second = answer.json["results"]
    assert set(first) == {"id", "text", "similarity", "created_at"}
    assert (first["text"], second["text"]) == ("lions hunt", "cats sleep")
    assert 1 > first["similarity"] > second["similarity"]


def test_a_search_is_narrowed(door: Door, fake: FakeOpenAI) -> None:
    store(door, "lions hunt", "cats sleep")
    assert search(door, "lions hunt", top_k=1).json["count"] == 1
    assert search(door, "lions hunt", threshold=0.9).json["count"] == 1
    assert search(door, "lions hunt", model="text-embedding-3-large").json["count"] == 0


@pytest.mark.parametrize(
    ("path", "body", "field"),
    [
        (STORE, {}, "texts"),
        (STORE, {"texts": []}, "texts"),
        (STORE, {"texts": "a"}, "texts"),
        (STORE, {"texts": ["a"] * 2049}, "texts"),
        (STORE, {"texts": ["a", 3]}, "texts.1"),
        (STORE, {"texts": ["a", " "]}, "texts.1"),
        (STORE, {"texts": ["\x00"]}, "texts.0"),
        (STORE, {"texts": ["a"], "model": ""}, "model"),
        (STORE, {"texts": ["a"], "user": 3}, "user"),
        (SEARCH, {}, "query"),
        (SEARCH, {"query": ""}, "query"),
        (SEARCH, {"query": " "}, "query"),
        (SEARCH, {"query": "a", "top_k": 0}, "top_k"),
        (SEARCH, {"query": "a", "top_k": 101}, "top_k"),
        (SEARCH, {"query": "a", "top_k": "3"}, "top_k"),
        (SEARCH, {"query": "a", "threshold": 2}, "threshold"),
        (SEARCH, {"query": "a", "model": "m" * 201}, "model"),
    ],
)
def test_bad_input_is_named(door: Door, fake: FakeOpenAI, path: str, body: Any, field: str) -> None:
    answer = door.send("POST", path, body)
    assert answer.status == 400
    assert set(answer.error["fields"]) == {field}
    fake.assert_nothing_asked()


def test_the_rate_limit_holds_here_too(door: Door, fake: FakeOpenAI, settings: Any) -> None:
    settings.OPENAI_RATE_LIMITS = {"user": "1/h"}
    assert store(door, "a").status == 200
    answer = search(door, "a")
    assert (answer.status, answer.error["code"]) == (429, "rate_limited")
    assert int(answer.headers["Retry-After"]) > 0
