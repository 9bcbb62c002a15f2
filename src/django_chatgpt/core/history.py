"""A stored transcript made such that a provider accepts it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, cast

from django_chatgpt.core.messages import Message, ToolCall

UNKNOWN_RESULT = '{"error": "The call was interrupted; whether it took effect is not known."}'
NO_ANSWER = "(There was no answer.)"


def repair(messages: Iterable[Message], *, over: bool = False) -> list[Message]:
    """Give every call its result, right behind it, and every question its answer.

    A turn that was cut leaves gaps: calls without results, results that answer no call, a question that
    another one follows, or that is the last one though all is `over`. Many servers refuse such transcripts.
    A gap is filled with a text that says so; nothing that was said is lost.
    """
    lines = list(messages)
    if any(line["role"] == "tool" or "tool_calls" in line for line in lines):
        lines = _with_results(lines)
    return _with_answers(lines, over)


def _with_results(lines: list[Message]) -> list[Message]:
    repaired: list[Message] = []
    position = 0
    while position < len(lines):
        line = lines[position]
        position += 1
        if line["role"] == "tool":
            continue
        repaired.append(line)
        calls = line.get("tool_calls")
        if not calls:
            continue
        results: dict[str, Message] = {}
        while position < len(lines) and lines[position]["role"] == "tool":
            result = lines[position]
            results.setdefault(result.get("tool_call_id", ""), result)
            position += 1
        repaired.extend(results.get(call["id"]) or _unknown(call) for call in calls)
    return repaired


def _with_answers(lines: list[Message], over: bool) -> list[Message]:
    repaired: list[Message] = []
    waiting = False
    for line in lines:
        role = line["role"]
        if role == "user" and waiting:
            repaired.append({"role": "assistant", "content": NO_ANSWER})
        if role != "system":
            waiting = role != "assistant"
        repaired.append(line)
    if over and waiting:
        repaired.append({"role": "assistant", "content": NO_ANSWER})
    return repaired


def _unknown(call: ToolCall) -> Message:
    return {"role": "tool", "content": UNKNOWN_RESULT, "tool_call_id": call["id"]}


def from_legacy(rows: Sequence[dict[str, Any]]) -> list[Message]:
    """Turn `function_call` and role `function`, as old data has them, into calls and their results.

    Any other `function_call`, such as "auto", is no call and is left out.
    """
    lines: list[Message] = []
    pending = ""
    for number, row in enumerate(rows):
        call = row.pop("function_call", None)
        if row["role"] == "assistant" and call and isinstance(call, Mapping):
            pending = f"call_legacy_{number}"
            row["tool_calls"] = [
                {
                    "id": pending,
                    "type": "function",
                    "function": {
                        "name": str(call.get("name", "")),
                        "arguments": str(call.get("arguments", "")),
                    },
                }
            ]
        elif row["role"] == "function":
            row["role"], row["tool_call_id"] = "tool", pending
        lines.append(cast(Message, row))
    return lines
