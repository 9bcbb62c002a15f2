"""When OpenAI's models are switched off.

Source: the notes on the names of models in OpenAI's SDK, openai 3.54 (types/shared/chat_model.py), which
repeat https://developers.openai.com/api/docs/deprecations, as read on 2026-11-22. A model with a date in its
name goes with the one without, unless it has a day of its own.
"""

from __future__ import annotations

import re
from datetime import date

from django_chatgpt.core.limits import family

_ON = {
    date(2024, 9, 13): "gpt-3.5-turbo-16k gpt-3.5-turbo-0301 gpt-3.5-turbo-0613 gpt-3.5-turbo-16k-0613",
    date(2024, 12, 6): "gpt-4-vision-preview",
    date(2025, 6, 6): "gpt-4-32k gpt-4-32k-0314 gpt-4-32k-0613",
    date(2025, 7, 28): "o1-preview",
    date(2025, 10, 27): "o1-mini",
    date(2026, 2, 12): "codex-mini-latest",
    date(2026, 2, 17): "chatgpt-4o-latest",
    date(2026, 3, 26): "gpt-4-0125-preview gpt-4-turbo-preview gpt-4-0314",
    date(2026, 5, 7): "gpt-4o-audio-preview gpt-4o-mini-audio-preview",
    date(2026, 7, 23): "gpt-5.1-codex gpt-5.1-chat-latest gpt-5-chat-latest gpt-4o-search-preview "
    "gpt-4o-mini-search-preview",
    date(2026, 8, 10): "gpt-5.3-chat-latest gpt-5.2-chat-latest",
    date(2026, 9, 28): "gpt-3.5-turbo-1106",
    date(2026, 10, 23): "gpt-4.1-nano o4-mini o3-mini o1 gpt-4o-2024-05-13 gpt-4-turbo gpt-4-1106-preview "
    "gpt-4 gpt-4-0613 gpt-3.5-turbo gpt-3.5-turbo-0125",
    date(2026, 12, 11): "gpt-5 gpt-5-mini gpt-5-nano o3",
    date(2027, 1, 14): "gpt-4.1 gpt-4.1-mini gpt-4o gpt-4o-mini",
    date(2027, 1, 20): "gpt-audio-mini",
    date(2027, 4, 1): "gpt-5.4-nano gpt-5.1",
}
RETIRED = {model: day for day, models in _ON.items() for model in models.split()}
VERSION = re.compile(r"-\d{4}-\d\d-\d\d$")


def retired_on(model: str) -> date | None:
    """The day on which OpenAI switches a model off, None if none is known."""
    name = family(model)
    return RETIRED.get(name) or RETIRED.get(VERSION.sub("", name))
