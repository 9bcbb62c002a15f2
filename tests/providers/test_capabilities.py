"""What a model accepts, by its name."""

import pytest

from django_chatgpt.core.limits import is_reasoning
from django_chatgpt.core.request import Endpoint
from django_chatgpt.providers import capabilities


@pytest.mark.parametrize(
    "model",
    [
        "o1",
        "o3-mini",
        "o4-mini-2025-04-16",
        "gpt-5",
        "gpt-5-mini",
        "gpt-5.2-pro",
        "gpt-5.6-sol",
        "gpt-6-luna",
        "gpt-6-luna-2026-09-22",
        "GPT-6.1-Sol",
        "openai/gpt-6-sol",
        "ft:gpt-5-mini:acme::abc",
    ],
)
def test_reasoning_models_take_no_sampling_options(model: str) -> None:
    assert is_reasoning(model)
    assert not capabilities.accepts_sampling(model)


@pytest.mark.parametrize(
    "model",
    [
        "gpt-4o",
        "gpt-4.1-mini",
        "gpt-5-chat-latest",
        "gpt-5.2-chat-latest",
        "ft:gpt-4o:acme::gpt-5",
        "gpt-50-turbo",
        "gpt-oss-120b",
        "olmo-2",
        "smollm2",
        "llama-3.3-70b",
        "",
    ],
)
def test_other_models_do(model: str) -> None:
    assert not is_reasoning(model)
    assert capabilities.accepts_sampling(model)


@pytest.mark.parametrize(
    ("model", "refuses", "effort_none"),
    [
        ("gpt-4o", False, False),
        ("gpt-5.4-mini", False, False),
        ("gpt-5.6-luna", False, True),
        ("gpt-6-luna", False, True),
        ("gpt-6-sol", False, True),
        ("gpt-6.1-terra", False, True),
        ("gpt-6.1-sol", True, False),
        ("gpt-6-astra", True, False),
        ("gpt-6.2-astra", True, False),
        ("gpt-6.2-sol", True, False),
        ("openai/gpt-6.2-sol-2026-11-17", True, False),
    ],
)
def test_functions_in_chat_completions(model: str, refuses: bool, effort_none: bool) -> None:
    assert capabilities.chat_refuses_tools(model) is refuses
    assert capabilities.chat_tools_need_effort_none(model) is effort_none


@pytest.mark.parametrize(
    ("base_url", "expected"),
    [
        (None, True),
        ("https://api.openai.com/v1", True),
        ("https://eu.api.openai.com/v1", True),
        ("https://api.openai.com.example.org/v1", False),
        ("http://127.0.0.1:8080/v1", False),
        ("https://example.org/api.openai.com", False),
        ("http://[::1", False),
        ("nonsense", False),
    ],
)
def test_who_is_openai(base_url: str | None, expected: bool) -> None:
    assert capabilities.is_openai(Endpoint("k", base_url)) is expected
