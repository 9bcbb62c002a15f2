"""Texts become vectors: in order, in the sizes asked for, with our errors for everything else."""

import asyncio
import base64
import json
from collections.abc import Callable, Sequence
from typing import Any

import httpx2
import numpy as np
import pytest

from django_chatgpt import providers
from django_chatgpt.core.request import EmbeddingRequest, Embeddings, Endpoint
from django_chatgpt.exceptions import (
    InvalidRequestError,
    NotConfiguredError,
    ProviderProtocolError,
    ProviderRejectedError,
    ProviderUnavailableError,
    TokenLimitError,
)
from django_chatgpt.testing import Drop, Failure, FakeOpenAI
from django_chatgpt.testing.embeddings import embed
from tests.providers.conftest import KEY, Colour, mocked, transport

SMALL = "text-embedding-3-small"


def create(
    base_url: str, colour: Colour, texts: Sequence[str] = ("Hi",), *, mock: bool = False, **fields: Any
) -> Embeddings:
    request = EmbeddingRequest(Endpoint(KEY, base_url), fields.pop("model", SMALL), texts, **fields)

    async def main() -> Embeddings:
        if mock:
            return await providers.acreate_embeddings(request)
        async with transport(colour):
            return await providers.acreate_embeddings(request)

    return providers.create_embeddings(request) if colour == "sync" else asyncio.run(main())


def test_one_call_gives_a_unit_vector_for_each_text_in_order(fake: FakeOpenAI, colour: Colour) -> None:
    texts = [f"text {number}" for number in range(40)]
    answer = create(fake.base_url, colour, texts, dimensions=64)
    assert answer.vectors.shape == (40, 64)
    assert answer.vectors.dtype == np.dtype("<f4")
    for text, vector in zip(texts, answer.vectors, strict=True):
        np.testing.assert_allclose(vector, embed(text, 64), atol=1e-6)
    (call,) = fake.requests
    assert call.body == {"model": SMALL, "input": texts, "encoding_format": "base64", "dimensions": 64}
    assert answer.usage is not None
    assert answer.usage.prompt_tokens == answer.usage.total_tokens == fake.tokens_billed.prompt
    assert (answer.model, answer.request_id) == (SMALL, call.id)


def test_dimensions_are_not_sent_unless_asked_for(fake: FakeOpenAI, colour: Colour) -> None:
    assert create(fake.base_url, colour, model="text-embedding-ada-002").vectors.shape == (1, 1536)
    assert "dimensions" not in fake.requests[0].body


@pytest.mark.parametrize(
    ("step", "error"),
    [
        (Failure(400), ProviderRejectedError),
        (Failure(500), ProviderUnavailableError),
        (Failure(429, code="insufficient_quota"), ProviderUnavailableError),
        (Drop(), ProviderUnavailableError),
        (Failure(400, code="context_length_exceeded"), TokenLimitError),
    ],
)
def test_failures_are_ours(fake: FakeOpenAI, colour: Colour, step: Any, error: type[Exception]) -> None:
    fake.when(endpoint="embeddings").answer(step)
    with pytest.raises(error):
        create(fake.base_url, colour)
    assert len(fake.requests) == 1


def test_text_that_is_no_text_is_refused_before_it_is_sent(fake: FakeOpenAI, colour: Colour) -> None:
    with pytest.raises(InvalidRequestError):
        create(fake.base_url, colour, ["\ud800"])
    fake.assert_nothing_asked()


def test_without_a_key_nothing_is_asked() -> None:
    with pytest.raises(NotConfiguredError):
        providers.create_embeddings(EmbeddingRequest(Endpoint(""), SMALL, ["Hi"]))


def item(index: Any, *numbers: float) -> dict[str, Any]:
    return {"index": index, "embedding": list(numbers)}


def answered(body: object) -> Callable[[httpx2.Request], httpx2.Response]:
    content = body if isinstance(body, str) else json.dumps(body)
    return lambda request: httpx2.Response(
        200, content=content.encode(), headers={"content-type": "application/json"}
    )


@pytest.mark.parametrize("mixed", [False, True], ids=["lists", "one-in-base64"])
def test_a_server_that_sends_lists_and_another_order_is_understood(colour: Colour, mixed: bool) -> None:
    first = item(0, 3.0, 4.0)
    if mixed:
        first["embedding"] = base64.b64encode(np.array([3, 4], "<f4").tobytes()).decode()
    with mocked(answered({"data": [item(1, 0.0, 2.0), first]})):
        answer = create("http://localhost/v1", colour, ["a", "b"], mock=True)
    np.testing.assert_allclose(answer.vectors, [[0.6, 0.8], [0.0, 1.0]], atol=1e-7)
    assert answer.usage is None
    assert answer.model == ""


@pytest.mark.parametrize(
    "body",
    [
        "<html>",
        "[]",
        "{}",
        {"data": None},
        {"data": []},
        {"data": [item(0, 1.0)]},
        {"data": [item(0, 1.0), item(0, 1.0)]},
        {"data": [item(0, 1.0), item(2, 1.0)]},
        {"data": [item(0, 1.0), item("1", 1.0)]},
        {"data": [item(0, 1.0), item(True, 1.0)]},
        {"data": [item(0, 1.0), item(1, 1.0, 2.0)]},
        {"data": [item(0, 1.0), item(1, 0.0)]},
        {"data": [item(0, 1.0), item(1)]},
        {"data": [item(0, 1.0), {"index": 1, "embedding": None}]},
        {"data": [item(0, 1.0), {"index": 1, "embedding": ["x"]}]},
        {"data": [item(0, 1.0), {"index": 1, "embedding": "AAA="}]},
        {"data": [item(0, 1.0), {"index": 1, "embedding": "?"}]},
        {"data": [item(0, 1.0), {"index": 1, "embedding": base64.b64encode(b"\xff" * 4).decode()}]},
        {"data": [item(0, 1.0), {"index": 1}]},
        {"data": [item(0, 1.0), 7]},
    ],
)
def test_an_answer_that_is_none_is_a_protocol_error(body: object) -> None:
    with mocked(answered(body)), pytest.raises(ProviderProtocolError):
        create("http://localhost/v1", "sync", ["a", "b"], mock=True)


def test_another_length_than_asked_for_is_said() -> None:
    with (
        mocked(answered({"data": [item(0, 1.0, 2.0)]})),
        pytest.raises(ProviderProtocolError, match="2 dimensions, not with 3"),
    ):
        create("http://localhost/v1", "sync", dimensions=3, mock=True)


def test_an_error_inside_an_answer_is_one() -> None:
    with (
        mocked(answered({"error": {"code": 503, "message": "loading"}})),
        pytest.raises(ProviderUnavailableError),
    ):
        create("http://localhost/v1", "sync", mock=True)
