"""Whatever JSON it is sent, the fake answers or refuses, and never breaks."""

import json
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from django_chatgpt.testing import FakeOpenAI

NAMES = [
    "role", "content", "type", "text", "id", "call_id", "name", "arguments", "output", "summary",
    "tool_calls",
    "tool_call_id", "function", "parameters", "strict", "properties", "required", "items", "effort", "tools",
    "encrypted_content", "include_usage", "refusal", "input_text", "additionalProperties", "anyOf", "$defs",
]  # fmt: skip
WORDS = [
    "user", "assistant", "tool", "system", "robot", "message", "function", "function_call",
    "function_call_output", "reasoning", "item_reference", "text", "input_text", "output_text", "object",
    "array",
    "none", "low", "gpt-6-luna", "gpt-4o-mini", "text-embedding-3-small", "base64", "rs_1", "fc_1", "",
]  # fmt: skip
ENDPOINTS = {
    "chat/completions": [
        "messages",
        "tools",
        "stream",
        "stream_options",
        "temperature",
        "max_tokens",
        "n",
        "stop",
    ],
    "responses": ["input", "instructions", "tools", "stream", "stream_options", "reasoning", "store", "text"],
    "embeddings": ["input", "dimensions", "encoding_format"],
    "moderations": ["input"],
}

scalars = (
    st.none() | st.booleans() | st.integers(-3, 3000) | st.floats(allow_nan=False) | st.sampled_from(WORDS)
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=5),
    max_leaves=20,
)


@pytest.fixture(scope="module", params=[True, False], ids=["strict", "lenient"])
def any_fake(request: pytest.FixtureRequest) -> Iterator[FakeOpenAI]:
    with FakeOpenAI(strict=request.param) as fake:
        yield fake


@pytest.fixture(scope="module")
def client() -> Iterator[httpx2.Client]:
    with httpx2.Client(headers={"authorization": "Bearer k"}) as client:
        yield client


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_any_body(any_fake: FakeOpenAI, client: httpx2.Client, data: st.DataObject) -> None:
    endpoint = data.draw(st.sampled_from(sorted(ENDPOINTS)))
    body: Any = data.draw(
        values
        | st.fixed_dictionaries(
            {"model": st.sampled_from(["gpt-6-luna", "gpt-4o-mini", "text-embedding-3-small"]) | values},
            optional=dict.fromkeys(ENDPOINTS[endpoint], values),
        )
    )
    answer = client.post(f"{any_fake.base_url}/{endpoint}", content=json.dumps(body))
    request = any_fake.requests[-1]
    listing, errors = f"{request} {request.tools}", any_fake.errors
    any_fake.reset()
    assert errors == []
    assert listing.startswith("#1 POST")
    assert answer.status_code in (200, 400, 404)
    if answer.status_code != 200:
        error = answer.json()["error"]
        assert set(error) == {"message", "type", "param", "code"}
        assert error["message"]


def test_a_character_that_is_half_a_pair(fake: FakeOpenAI, client: httpx2.Client) -> None:
    body = b'{"model":"gpt-6-luna","messages":[{"role":"user","content":"\\ud800"}]}'
    assert client.post(f"{fake.base_url}/chat/completions", content=body).status_code == 400
