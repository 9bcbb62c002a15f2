"""Embeddings, moderations, models, and the paths that lead nowhere."""

import base64
import math
import struct

import httpx2
import openai
import pytest

from django_chatgpt.testing import Answer, Failure, FakeOpenAI, Usage
from django_chatgpt.testing.embeddings import embed
from tests.testing.conftest import HELLO, MODEL, Sdk

SMALL, LARGE, ADA = "text-embedding-3-small", "text-embedding-3-large", "text-embedding-ada-002"


def cosine(one: list[float], other: list[float]) -> float:
    return sum(a * b for a, b in zip(one, other, strict=True))


async def test_embeddings_are_unit_vectors_of_the_text_alone(fake: FakeOpenAI, sdk: Sdk) -> None:
    method = sdk.client.embeddings.create
    answer = await sdk.call(method, model=SMALL, input=["A red apple", "Stock market crash", "A red apple"])
    one, other, again = [item.embedding for item in answer.data]
    assert [item.index for item in answer.data] == [0, 1, 2]
    assert len(one) == 1536
    assert one == again != other
    assert math.isclose(math.hypot(*one), 1, rel_tol=1e-5)
    assert answer.usage.prompt_tokens == 3 + 5 + 3
    assert fake.tokens_billed == Usage(11, 0)
    single = await sdk.call(method, model=SMALL, input="A red apple")
    assert single.data[0].embedding == one


def test_vectors_are_the_same_on_every_machine() -> None:
    assert embed("A red apple", 3).tolist() == pytest.approx([0.46798, -0.00348, 0.88373], abs=1e-5)


async def test_like_texts_lie_near_each_other(sync_sdk: Sdk) -> None:
    texts = ["a fresh red apple pie", "red apple pie, fresh", "quarterly stock market report"]
    answer = await sync_sdk.call(sync_sdk.client.embeddings.create, model=SMALL, input=texts)
    apple, pie, stocks = [item.embedding for item in answer.data]
    assert cosine(apple, pie) > 0.8
    assert abs(cosine(apple, stocks)) < 0.2


@pytest.mark.parametrize(
    ("model", "dimensions", "length"),
    [(SMALL, 256, 256), (LARGE, None, 3072), (LARGE, 1, 1), (ADA, None, 1536)],
)
async def test_dimensions(sync_sdk: Sdk, model: str, dimensions: int | None, length: int) -> None:
    wanted = {} if dimensions is None else {"dimensions": dimensions}
    answer = await sync_sdk.call(sync_sdk.client.embeddings.create, model=model, input="Hi", **wanted)
    assert answer.model == model
    assert len(answer.data[0].embedding) == length
    assert math.isclose(math.hypot(*answer.data[0].embedding), 1, rel_tol=1e-5)


async def test_encodings(fake: FakeOpenAI, sync_sdk: Sdk) -> None:
    create = sync_sdk.client.embeddings.create
    default = await sync_sdk.call(create, model=SMALL, input="Hi", dimensions=8)
    floats = await sync_sdk.call(create, model=SMALL, input="Hi", dimensions=8, encoding_format="float")
    packed = await sync_sdk.call(create, model=SMALL, input="Hi", dimensions=8, encoding_format="base64")
    assert [request.body["encoding_format"] for request in fake.requests] == ["base64", "float", "base64"]
    assert list(struct.unpack("<8f", base64.b64decode(packed.data[0].embedding))) == default.data[0].embedding
    assert floats.data[0].embedding == pytest.approx(default.data[0].embedding)


async def test_tokens_as_input(sync_sdk: Sdk) -> None:
    create = sync_sdk.client.embeddings.create
    assert len((await sync_sdk.call(create, model=SMALL, input=[1, 2, 3])).data) == 1
    both = await sync_sdk.call(create, model=SMALL, input=[[1, 2, 3], [4]])
    assert len(both.data) == 2
    assert both.usage.prompt_tokens == 4


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ({"input": ""}, "'$.input' is invalid"),
        ({"input": ["a", ""]}, "'$.input' is invalid"),
        ({"input": []}, "'$.input' is invalid"),
        ({"input": ["a"] * 2049}, "maximum length 2048, but got an array with length 2049"),
        ({"input": "four" * 8193}, "maximum context length is 8192 tokens, however you requested 8193"),
        ({"input": ["four" * 8000] * 38}, "max 300000 tokens per request"),
        ({"input": "a", "dimensions": 1537}, "less than or equal to 1536"),
        ({"input": "a", "dimensions": 0}, "greater than or equal to 1"),
        ({"input": "a", "dimensions": 1.5}, "expected an integer"),
        ({"input": "a", "model": ADA, "dimensions": 5}, "does not support specifying dimensions"),
        ({"input": "a", "encoding_format": "hex"}, "Supported values are: 'float', and 'base64'"),
        ({"input": openai.omit}, "Missing required parameter: 'input'"),
        ({"input": "a", "model": ""}, "must provide a model"),
    ],
)
async def test_embeddings_that_are_refused(
    fake: FakeOpenAI, sync_sdk: Sdk, arguments: dict[str, object], problem: str
) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        await sync_sdk.call(sync_sdk.client.embeddings.create, **({"model": SMALL} | arguments))
    assert problem in caught.value.message
    assert fake.tokens_billed.total == 0


async def test_embeddings_can_fail_by_script(fake: FakeOpenAI, sync_sdk: Sdk) -> None:
    fake.when(endpoint="embeddings").answer(Failure(429, retry_after=1))
    fake.reply("only for chat")
    create = sync_sdk.client.embeddings.create
    with pytest.raises(openai.RateLimitError):
        await sync_sdk.call(create, model=SMALL, input="Hi")
    assert (await sync_sdk.call(create, model=SMALL, input="Hi")).data
    assert (await sync_sdk.chat()).choices[0].message.content == "only for chat"


async def test_an_answer_makes_no_sense_as_an_embedding(fake: FakeOpenAI, sync_sdk: Sdk) -> None:
    fake.when(endpoint="embeddings").answer(Answer("Hello"))
    with pytest.raises(openai.InternalServerError):
        await sync_sdk.call(sync_sdk.client.embeddings.create, model=SMALL, input="Hi")
    with pytest.raises(TypeError, match="embeddings takes a Failure"):
        fake.raise_errors()
    fake.reset()
    fake.raise_errors()


async def test_moderations(fake: FakeOpenAI, sdk: Sdk) -> None:
    fake.flag("kill")
    fake.flag("Stab", "violence", "violence/graphic")
    create = sdk.client.moderations.create
    answer = await sdk.call(create, input=["Be nice", "KILL it", "stabbing"])
    assert answer.model == "omni-moderation-latest"
    assert [result.flagged for result in answer.results] == [False, True, True]
    assert answer.results[1].categories.violence
    assert not answer.results[1].categories.violence_graphic
    assert answer.results[2].categories.violence_graphic
    assert answer.results[2].category_scores.violence_graphic > 0.9
    assert answer.results[0].category_applied_input_types.violence == ["text", "image"]
    assert len(answer.results[0].categories.model_dump(by_alias=True)) == 13
    parts = [{"type": "text", "text": "kill"}, {"type": "image_url", "image_url": {"url": "data:,"}}]
    multimodal = await sdk.call(create, input=parts)
    assert [result.flagged for result in multimodal.results] == [True]
    single = await sdk.call(create, input="Be nice", model="omni-moderation-2024-09-26")
    assert (single.model, single.results[0].flagged) == ("omni-moderation-2024-09-26", False)


async def test_moderations_that_are_refused(fake: FakeOpenAI, sync_sdk: Sdk) -> None:
    for value in ([], [7], openai.omit):
        with pytest.raises(openai.BadRequestError) as caught:
            await sync_sdk.call(sync_sdk.client.moderations.create, input=value)
        assert caught.value.param == "input"
    with pytest.raises(ValueError, match="no moderation category rudeness"):
        fake.flag("x", "rudeness")


async def test_models(sync_sdk: Sdk) -> None:
    listed = [model.id for model in await sync_sdk.call(sync_sdk.client.models.list)]
    assert MODEL in listed
    assert (await sync_sdk.call(sync_sdk.client.models.retrieve, model=MODEL)).id == MODEL
    with pytest.raises(openai.NotFoundError, match="'gpt-9' does not exist"):
        await sync_sdk.call(sync_sdk.client.models.retrieve, model="gpt-9")


@pytest.mark.parametrize(
    ("method", "path", "content", "status"),
    [
        ("POST", "/v1/nowhere", b"{}", 404),
        ("GET", "/v1/chat/completions", b"", 405),
        ("POST", "/v1/models", b"{}", 405),
        ("POST", "/v1/chat/completions", b"{broken", 400),
        ("POST", "/v1/chat/completions", b"[]", 400),
        ("POST", "/v1/responses", b"", 400),
        ("POST", "/", b"{}", 404),
    ],
)
def test_paths_that_lead_nowhere(
    fake: FakeOpenAI, method: str, path: str, content: bytes, status: int
) -> None:
    headers = {"authorization": "Bearer k"}
    answer = httpx2.request(method, f"{fake.url}{path}", headers=headers, content=content)
    assert answer.status_code == status
    assert answer.json()["error"]["type"] == "invalid_request_error"
    assert answer.headers["x-request-id"].startswith("req_")


def test_the_version_prefix_may_be_left_out(fake: FakeOpenAI) -> None:
    for path in ("/chat/completions", "/v1/chat/completions/", "/v1/chat/completions?x=1"):
        answer = httpx2.post(
            f"{fake.url}{path}",
            headers={"authorization": "Bearer k"},
            json={"model": MODEL, "messages": HELLO},
        )
        assert answer.json()["choices"][0]["message"]["content"] == "You said: Hi"
