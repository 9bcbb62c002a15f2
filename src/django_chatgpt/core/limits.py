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

    An unknown model is taken for a small one. Of the window, answers of reasoning models may claim up to
    128,000 tokens (272,000 with gpt-5-pro), which the provider may refuse to fill with input.
    """
    if model in overrides:
        return overrides[model]
    name = family(model)
    if name.startswith("gpt-5") and name.endswith("-chat-latest"):
        return CHAT_LATEST_WINDOW
    known = [prefix for prefix in CONTEXT_WINDOWS if name.startswith(prefix)]
    return CONTEXT_WINDOWS[max(known, key=len)] if known else DEFAULT_WINDOW
