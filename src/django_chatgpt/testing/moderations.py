"""Moderations: nothing is flagged but what the test said should be."""

from collections.abc import Mapping
from typing import Any

from django_chatgpt.testing.errors import invalid, missing
from django_chatgpt.testing.frames import new_id

CATEGORIES = (
    "harassment",
    "harassment/threatening",
    "hate",
    "hate/threatening",
    "illicit",
    "illicit/violent",
    "self-harm",
    "self-harm/intent",
    "self-harm/instructions",
    "sexual",
    "sexual/minors",
    "violence",
    "violence/graphic",
)
_IMAGES_TOO = {
    "self-harm",
    "self-harm/intent",
    "self-harm/instructions",
    "sexual",
    "violence",
    "violence/graphic",
}


def answer(body: Mapping[str, Any], flags: Mapping[str, frozenset[str]]) -> dict[str, Any]:
    """One result for each text, one for all parts of a multimodal input.

    `flags`: words (any case) and the categories under which a text with them is flagged.
    """
    if "input" not in body:
        raise missing("input")
    value = body["input"]
    inputs = value if isinstance(value, list) else [value]
    if not inputs or not all(isinstance(item, str | dict) for item in inputs):
        raise invalid(
            "Invalid value for 'input': expected a string, an array of strings or of objects.", "input"
        )
    if isinstance(inputs[0], dict):
        inputs = ["\n".join(str(part.get("text", "")) for part in inputs if isinstance(part, dict))]
    return {
        "id": new_id("modr-"),
        "model": body.get("model") or "omni-moderation-latest",
        "results": [_result(str(text), flags) for text in inputs],
    }


def _result(text: str, flags: Mapping[str, frozenset[str]]) -> dict[str, Any]:
    found: set[str] = set()
    for word, categories in flags.items():
        if word.lower() in text.lower():
            found |= categories
    return {
        "flagged": bool(found),
        "categories": {name: name in found for name in CATEGORIES},
        "category_scores": {name: 0.98 if name in found else 0.0001 for name in CATEGORIES},
        "category_applied_input_types": {
            name: ["text", "image"] if name in _IMAGES_TOO else ["text"] for name in CATEGORIES
        },
    }
