"""Answers whose parts have not the shapes the SDK promises: the caller and the ledger get through."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import pytest
from django.contrib.auth.models import User
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from django_chatgpt.core.effects import Complete, Db, OpenChunks, ReadChunk
from django_chatgpt.core.request import Endpoint
from django_chatgpt.exceptions import ProviderProtocolError
from django_chatgpt.models import AIUsage
from django_chatgpt.services import completions

pytestmark = pytest.mark.django_db

GOOD = {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}
ODD: list[dict[str, Any]] = [
    {"usage": {"prompt_tokens": "many", "completion_tokens": None}},
    {"usage": {"prompt_tokens": -1, "completion_tokens": -2, "total_tokens": -3}},
    {"usage": {"prompt_tokens": 2**31, "completion_tokens": 1}},
    {"usage": {"prompt_tokens": float("inf"), "completion_tokens": float("nan")}},
    {"usage": "7 tokens"},
    {"usage": [7]},
    {"usage": {"prompt_tokens": [1], "prompt_tokens_details": "none"}},
    {"model": 5},
    {"model": None, "service_tier": {"name": "fast"}},
    {"model": "m" * 300, "service_tier": "t" * 300},
    {"model": "m\x00\ud800"},
]
SAID: list[Any] = [None, [{"type": "text", "text": "Hi"}], 5, "a\ud800b\x00"]


@pytest.fixture
def completion(user: User) -> completions.Completion:
    body = {"model": "gpt-6-luna", "messages": [{"role": "user", "content": "Hi"}]}
    endpoint = Endpoint(base_url="http://127.0.0.1:9/v1", api_key="sk-secret")
    return completions.Completion(endpoint, body, user.pk, max_retries=2, timeout=1.0)


def drive(steps: Generator[Any, Any, Any], *answers: Any) -> tuple[list[str], Any]:
    """Perform the steps; what the provider says comes from `answers`. The effects' names, and the result."""
    said = iter([*answers, None])
    seen, sent = [], None
    while True:
        try:
            effect = steps.send(sent)
        except StopIteration as end:
            return seen, end.value
        seen.append(type(effect).__name__)
        sent = None
        if isinstance(effect, Db):
            sent = effect.function()
        elif isinstance(effect, Complete | ReadChunk):
            sent = next(said)


def whole(content: Any = "Hello", **fields: Any) -> ChatCompletion:
    choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": content}}
    return ChatCompletion.construct(**{"id": "1", "model": "m", "choices": [choice], "usage": GOOD} | fields)


def piece(delta: Any, **fields: Any) -> ChatCompletionChunk:
    choices = [{"index": 0, "delta": delta}]
    return ChatCompletionChunk.construct(**{"id": "1", "model": "m", "choices": choices} | fields)


def settled(fields: dict[str, Any]) -> AIUsage:
    row = AIUsage.objects.get()
    assert row.outcome == "completed"
    assert row.usage_source == ("estimated" if "usage" in fields else "provider")
    assert 0 < row.total_tokens < 100
    assert len(row.model) <= 200
    assert "\x00" not in row.model
    row.model.encode()
    return row


@pytest.mark.parametrize("fields", ODD, ids=ascii)
def test_a_whole_answer(completion: completions.Completion, fields: dict[str, Any]) -> None:
    answer = whole(**fields)
    assert drive(completions.complete(completion), answer)[1] is answer
    settled(fields)


@pytest.mark.parametrize("fields", ODD, ids=ascii)
def test_a_streamed_answer(completion: completions.Completion, fields: dict[str, Any]) -> None:
    chunks = [piece({"content": "Hello"}), piece({}, **{"usage": GOOD} | fields)]
    seen, _ = drive(completions.stream(completion), *chunks)
    assert seen[-2:] == ["CloseStream", "Db"]
    settled(fields)


@pytest.mark.parametrize("content", SAID, ids=ascii)
def test_contents(completion: completions.Completion, content: Any) -> None:
    drive(completions.complete(completion), whole(content, usage=None))
    settled({"usage": None})


@pytest.mark.parametrize("delta", [None, "Hello", [1], *({"content": each} for each in SAID)], ids=ascii)
def test_deltas(completion: completions.Completion, delta: Any) -> None:
    drive(completions.stream(completion), piece(delta), piece({"content": "Hi"}))
    settled({"usage": None})


@pytest.mark.parametrize("choices", [None, "none", [None], [1], [{"index": 0}]], ids=ascii)
def test_choices(completion: completions.Completion, choices: Any) -> None:
    drive(completions.stream(completion), piece({}, choices=choices))
    settled({"usage": None})


def test_a_request_id_is_cut_to_what_the_ledger_holds(completion: completions.Completion) -> None:
    answer = whole()
    answer._request_id = "r" * 300
    drive(completions.complete(completion), answer)
    assert settled({}).request_id == "r" * 200


def test_a_request_id_does_not_bring_the_key_into_the_ledger(completion: completions.Completion) -> None:
    answer = whole()
    answer._request_id = "for sk-secret"
    drive(completions.complete(completion), answer)
    assert settled({}).request_id == ""


@pytest.mark.parametrize("steps", [completions.complete, completions.stream])
def test_what_nobody_foresaw_is_settled_and_named(completion: completions.Completion, steps: Any) -> None:
    """Something else than the SDK's object, of which nothing can be read."""
    performed: list[str] = []

    def run() -> None:
        generator = steps(completion)
        sent: Any = None
        while True:
            effect = generator.send(sent)
            performed.append(type(effect).__name__)
            sent = effect.function() if isinstance(effect, Db) else None
            if isinstance(effect, Complete | ReadChunk):
                sent = object()

    with pytest.raises(ProviderProtocolError) as caught:
        run()
    assert caught.value.__cause__ is None
    assert performed[-1] == "Db"
    assert ("CloseStream" in performed) == (OpenChunks.__name__ in performed)
    row = AIUsage.objects.get()
    assert (row.outcome, row.error_code, row.usage_source) == ("failed", "provider_protocol", "estimated")
