"""Calls as a model would make them."""

from __future__ import annotations

import json
from typing import Any

from django_chatgpt.core.messages import FunctionCall


def call(name: str, /, call_id: str | None = None, **arguments: Any) -> FunctionCall:
    return FunctionCall(id=call_id or f"call_{name}", name=name, arguments=json.dumps(arguments))


def raw(name: str, arguments: str) -> FunctionCall:
    """A call with arguments exactly so."""
    return FunctionCall(id=f"call_{name}", name=name, arguments=arguments)
