"""Texts found by meaning: the user's own, the nearest first, narrowed by metadata, page by page."""

from __future__ import annotations

from typing import Any
from unittest import mock

import pytest
from django.contrib.auth.models import User
from django.core.cache import cache
from django.db import connection
from django.test.utils import CaptureQueriesContext
from pytest_django import Settings

from django_chatgpt.exceptions import InvalidRequestError, TokenLimitError
from django_chatgpt.models import AIUsage, EmbeddingVector
from django_chatgpt.services import EmbeddingService, SearchResult
from django_chatgpt.testing import Failure, FakeOpenAI
from tests.services.conftest import Async, Sync

pytestmark = pytest.mark.django_db

Colour = Sync | Async

TEXTS = {
    "lions hunt at night": {"about": "cats", "page": 1, "wild": True},
    "cats sleep by day": {"about": "cats", "page": 2, "wild": False},
    "hounds hunt by day": {"about": "dogs", "page": 1, "wild": False, "a__contains": "x", "it's": "y"},
    "stones": {},
}


@pytest.fixture(autouse=True)
def _nothing_is_kept() -> None:
    cache.clear()


@pytest.fixture
def service(user: User, fake_openai: FakeOpenAI) -> EmbeddingService:
    service = EmbeddingService(user)
    service.create_embeddings_batch(list(TEXTS), metadata=list(TEXTS.values()))
    return service


def search(colour: Colour, service: EmbeddingService, query: str, **options: Any) -> list[SearchResult]:
    found: list[SearchResult] = colour.call(service, "similarity_search", query, **options)
    return found


def texts(found: list[SearchResult]) -> list[str]:
    return [each.text for each in found]


def test_the_nearest_text_comes_first(colour: Colour, service: EmbeddingService) -> None:
    found = search(colour, service, "what do lions hunt")
    assert texts(found)[0] == "lions hunt at night"
    assert texts(found)[-1] == "stones"
    similarities = [each.similarity for each in found]
    assert similarities == sorted(similarities, reverse=True)
    row = EmbeddingVector.objects.get(content="lions hunt at night")
    assert (found[0].id, found[0].created_at, found[0].metadata) == (row.pk, row.created_at, row.metadata)


def test_a_query_is_counted_and_not_stored(colour: Colour, service: EmbeddingService) -> None:
    search(colour, service, "what do lions hunt")
    assert EmbeddingVector.objects.count() == len(TEXTS)
    usage = AIUsage.objects.latest("pk")
    assert (usage.kind, usage.outcome, usage.usage_source) == ("embedding", "completed", "provider")
    assert usage.prompt_tokens > 0


def test_a_stored_text_is_searched_for_without_asking(
    colour: Colour, service: EmbeddingService, fake_openai: FakeOpenAI
) -> None:
    asked = len(fake_openai.requests)
    (found, *_) = search(colour, service, "stones")
    assert (found.text, found.similarity) == ("stones", pytest.approx(1))
    assert found.similarity <= 1
    assert len(fake_openai.requests) == asked


def test_a_query_is_paid_for_once_in_a_while_and_never_shared(
    colour: Colour, service: EmbeddingService, other_user: User, fake_openai: FakeOpenAI, settings: Settings
) -> None:
    asked = len(fake_openai.requests)
    first, again = (search(colour, service, "what hunts by day") for _ in range(2))
    assert first == again
    assert len(fake_openai.requests) == asked + 1
    search(colour, EmbeddingService(other_user), "what hunts by day")
    search(colour, service, "what hunts by day", dimensions=8)
    assert len(fake_openai.requests) == asked + 3
    settings.OPENAI_ENABLE_CACHING = False
    search(colour, service, "what hunts by day")
    assert len(fake_openai.requests) == asked + 4


def test_a_cache_that_fails_costs_no_search(
    colour: Colour, service: EmbeddingService, caplog: pytest.LogCaptureFixture
) -> None:
    broken = mock.Mock(get=mock.Mock(side_effect=OSError("hunt")), set=mock.Mock(side_effect=OSError("hunt")))
    with mock.patch("django_chatgpt.services.queries.caches", {"default": broken}):
        assert len(search(colour, service, "hunt")) == 4
    assert [record.message.rpartition(": ")[2] for record in caplog.records] == ["OSError"] * 2


def test_a_failed_query_is_tried_again(
    colour: Colour, service: EmbeddingService, fake_openai: FakeOpenAI, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("django_chatgpt.core.retry.BACKOFF_SECONDS", 0.001)
    fake_openai.when(endpoint="embeddings").answer(Failure(500))
    assert len(search(colour, service, "hunt")) == 4
    assert AIUsage.objects.filter(outcome="failed").count() == 1


def test_pages_are_parts_of_one_list(colour: Colour, service: EmbeddingService) -> None:
    whole = search(colour, service, "hunt by day", top_k=4)
    pages = [search(colour, service, "hunt by day", top_k=1, offset=offset) for offset in range(5)]
    assert [each for page in pages for each in page] == whole


def test_nothing_below_the_threshold(colour: Colour, service: EmbeddingService) -> None:
    found = search(colour, service, "hunt by day")
    between = (found[1].similarity + found[2].similarity) / 2
    assert search(colour, service, "hunt by day", threshold=between) == found[:2]


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({"about": "cats"}, {"lions hunt at night", "cats sleep by day"}),
        ({"about": "cats", "page": 1}, {"lions hunt at night"}),
        ({"wild": False}, {"cats sleep by day", "hounds hunt by day"}),
        ({"wild": True}, {"lions hunt at night"}),
        ({"page": "1"}, set()),
        ({"a__contains": "x"}, {"hounds hunt by day"}),
        ({"it's": "y"}, {"hounds hunt by day"}),
        ({"nothing": "x"}, set()),
        ({}, set(TEXTS)),
    ],
)
def test_metadata_narrows(
    colour: Colour, service: EmbeddingService, filters: dict[str, Any], expected: set[str]
) -> None:
    assert set(texts(search(colour, service, "hunt", filters=filters))) == expected


def test_a_queryset_narrows_and_never_widens(
    colour: Colour, service: EmbeddingService, other_user: User
) -> None:
    EmbeddingService(other_user).create_embedding("lions hunt at night")
    hunting = EmbeddingVector.objects.filter(content__contains="hunt")
    found = search(colour, service, "hunt", within=hunting)
    assert set(texts(found)) == {"lions hunt at night", "hounds hunt by day"}
    assert len(found) == 2
    dogs = search(colour, service, "hunt", within=hunting, filters={"about": "dogs"})
    assert texts(dogs) == ["hounds hunt by day"]


def test_only_what_is_shown_is_loaded(service: EmbeddingService) -> None:
    def queries(top_k: int) -> list[str]:
        with CaptureQueriesContext(connection) as seen:
            service.similarity_search("stones", top_k=top_k)
        return [query["sql"] for query in seen]

    queries(1)
    assert len(queries(1)) == len(queries(4)) <= 4
    (last,) = queries(1)[-1:]
    assert "content" in last
    assert '"vector"' not in last


@pytest.mark.parametrize(
    ("query", "options", "field"),
    [
        ("", {}, "query"),
        ("\x00", {}, "query"),
        (None, {}, "query"),
        ("a", {"top_k": 0}, "top_k"),
        ("a", {"top_k": 10_001}, "top_k"),
        ("a", {"offset": -1}, "offset"),
        ("a", {"threshold": 1.5}, "threshold"),
        ("a", {"threshold": float("nan")}, "threshold"),
        ("a", {"filters": {"1": "x"}}, "filters"),
        ("a", {"filters": {'a"b': "x"}}, "filters"),
        ("a", {"filters": {"a": None}}, "filters"),
        ("a", {"filters": {"a": [1]}}, "filters"),
        ("a", {"filters": {"\x00": "a"}}, "filters"),
    ],
)
def test_what_makes_no_sense_is_named(
    colour: Colour, user: User, query: Any, options: dict[str, Any], field: str, fake_openai: FakeOpenAI
) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        search(colour, EmbeddingService(user), query, **options)
    assert set(caught.value.fields) == {field}
    fake_openai.assert_nothing_asked()


def test_a_query_that_is_too_long_is_an_error(colour: Colour, service: EmbeddingService) -> None:
    with pytest.raises(TokenLimitError):
        search(colour, service, "a b " * 5000)


@pytest.mark.parametrize("value", ["a\0b", "\ud800", float("nan"), float("inf")], ids=repr)
def test_what_no_database_holds_is_no_metadata_and_no_filter(value: object, fake_openai: FakeOpenAI) -> None:
    """It is refused before anything is paid for."""
    service = EmbeddingService()
    for metadata in ({"a": value}, {"a": [{"b": value}]}, [{"a": value}]):
        with pytest.raises(InvalidRequestError) as caught:
            service.create_embeddings_batch(["text"], metadata=metadata)
        assert "metadata" in caught.value.fields
    with pytest.raises(InvalidRequestError) as caught:
        service.similarity_search("text", filters={"a": value})
    assert caught.value.fields["filters"].startswith("a: must be finite")
    assert not fake_openai.requests


def test_metadata_that_json_cannot_say_is_refused(fake_openai: FakeOpenAI) -> None:
    for metadata in ({"a": object()}, {1: "a"}):
        with pytest.raises(InvalidRequestError, match="JSON"):
            EmbeddingService().create_embedding("text", metadata=metadata)
    assert not fake_openai.requests
