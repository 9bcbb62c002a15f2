"""Files and batches of the fake, by the official SDK."""

import json
from typing import Any

import openai
import pytest

from django_chatgpt.testing import FakeOpenAI
from django_chatgpt.testing.embeddings import embed
from tests.testing.conftest import Sdk

TEXTS = ["one", "two", "three"]


def lines(texts: list[str]) -> bytes:
    made = [
        {
            "custom_id": text,
            "method": "POST",
            "url": "/v1/embeddings",
            "body": {"model": "text-embedding-3-small", "input": [text], "dimensions": 3},
        }
        for text in texts
    ]
    return "\n".join(json.dumps(line) for line in made).encode()


async def created(sdk: Sdk, content: bytes) -> Any:
    files, batches = sdk.client.files, sdk.client.batches
    file = await sdk.call(files.create, file=("in.jsonl", content), purpose="batch")
    assert file.bytes == len(content)
    return await sdk.call(
        batches.create, input_file_id=file.id, endpoint="/v1/embeddings", completion_window="24h"
    )


async def told(sdk: Sdk, file_id: str) -> list[Any]:
    content = (await sdk.call(sdk.client.files.content, file_id=file_id)).text
    return [json.loads(line) for line in content.splitlines()]


async def test_a_batch_is_answered_out_of_order(fake: FakeOpenAI, sdk: Sdk) -> None:
    fake.plan_batch(polls=1)
    batch = await created(sdk, lines(TEXTS))
    assert batch.status == "validating"
    assert (await sdk.call(sdk.client.batches.retrieve, batch_id=batch.id)).status == "in_progress"
    batch = await sdk.call(sdk.client.batches.retrieve, batch_id=batch.id)
    assert (batch.status, batch.error_file_id) == ("completed", None)
    assert (batch.request_counts.total, batch.request_counts.completed) == (3, 3)
    answers = await told(sdk, batch.output_file_id)
    assert [line["custom_id"] for line in answers] == TEXTS[::-1]
    vector = answers[0]["response"]["body"]["data"][0]["embedding"]
    assert vector == pytest.approx(embed("three", 3).tolist())
    assert fake.tokens_billed.prompt == 4


async def test_lines_fail_and_batches_expire(fake: FakeOpenAI, sdk: Sdk) -> None:
    fake.plan_batch(fails={"two"})
    fake.plan_batch(ends="expired", answered=1)
    fake.plan_batch(ends="failed")
    first, second, third = [await created(sdk, lines(TEXTS)) for _ in range(3)]
    first = await sdk.call(sdk.client.batches.retrieve, batch_id=first.id)
    (error,) = await told(sdk, first.error_file_id)
    assert (error["custom_id"], error["response"]["status_code"]) == ("two", 400)
    second = await sdk.call(sdk.client.batches.retrieve, batch_id=second.id)
    assert second.status == "expired"
    assert [line["custom_id"] for line in await told(sdk, second.output_file_id)] == ["one"]
    late = await told(sdk, second.error_file_id)
    assert [line["error"]["code"] for line in late] == ["batch_expired"] * 2
    third = await sdk.call(sdk.client.batches.retrieve, batch_id=third.id)
    assert (third.status, third.output_file_id) == ("failed", None)
    assert third.errors.data[0].code == "invalid_request"


async def test_a_file_that_says_the_same_twice_fails(sdk: Sdk) -> None:
    batch = await created(sdk, lines(["one", "one"]))
    assert (await sdk.call(sdk.client.batches.retrieve, batch_id=batch.id)).status == "failed"


async def test_cancelled_only_before_it_is_over(sdk: Sdk) -> None:
    batch = await created(sdk, lines(TEXTS))
    assert (await sdk.call(sdk.client.batches.cancel, batch_id=batch.id)).status == "cancelling"
    assert (await sdk.call(sdk.client.batches.retrieve, batch_id=batch.id)).status == "cancelled"
    with pytest.raises(openai.ConflictError):
        await sdk.call(sdk.client.batches.cancel, batch_id=batch.id)


async def test_what_is_not_there_or_not_for_batches(fake: FakeOpenAI, sync_sdk: Sdk) -> None:
    client = sync_sdk.client
    for method, named in (
        (client.batches.retrieve, "batch_id"),
        (client.batches.cancel, "batch_id"),
        (client.files.content, "file_id"),
    ):
        with pytest.raises(openai.NotFoundError):
            await sync_sdk.call(method, **{named: "nothing"})
    with pytest.raises(openai.BadRequestError, match="'assistants'"):
        await sync_sdk.call(client.files.create, file=("a.jsonl", b"{}"), purpose="assistants")
    body = {"input_file_id": "file-1", "endpoint": "/v1/embeddings", "completion_window": "1h"}
    with pytest.raises(openai.BadRequestError, match="'1h'"):
        await sync_sdk.call(client.batches.create, **body)
    with pytest.raises(openai.APIStatusError) as caught:
        await sync_sdk.call(client.files.delete, file_id="file-1")
    assert caught.value.status_code == 405
    fake.reset()
    assert fake.requests == []
