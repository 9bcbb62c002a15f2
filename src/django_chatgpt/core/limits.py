"""What a model can take, read off its name, because no server tells."""

from __future__ import annotations

import re
from collections.abc import Mapping

# Tokens of question and answer together, by the beginning of the name; the longest that fits counts. The
# numbers are those of the package genai-prices 0.2.3, but for the -chat-latest, which OpenAI documents.
CONTEXT_WINDOWS = {
    "gpt-6": 1_050_000,
    "gpt-5.6": 1_050_000,
    "gpt-5.5": 1_000_000,
    "gpt-5.4": 1_050_000,
    "gpt-5.4-mini": 400_000,
    "gpt-5.4-nano": 400_000,
    "gpt-5.3": 128_000,
    "gpt-5.3-codex": 400_000,
    "gpt-5": 400_000,
    "gpt-4.1": 1_000_000,
    "gpt-4o": 128_000,
    "gpt-4-turbo": 128_000,
    "gpt-4": 8_192,
    "gpt-3.5": 16_385,
    "gpt-audio": 128_000,
    "gpt-oss": 131_072,
    "chatgpt-4o": 128_000,
    "codex-mini": 200_000,
    "o1": 200_000,
    "o1-mini": 128_000,
    "o1-preview": 128_000,
    "o3": 200_000,
    "o4-mini": 200_000,
    "text-embedding": 8_192,
}
CHAT_LATEST_WINDOW = 128_000
DEFAULT_WINDOW = 8_192  # what small open models can take

# The longest answers, as OpenAI documents them. Those of gpt-6 are taken to be those of gpt-5.
LONGEST_ANSWERS = {
    "gpt-6": 128_000,
    "gpt-5": 128_000,
    "gpt-5-pro": 272_000,
    "gpt-4.1": 32_768,
    "gpt-4o": 16_384,
    "gpt-4-turbo": 4_096,
    "gpt-4": 8_192,
    "gpt-3.5": 4_096,
    "chatgpt-4o": 16_384,
    "codex-mini": 100_000,
    "o1": 100_000,
    "o1-mini": 65_536,
    "o1-preview": 32_768,
    "o3": 100_000,
    "o4-mini": 100_000,
}
CHAT_LATEST_ANSWER = 16_384

_REASONING = re.compile(r"(o\d|gpt-[56](?!\d))")


def family(model: str) -> str:
    """The name without vendor ("openai/…"), "ft:" and what follows in a fine-tuned model's."""
    name = model.rpartition("/")[2].lower()
    return name.removeprefix("ft:").partition(":")[0] if name.startswith("ft:") else name


def is_reasoning(model: str) -> bool:
    """Whether it is one of OpenAI's models that think first: o*, gpt-5*, gpt-6*, but not *-chat-latest."""
    name = family(model)
    return _REASONING.match(name) is not None and not name.endswith("-chat-latest")


def context_window(model: str, overrides: Mapping[str, int]) -> int:
    """How many tokens question and answer may have together; `overrides` go first, by exact name.

    An unknown model is taken for a small one.
    """
    if model in overrides:
        return overrides[model]
    if _is_chat_latest(model):
        return CHAT_LATEST_WINDOW
    return _known(CONTEXT_WINDOWS, model) or DEFAULT_WINDOW


def answer_room(model: str, max_tokens: int | None, window: int) -> int:
    """How many tokens of its `window` are kept free for the answer, at most half of them.

    `max_tokens` is the longest answer that is asked for, None if that is left to the model. Providers of
    reasoning models keep the longest answer free whatever is asked for: their input has to be shorter.
    """
    longest = CHAT_LATEST_ANSWER if _is_chat_latest(model) else _known(LONGEST_ANSWERS, model)
    half = window // 2
    if longest is None:
        longest = half
    if max_tokens is not None and not is_reasoning(model):
        longest = min(longest, max_tokens)
    return min(longest, half)


def _is_chat_latest(model: str) -> bool:
    name = family(model)
    return name.startswith("gpt-5") and name.endswith("-chat-latest")


def _known(table: Mapping[str, int], model: str) -> int | None:
    """The entry with the longest beginning of the model's name."""
    name = family(model)
    known = [prefix for prefix in table if name.startswith(prefix)]
    return table[max(known, key=len)] if known else None
