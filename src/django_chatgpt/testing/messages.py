"""What the messages of a chat completion must look like: roles, contents, every tool call with its result."""

import re
from collections.abc import Mapping
from typing import Any

from django_chatgpt.testing.errors import Refusal, invalid, listed, missing, unknown, wrong_type, wrong_value

_ROLES: dict[str, frozenset[str]] = {
    "system": frozenset({"role", "content", "name"}),
    "developer": frozenset({"role", "content", "name"}),
    "user": frozenset({"role", "content", "name"}),
    "assistant": frozenset(
        {"role", "content", "name", "refusal", "audio", "annotations", "tool_calls", "function_call"}
    ),
    "tool": frozenset({"role", "content", "tool_call_id"}),
    "function": frozenset({"role", "content", "name"}),
}
_CHAT_PARTS = {
    "user": ["text", "image_url", "input_audio", "file"],
    "assistant": ["text", "refusal"],
}
_PLACE = re.compile(r"\[(\d+)\]")
_INSTEAD = ("tool_calls", "function_call", "refusal", "audio")


def check_messages(messages: object) -> list[dict[str, Any]]:
    """The messages of a chat completion, refused as OpenAI refuses them."""
    taken = listed("messages", messages)
    pending: list[str] = []
    for index, message in enumerate(taken):
        place = f"messages[{index}]"
        if not isinstance(message, dict):
            raise wrong_type(place, "an object", message)
        role = message.get("role")
        if role is None:
            raise missing(f"{place}.role")
        if role not in _ROLES:
            raise wrong_value(f"{place}.role", role, list(_ROLES))
        if strange := sorted(set(message) - _ROLES[role]):
            raise unknown(f"{place}.{strange[0]}")
        if role == "tool":
            _answer_call(message, pending, index)
        elif pending:
            raise _unanswered(pending, index)
        _check_content(message, role, place)
        if role == "assistant":
            pending = _calls(message, place)
    if pending:
        raise _unanswered(pending, len(taken))
    return taken


def _answer_call(message: Mapping[str, Any], pending: list[str], index: int) -> None:
    call_id = message.get("tool_call_id")
    if call_id is None:
        raise missing(f"messages[{index}].tool_call_id")
    if not pending:
        raise invalid(
            "Invalid parameter: messages with role 'tool' must be a response to a preceeding message with "
            "'tool_calls'.",
            f"messages.[{index}].role",
        )
    if call_id not in pending:
        raise invalid(
            f"Invalid parameter: 'tool_call_id' of '{call_id}' not found in 'tool_calls' of previous "
            "message.",
            f"messages.[{index}].tool_call_id",
        )
    pending.remove(call_id)


def _unanswered(pending: list[str], index: int) -> Refusal:
    return invalid(
        "An assistant message with 'tool_calls' must be followed by tool messages responding to each "
        f"'tool_call_id'. The following tool_call_ids did not have response messages: {', '.join(pending)}",
        f"messages.[{index}].role",
    )


def _check_content(message: Mapping[str, Any], role: str, place: str) -> None:
    content = message.get("content")
    if content is None:
        said_otherwise = role == "assistant" and any(message.get(name) is not None for name in _INSTEAD)
        if role != "function" and not said_otherwise:
            dotted = _PLACE.sub(r".[\1]", place)
            raise invalid("Invalid value for 'content': expected a string, got null.", f"{dotted}.content")
        return
    if isinstance(content, str):
        return
    allowed = _CHAT_PARTS.get(role, ["text"])
    for index, part in enumerate(listed(f"{place}.content", content, "a string or an array of objects")):
        where = f"{place}.content[{index}]"
        if not isinstance(part, dict):
            raise wrong_type(where, "an object", part)
        if part.get("type") not in allowed:
            raise wrong_value(f"{where}.type", part.get("type"), allowed)
        if part["type"] not in part:
            raise missing(f"{where}.{part['type']}")


def _calls(message: Mapping[str, Any], place: str) -> list[str]:
    """The ids of the tool calls in an assistant's message."""
    calls = message.get("tool_calls")
    if calls is None:
        return []
    ids: list[str] = []
    for index, call in enumerate(listed(f"{place}.tool_calls", calls)):
        where = f"{place}.tool_calls[{index}]"
        if not isinstance(call, dict):
            raise wrong_type(where, "an object", call)
        for name in ("id", "type", "function"):
            if name not in call:
                raise missing(f"{where}.{name}")
        if strange := sorted(set(call) - {"id", "type", "function"}):
            raise unknown(f"{where}.{strange[0]}")
        for name in ("name", "arguments"):
            value = call["function"].get(name)
            if value is None:
                raise missing(f"{where}.function.{name}")
            if not isinstance(value, str):
                raise wrong_type(f"{where}.function.{name}", "a string", value)
        if call["id"] in ids:
            raise invalid(f"Duplicate value for 'tool_call_id' of '{call['id']}' in message {place}.", place)
        ids.append(call["id"])
    return ids
