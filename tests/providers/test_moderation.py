"""The provider's moderation, in every colour: one verdict on all texts, and our errors."""

import asyncio
import json
from typing import Any

import pytest

from django_chatgpt import providers
from django_chatgpt.core.request import Endpoint, ModerationRequest, Verdict
from django_chatgpt.exceptions import (
    AIServiceError,
    ProviderProtocolError,
    ProviderRateLimitedError,
    ProviderRejectedError,
    ProviderUnavailableError,
)
from django_chatgpt.testing import HTML, Drop, Failure, FakeOpenAI
from tests.providers.conftest import KEY, Colour, transport

MODEL = "omni-moderation-latest"
FINE = {"flagged": False, "categories": {"hate": False}}


def judge(fake: FakeOpenAI, colour: Colour, *texts: str) -> Verdict:
    request = ModerationRequest(Endpoint(KEY, fake.base_url), MODEL, texts, timeout=10.0)

    async def main() -> Verdict:
        async with transport(colour):
            return await providers.amoderate(request)

    return providers.moderate(request) if colour == "sync" else asyncio.run(main())


def test_fine(fake: FakeOpenAI, colour: Colour) -> None:
    verdict = judge(fake, colour, "Hi", "there")
    assert (verdict.flagged, verdict.categories, verdict.model) == (False, (), MODEL)
    assert verdict.request_id
    [request] = fake.requests
    assert request.body == {"model": MODEL, "input": ["Hi", "there"]}


def test_one_of_them_is_enough(fake: FakeOpenAI, colour: Colour) -> None:
    fake.flag("rope", "violence", "self-harm")
    fake.flag("tied", "violence")
    verdict = judge(fake, colour, "Hi", "a rope", "tied")
    assert verdict.flagged
    assert set(verdict.categories) == {"violence", "self-harm"}


@pytest.mark.parametrize(
    ("step", "kind"),
    [
        (Failure(429), ProviderRateLimitedError),
        (Failure(500), ProviderUnavailableError),
        (Failure(404), ProviderRejectedError),
        (Drop(), ProviderUnavailableError),
        (HTML(), ProviderProtocolError),
        (Failure(200, body="{"), ProviderProtocolError),
        (Failure(200, body=json.dumps({"error": {"code": "server_error"}})), ProviderUnavailableError),
    ],
    ids=["429", "500", "404", "drop", "html", "broken", "in band"],
)
def test_errors_are_ours(fake: FakeOpenAI, colour: Colour, step: Any, kind: type[AIServiceError]) -> None:
    fake.when(endpoint="moderations").answer(step)
    with pytest.raises(AIServiceError) as caught:
        judge(fake, colour, "Hi")
    assert type(caught.value) is kind
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None


@pytest.mark.parametrize(
    "answer",
    [
        [],
        {},
        {"results": {}},
        {"results": []},
        {"results": [FINE, FINE]},
        {"results": [{}]},
        {"results": ["fine"]},
        {"results": [{"flagged": "no"}]},
    ],
)
def test_what_is_no_verdict_is_none(fake: FakeOpenAI, answer: object) -> None:
    fake.when(endpoint="moderations").answer(Failure(200, body=json.dumps(answer)))
    with pytest.raises(ProviderProtocolError):
        judge(fake, "sync", "Hi")


def test_odd_details_of_a_verdict_are_left_out(fake: FakeOpenAI) -> None:
    result = {"flagged": True, "categories": {"hate": True, "odd": "yes", "\u0000x": True}}
    for categories, found in ((result["categories"], ("hate", "x")), (["hate"], ()), (None, ())):
        body = {"model": 5, "results": [result | {"categories": categories}]}
        fake.when(endpoint="moderations").answer(Failure(200, body=json.dumps(body)))
        assert judge(fake, "sync", "Hi").categories == found
        fake.reset()
