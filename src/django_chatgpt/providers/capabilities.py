"""What a model accepts, read off its name, because no server tells."""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import urlsplit

from django_chatgpt.core.limits import family, is_reasoning
from django_chatgpt.core.request import Endpoint

_CHAT_TOOLS_WITHOUT_EFFORT: Final = re.compile(r"gpt-(5\.6|6)(?![0-9])")
_NO_EFFORT_NONE: Final = re.compile(r"gpt-6\.1-sol|gpt-6\.2|gpt-6[.0-9]*-astra")

SAMPLING_OPTIONS: Final = ("temperature", "top_p", "frequency_penalty", "presence_penalty")


def is_openai(endpoint: Endpoint) -> bool:
    """Whether OpenAI itself answers there; others may refuse an option they don't know."""
    if endpoint.base_url is None:
        return True
    try:
        host = urlsplit(endpoint.base_url).hostname or ""
    except ValueError:
        return False
    return host == "api.openai.com" or host.endswith(".api.openai.com")


def accepts_sampling(model: str) -> bool:
    """Whether temperature, top_p and the penalties may be sent to it."""
    return not is_reasoning(model)


def chat_refuses_tools(model: str) -> bool:
    """Whether it takes functions in the Responses dialect only."""
    return _takes_tools_without_effort(model) and _NO_EFFORT_NONE.match(family(model)) is not None


def chat_tools_need_effort_none(model: str) -> bool:
    """Whether Chat Completions takes functions for it only with `reasoning_effort` "none"."""
    return _takes_tools_without_effort(model) and not chat_refuses_tools(model)


def _takes_tools_without_effort(model: str) -> bool:
    return is_reasoning(model) and _CHAT_TOOLS_WITHOUT_EFFORT.match(family(model)) is not None
