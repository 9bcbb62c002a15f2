"""What the model of a soak may call."""

from __future__ import annotations

from django_chatgpt.functions import ai_function


@ai_function
def current_weather() -> dict[str, object]:
    """The weather outside."""
    return {"sky": "clear", "celsius": 21}
