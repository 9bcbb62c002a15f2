"""Texts become rows: once each, in order, for their owner, and what fails is named."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any
from unittest import mock

import numpy as np
import pytest
from django.contrib.auth.models import User
from django.core.cache import cache
from django.db import connection
from django.test.utils import CaptureQueriesContext
from pytest_django import Settings

from django_chatgpt.adapter import Adapter
from django_chatgpt.core.limits import family
from django_chatgpt.exceptions import (
    InvalidRequestError,
    PermissionDeniedError,
    ProviderRejectedError,
    ProviderUnavailableError,
    RateLimitedError,
    TokenLimitError,
)
from django_chatgpt.models import AIUsage, EmbeddingClaim, EmbeddingVector
from django_chatgpt.services import EmbeddingBatch, EmbeddingService, batches, embedder, tokens
from django_chatgpt.testing import Failure, FakeOpenAI
from django_chatgpt.testing.embeddings import embed
from tests.services.conftest import Async, Sync

pytestmark = pytest.mark.django_db

Colour = Sync | Async
SMALL = "text-embedding-3-small"


@pytest.fixture(autouse=True)
def _no_claim_is_left() -> Any:
    yield
    assert not EmbeddingClaim.objects.exists()
    assert not AIUsage.objects.filter(outcome="running").exists()


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("django_chatgpt.core.retry.BACKOFF_SECONDS", 0.001)


@pytest.fixture
def service(user: User) -> EmbeddingService:
    return EmbeddingService(user)


def batch(colour: Colour, service: EmbeddingService, texts: Sequence[str], **options: Any) -> EmbeddingBatch:
    made: EmbeddingBatch = colour.call(service, "create_embeddings_batch", texts, **options)
    return made


def inputs(fake: FakeOpenAI) -> list[list[str]]:
    return [request.body["input"] for request in fake.requests]


def refuse(fake: FakeOpenAI, *poison: str) -> None:
    """Answer a request that holds one of these with a 400, as OpenAI does: without a word of which."""
    held = fake.when(endpoint="embeddings", where=lambda asked: bool(set(poison) & set(asked.body["input"])))
    held.always(Failure(400, message="'$.input' is invalid."))


def test_a_text_is_stored_with_the_vector_of_its_meaning(
    colour: Colour, service: EmbeddingService, user: User, fake_openai: FakeOpenAI, settings: Settings
) -> None:
    settings.OPENAI_PRICES = {SMALL: {"input": "0.02"}}
    row = colour.call(service, "create_embedding", "Lions hunt", metadata={"page": 3})
    row.refresh_from_db()
    assert (row.content, row.user, row.model, row.dimensions) == ("Lions hunt", user, SMALL, 1536)
    assert row.metadata == {"page": 3}
    np.testing.assert_allclose(row.values, embed("Lions hunt", 1536), atol=1e-6)
    usage = AIUsage.objects.get()
    count = fake_openai.tokens_billed.prompt
    assert (usage.kind, usage.outcome, usage.usage_source, usage.user) == (
        "embedding",
        "completed",
        "provider",
        user,
    )
    assert (usage.prompt_tokens, usage.completion_tokens, usage.total_tokens) == (count, 0, count)
    assert usage.estimated_cost == Decimal("0.00000002") * count


def test_the_same_text_again_costs_nothing(
    colour: Colour, service: EmbeddingService, fake_openai: FakeOpenAI
) -> None:
    first = colour.call(service, "create_embedding", "Lions hunt")
    again = colour.call(service, "create_embedding", "Lions hunt")
    both = batch(colour, service, ["Lions hunt", "Cats sleep", "Lions hunt", "Cats sleep"])
    assert again.pk == first.pk
    assert [row.content for row in both.embeddings] == ["Lions hunt", "Cats sleep"] * 2
    assert both.embeddings[0].pk == first.pk
    assert EmbeddingVector.objects.count() == 2
    assert AIUsage.objects.count() == 2
    assert inputs(fake_openai) == [["Lions hunt"], ["Cats sleep"]]


def test_two_users_have_a_row_each_and_neither_finds_the_others(
    colour: Colour, user: User, other_user: User, fake_openai: FakeOpenAI
) -> None:
    services = [EmbeddingService(owner) for owner in (user, other_user, None)]
    rows = [colour.call(service, "create_embedding", "Lions hunt") for service in services]
    assert len({row.pk for row in rows}) == 3
    assert [row.user_id for row in rows] == [user.pk, other_user.pk, None]
    for service, row in zip(services, rows, strict=True):
        assert [found.id for found in colour.call(service, "similarity_search", "lions")] == [row.pk]


def test_models_and_lengths_are_kept_apart(
    colour: Colour, service: EmbeddingService, fake_openai: FakeOpenAI
) -> None:
    rows = [
        colour.call(service, "create_embedding", "Lions hunt"),
        colour.call(service, "create_embedding", "Lions hunt", dimensions=256),
        colour.call(service, "create_embedding", "Lions hunt", model="text-embedding-3-large"),
    ]
    assert [row.dimensions for row in rows] == [1536, 256, 3072]
    assert [request.body.get("dimensions") for request in fake_openai.requests] == [None, 256, None]
    for row, options in zip(
        rows, ({}, {"dimensions": 256}, {"model": "text-embedding-3-large"}), strict=True
    ):
        (found,) = colour.call(service, "similarity_search", "Lions hunt", **options)
        assert found.id == row.pk
        assert found.similarity == pytest.approx(1)
    assert len(fake_openai.requests) == 3, "what was searched for is stored, its vector too"


def test_five_thousand_texts_come_back_in_order(service: EmbeddingService, fake_openai: FakeOpenAI) -> None:
    texts = [f"text {number}" for number in range(5000)]
    made = service.create_embeddings_batch(texts, dimensions=8)
    assert made.failed == []
    assert [row.content for row in made.embeddings] == texts
    for number in (0, 2047, 2048, 4999):
        np.testing.assert_allclose(made.embeddings[number].values, embed(texts[number], 8), atol=1e-6)
    assert sorted(len(sent) for sent in inputs(fake_openai)) == [904, 2048, 2048]
    assert EmbeddingVector.objects.count() == 5000


def test_many_requests_come_back_in_order(
    colour: Colour, service: EmbeddingService, fake_openai: FakeOpenAI, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batches, "MAX_INPUTS", 10)
    texts = [f"text {number}" for number in range(95)]
    made = batch(colour, service, texts, dimensions=8)
    assert [row.content for row in made.embeddings] == texts
    assert sorted(len(sent) for sent in inputs(fake_openai)) == [5, *[10] * 9]


def test_one_poisoned_text_is_named_and_the_others_are_stored(
    service: EmbeddingService, fake_openai: FakeOpenAI
) -> None:
    texts = [f"text {number}" for number in range(5000)]
    refuse(fake_openai, texts[2500])
    made = service.create_embeddings_batch(texts, dimensions=8)
    (failed,) = made.failed
    assert (failed.position, failed.code) == (2500, "provider_rejected")
    assert failed.message == ProviderRejectedError.default_message
    assert [row.content for row in made.embeddings] == texts[:2500] + texts[2501:]
    assert EmbeddingVector.objects.count() == 4999
    assert len(made) == 5000
    sent = len(fake_openai.requests)
    assert sent <= 3 + 2 * 11
    assert AIUsage.objects.filter(outcome="failed", estimated_cost=0, total_tokens=0).count() == 12

    again = service.create_embeddings_batch(texts, dimensions=8)
    assert [each.position for each in again.failed] == [2500]
    assert inputs(fake_openai)[sent:] == [[texts[2500]]]


def test_several_poisoned_texts_in_both_colours(
    colour: Colour, service: EmbeddingService, fake_openai: FakeOpenAI
) -> None:
    texts = [f"text {number}" for number in range(40)]
    refuse(fake_openai, texts[0], texts[17], texts[18], texts[39])
    made = batch(colour, service, [*texts, texts[17]], dimensions=8)
    assert [each.position for each in made.failed] == [0, 17, 18, 39, 40]
    assert len(made.embeddings) == 36


def test_where_everything_is_refused_not_every_text_is_tried(
    service: EmbeddingService, fake_openai: FakeOpenAI, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedder, "MOST_REFUSALS", 10)
    fake_openai.when(endpoint="embeddings").always(Failure(400))
    with pytest.raises(ProviderRejectedError):
        service.create_embeddings_batch([f"text {number}" for number in range(500)])
    assert len(fake_openai.requests) < 20


@pytest.mark.parametrize(
    "failure",
    [
        Failure(404, code="model_not_found"),
        Failure(400, param="dimensions"),
        Failure(401),
        Failure(429, code="insufficient_quota"),
    ],
)
def test_a_refusal_that_is_about_no_text_is_not_narrowed(
    colour: Colour, service: EmbeddingService, fake_openai: FakeOpenAI, failure: Failure
) -> None:
    fake_openai.when(endpoint="embeddings").always(failure)
    with pytest.raises((ProviderRejectedError, ProviderUnavailableError)):
        batch(colour, service, ["a", "b", "c", "d"])
    assert len(fake_openai.requests) == 1


def test_what_may_pass_is_tried_again(
    colour: Colour, service: EmbeddingService, fake_openai: FakeOpenAI
) -> None:
    fake_openai.when(endpoint="embeddings").answer(Failure(500), Failure(429))
    assert batch(colour, service, ["a", "b"]).failed == []
    assert list(AIUsage.objects.order_by("pk").values_list("outcome", "error_code")) == [
        ("failed", "provider_unavailable"),
        ("failed", "provider_rate_limited"),
        ("completed", ""),
    ]


def test_a_failure_at_the_end_leaves_what_is_stored_and_is_told_of_the_rest(
    colour: Colour,
    service: EmbeddingService,
    fake_openai: FakeOpenAI,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    settings.OPENAI_MAX_RETRIES = 1
    monkeypatch.setattr(batches, "MAX_INPUTS", 20)
    texts = [f"text {number}" for number in range(25)]
    last = fake_openai.when(endpoint="embeddings", where=lambda asked: texts[-1] in asked.body["input"])
    last.always(Failure(503))
    made = batch(colour, service, texts, dimensions=8)
    assert [each.position for each in made.failed] == list(range(20, 25))
    assert {each.code for each in made.failed} == {"provider_unavailable"}
    assert len(made.embeddings) == 20
    fake_openai.reset()
    assert batch(colour, service, texts, dimensions=8).failed == []
    assert [len(sent) for sent in inputs(fake_openai)] == [5]


def test_a_failure_that_leaves_nothing_is_raised(
    colour: Colour, service: EmbeddingService, fake_openai: FakeOpenAI, settings: Settings
) -> None:
    settings.OPENAI_MAX_RETRIES = 0
    fake_openai.when(endpoint="embeddings").always(Failure(500))
    with pytest.raises(ProviderUnavailableError):
        batch(colour, service, ["a"])
    with pytest.raises(ProviderUnavailableError):
        colour.call(service, "similarity_search", "a")
    assert set(AIUsage.objects.values_list("outcome", flat=True)) == {"failed"}


def test_requests_hold_no_more_tokens_than_a_provider_takes(
    service: EmbeddingService, fake_openai: FakeOpenAI
) -> None:
    texts = [f"{number} " + "a b " * 3500 for number in range(50)]
    assert service.create_embeddings_batch(texts, dimensions=8).failed == []
    sizes = [sum(tokens.count_text(text, SMALL) for text in sent) for sent in inputs(fake_openai)]
    assert len(sizes) == 2
    assert max(sizes) <= batches.MAX_TOKENS_PER_REQUEST < sum(sizes)


LONG = "a b c d " * 3000


def test_a_text_that_is_too_long_is_an_error(
    colour: Colour, service: EmbeddingService, fake_openai: FakeOpenAI
) -> None:
    with pytest.raises(TokenLimitError, match=r"has \d+ tokens; the model takes 8192"):
        colour.call(service, "create_embedding", LONG)
    fake_openai.assert_nothing_asked()
    made = batch(colour, service, ["short", LONG, "other"])
    assert [(each.position, each.code) for each in made.failed] == [(1, "token_limit")]
    assert inputs(fake_openai) == [["short", "other"]]


def test_truncated_it_is_stored_as_far_as_the_model_reads(
    colour: Colour, service: EmbeddingService, fake_openai: FakeOpenAI
) -> None:
    row = colour.call(service, "create_embedding", LONG, truncate=True)
    assert LONG.startswith(row.content)
    assert tokens.count_text(row.content, SMALL) == 8192
    again = colour.call(service, "create_embedding", LONG, truncate=True)
    assert again.pk == row.pk
    assert len(fake_openai.requests) == 1


def test_cut_in_pieces_it_is_stored_whole_with_their_mean(
    colour: Colour, service: EmbeddingService, fake_openai: FakeOpenAI, settings: Settings
) -> None:
    settings.OPENAI_CONTEXT_WINDOW = {SMALL: 4}
    made = batch(colour, service, ["one two three four five six", "short"], chunk=True, dimensions=16)
    (sent,) = inputs(fake_openai)
    assert sent == ["one two three four", " five six", "short"]
    row = made.embeddings[0]
    assert row.content == "one two three four five six"
    mean = 4 * embed(sent[0], 16) + 2 * embed(sent[1], 16)
    np.testing.assert_allclose(row.values, mean / np.linalg.norm(mean), atol=1e-6)


def test_metadata_is_one_for_all_or_one_each_and_the_last_given_counts(
    colour: Colour, service: EmbeddingService, fake_openai: FakeOpenAI
) -> None:
    batch(colour, service, ["a", "b"], metadata={"kind": "letter"})
    batch(colour, service, ["a", "c", "c"], metadata=[{"n": 1}, {"n": 2}, {"n": 3}])
    batch(colour, service, ["b"])
    stored = dict(EmbeddingVector.objects.values_list("content", "metadata"))
    assert stored == {"a": {"n": 1}, "b": {"kind": "letter"}, "c": {"n": 3}}


@pytest.mark.parametrize(
    ("texts", "options", "fields"),
    [
        ("text", {}, {"texts"}),
        (["a", "", 3, "\x00"], {}, {"texts.1", "texts.2", "texts.3"}),
        (["\ud800"], {}, {"texts.0"}),
        ([" \n"], {}, {"texts.0"}),
        (["a"], {"dimensions": 0}, {"dimensions"}),
        (["a"], {"model": "m" * 201}, {"model"}),
        (["a"], {"metadata": [{}, {}]}, {"metadata"}),
        (["a"], {"metadata": ["x"]}, {"metadata"}),
        (["a"], {"truncate": True, "chunk": True}, {"chunk"}),
    ],
)
def test_what_makes_no_sense_is_named(
    colour: Colour,
    service: EmbeddingService,
    texts: Any,
    options: Any,
    fields: set[str],
    fake_openai: FakeOpenAI,
) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        batch(colour, service, texts, **options)
    assert set(caught.value.fields) == fields
    fake_openai.assert_nothing_asked()


def test_who_may_not_use_it_gets_nothing(colour: Colour, user: User, fake_openai: FakeOpenAI) -> None:
    user.is_active = False
    with pytest.raises(PermissionDeniedError):
        batch(colour, EmbeddingService(user), ["a"])
    with pytest.raises(PermissionDeniedError):
        colour.call(EmbeddingService(user), "similarity_search", "a")
    fake_openai.assert_nothing_asked()


def test_no_texts_are_no_work(colour: Colour, service: EmbeddingService, fake_openai: FakeOpenAI) -> None:
    assert len(batch(colour, service, [])) == 0
    fake_openai.assert_nothing_asked()


def test_an_unknown_model_has_the_length_it_answers_with(
    colour: Colour, service: EmbeddingService, fake_openai: FakeOpenAI
) -> None:
    assert family("local-minilm") not in batches.NATIVE_DIMENSIONS
    row = colour.call(service, "create_embedding", "a", model="local-minilm")
    again = colour.call(service, "create_embedding", "a", model="local-minilm")
    assert (row.pk, row.dimensions) == (again.pk, 1536)
    assert len(fake_openai.requests) == 1


def test_a_row_makes_itself_from_text(colour: Colour, user: User, fake_openai: FakeOpenAI) -> None:
    row = colour.call(EmbeddingVector, "create_from_text", "Lions hunt", user=user, metadata={"a": 1})
    assert row.metadata == {"a": 1}
    assert colour.call(EmbeddingVector, "create_from_text", "Lions hunt", user, SMALL).pk == row.pk
    assert colour.call(EmbeddingVector, "create_from_text", "Lions hunt").user is None
    assert len(fake_openai.requests) == 2


def test_the_number_of_queries_does_not_grow_with_the_number_of_texts(
    service: EmbeddingService, fake_openai: FakeOpenAI, settings: Settings
) -> None:
    settings.OPENAI_PRICES = {SMALL: {"input": "0.02"}}

    def queries(texts: list[str]) -> int:
        with CaptureQueriesContext(connection) as seen:
            service.create_embeddings_batch(texts)
        return len(seen)

    queries(["warm"])
    one, many = queries(["a"]), queries([f"text {number}" for number in range(60)])
    assert many == one <= 17
    assert queries(["a"]) == 2


def test_something_unforeseen_leaves_no_claim(
    colour: Colour, service: EmbeddingService, fake_openai: FakeOpenAI
) -> None:
    with (
        mock.patch("django_chatgpt.storage.embeddings.add", side_effect=ZeroDivisionError),
        pytest.raises(ZeroDivisionError),
    ):
        batch(colour, service, ["a"])
    assert AIUsage.objects.get().outcome == "failed"
    assert AIUsage.objects.get().usage_source == "estimated"


class Discreet(Adapter):
    """Lets the provider read no names, and nobody ask another model."""

    def redact(self, text: str) -> str:
        return text.replace("Ada", "[name]")

    def allowed_models(self, user: Any) -> list[str]:
        return ["gpt-6-luna"]


def test_the_provider_reads_what_the_site_lets_it(
    colour: Colour, service: EmbeddingService, fake_openai: FakeOpenAI, settings: Settings
) -> None:
    settings.OPENAI_ADAPTER = f"{__name__}.Discreet"
    row = colour.call(service, "create_embedding", "Ada hunts")
    assert row.content == "Ada hunts"
    colour.call(service, "similarity_search", "who is Ada")
    assert inputs(fake_openai) == [["[name] hunts"], ["who is [name]"]]


def test_another_model_than_the_sites_is_for_who_may_ask_it(
    colour: Colour, service: EmbeddingService, fake_openai: FakeOpenAI, settings: Settings
) -> None:
    settings.OPENAI_ADAPTER = f"{__name__}.Discreet"
    with pytest.raises(InvalidRequestError, match=f"model: must be {SMALL}"):
        batch(colour, service, ["a"], model="text-embedding-3-large")
    assert batch(colour, service, ["a"], model=SMALL).failed == []


def test_every_call_counts_against_the_rate_limit(
    colour: Colour, service: EmbeddingService, fake_openai: FakeOpenAI, settings: Settings
) -> None:
    settings.OPENAI_RATE_LIMITS = {"user": "2/h"}
    cache.clear()
    batch(colour, service, ["a"])
    colour.call(service, "similarity_search", "a")
    with pytest.raises(RateLimitedError):
        batch(colour, service, ["a"])
