import pytest

from django_chatgpt.core.limits import DEFAULT_WINDOW, answer_room, context_window, family, is_reasoning

# Retired models, for which the table keeps to the smallest window of their family.
RETIRED = {
    "gpt-4-0125-preview",
    "gpt-4-1106-preview",
    "gpt-4-vision-preview",
    "gpt-4-32k",
    "gpt-4-32k-0314",
    "gpt-4-32k-0613",
}


@pytest.mark.parametrize(
    ("model", "window"),
    [
        ("gpt-6-luna", 1_050_000),
        ("gpt-6.2-astra", 1_050_000),
        ("gpt-6-luna-2026-09-22", 1_050_000),
        ("gpt-5.4", 1_050_000),
        ("gpt-5.4-mini-2026-03-17", 400_000),
        ("gpt-5.2", 400_000),
        ("gpt-5.2-chat-latest", 128_000),
        ("gpt-4o-mini", 128_000),
        ("gpt-4.1-nano", 1_000_000),
        ("gpt-4", 8_192),
        ("gpt-4-turbo-2024-04-09", 128_000),
        ("o3-mini", 200_000),
        ("o1-mini-2024-09-12", 128_000),
        ("ft:gpt-4o-mini-2024-07-18:acme::x", 128_000),
        ("openai/GPT-6-Luna", 1_050_000),
        ("smollm2-135m", DEFAULT_WINDOW),
        ("", DEFAULT_WINDOW),
    ],
)
def test_a_window_is_read_off_the_longest_name_that_fits(model: str, window: int) -> None:
    assert context_window(model, {}) == window


def test_the_sites_own_window_goes_first_and_only_for_that_very_name() -> None:
    own = {"gpt-6-luna": 5_000, "smollm2": 2_048}
    assert context_window("gpt-6-luna", own) == 5_000
    assert context_window("smollm2", own) == 2_048
    assert context_window("gpt-6-luna-2026-09-22", own) == 1_050_000


def test_no_window_is_larger_than_the_price_list_says() -> None:
    from typing import get_args

    from genai_prices.data_snapshot import get_snapshot
    from openai.types.shared.chat_model import ChatModel

    snapshot, compared = get_snapshot(), 0
    for model in get_args(ChatModel):
        try:
            _, known = snapshot.find_provider_model(model, None, "openai", None)
        except LookupError:
            continue
        if known.context_window is None:
            continue
        compared += 1
        if model in RETIRED or model.endswith("-chat-latest"):
            assert context_window(model, {}) <= known.context_window, model
        else:
            assert context_window(model, {}) == known.context_window, model
    assert compared > 60


@pytest.mark.parametrize(
    "model",
    [
        "o1",
        "o3-mini",
        "o4-mini-2025-04-16",
        "gpt-5",
        "gpt-5.4-nano",
        "gpt-6-luna",
        "gpt-6.2-sol",
        "GPT-6-Sol",
        "openai/gpt-5-mini",
        "ft:o4-mini-2025-04-16:acme::x",
    ],
)
def test_these_think_first(model: str) -> None:
    assert is_reasoning(model)


@pytest.mark.parametrize(
    "model",
    [
        "gpt-4o",
        "gpt-4.1",
        "gpt-3.5-turbo",
        "gpt-5-chat-latest",
        "gpt-5.3-chat-latest",
        "chatgpt-4o-latest",
        "gpt-oss-20b",
        "gpt-50",
        "gpt-audio",
        "olmo-2",
        "openhermes",
        "smollm2",
        "",
        "text-embedding-3-small",
    ],
)
def test_these_do_not(model: str) -> None:
    assert not is_reasoning(model)


@pytest.mark.parametrize(
    ("model", "name"),
    [
        ("gpt-6-luna", "gpt-6-luna"),
        ("openai/gpt-6-luna", "gpt-6-luna"),
        ("ft:gpt-4o-mini:acme::x", "gpt-4o-mini"),
        ("qwen3:4b", "qwen3:4b"),
    ],
)
def test_a_family_is_the_bare_name(model: str, name: str) -> None:
    assert family(model) == name


@pytest.mark.parametrize(
    ("model", "max_tokens", "window", "room"),
    [
        ("smollm2", 4_096, 8_192, 4_096),
        ("smollm2", 500, 8_192, 500),
        ("smollm2", 4_096, 4_096, 2_048),
        ("smollm2", None, 8_192, 4_096),
        ("gpt-4o", 4_096, 128_000, 4_096),
        ("gpt-4o", 50_000, 128_000, 16_384),
        ("gpt-4o", None, 128_000, 16_384),
        ("gpt-5-chat-latest", None, 128_000, 16_384),
        ("gpt-5.4-mini", 4_096, 400_000, 128_000),
        ("gpt-5-pro", 4_096, 400_000, 200_000),
        ("o3", 100, 200_000, 100_000),
    ],
)
def test_what_is_kept_free_for_the_answer(model: str, max_tokens: int | None, window: int, room: int) -> None:
    assert answer_room(model, max_tokens, window) == room
