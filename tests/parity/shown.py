"""One form for what the doors show: the engine's events, server-sent events and frames read back into it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from django_chatgpt.core import events as engine
from django_chatgpt.core.events import TurnEvent

#: What is said of an event of each type: by the engine, everything; what a door lacks here it does not say.
WHOLE: dict[str, tuple[str, ...]] = {
    "start": (),
    "content": ("content",),
    "function_call_start": ("call", "name"),
    "function_arguments": ("call", "arguments"),
    "function_call": ("call", "name", "arguments", "needs_approval"),
    "function_result": ("call", "name", "result", "status", "code"),
    "finish": ("reason", "usage", "cost", "stored", "model"),
    "error": ("code", "message", "retry_after"),
    "done": (),
}
HTTP = {
    kind: told for kind, told in WHOLE.items() if kind not in ("function_call_start", "function_arguments")
}
HTTP |= {
    "finish": ("reason", "usage", "cost", "stored"),
    "error": ("code", "message"),
}
SOCKET = {kind: told for kind, told in WHOLE.items() if kind != "done"}

_FRAMES = {
    "processing_start": "start",
    "content_chunk": "content",
    "function_call_start": "function_call_start",
    "function_arguments_chunk": "function_arguments",
    "function_execution_start": "function_call",
    "function_execution_complete": "function_result",
    "function_execution_error": "function_result",
    "message_complete": "finish",
    "error": "error",
}


@dataclass(frozen=True)
class Shown:
    """An event: its number, its type and what it says; ids that differ from turn to turn are left out."""

    number: int
    kind: str
    said: dict[str, Any]


def of_engine(events: Sequence[TurnEvent]) -> list[Shown]:
    return [Shown(event.seq, event.type, _said(event)) for event in events]


def _said(event: TurnEvent) -> dict[str, Any]:
    match event:
        case engine.Content():
            return {"content": event.content}
        case engine.CallStarted():
            return {"call": event.call_id, "name": event.name}
        case engine.CallArguments():
            return {"call": event.call_id, "arguments": event.arguments}
        case engine.CallRequested(call=call):
            told = {"call": call.id, "name": call.name, "arguments": call.arguments}
            return told | {"needs_approval": event.needs_approval}
        case engine.CallReturned(result=result):
            told = {"call": result.call.id, "name": result.call.name, "result": result.output}
            return told | {"status": result.status, "code": result.error_code}
        case engine.Finished():
            told = {"reason": event.reason, "usage": event.usage.model_dump(), "cost": event.cost}
            return told | {"stored": event.message_id is not None, "model": event.model}
        case engine.Failed():
            return {"code": event.code, "message": event.message, "retry_after": event.retry_after}
    return {}


def of_http(events: Sequence[dict[str, Any]]) -> list[Shown]:
    """The events of a stream, each with its number as `seq`."""
    return [Shown(event["seq"], event["type"], _read(event["type"], event, "id", HTTP)) for event in events]


def of_socket(frames: Sequence[dict[str, Any]]) -> list[Shown]:
    """The frames of a turn."""
    kinds = [_FRAMES[frame["type"]] for frame in frames]
    return [
        Shown(frame["id"], kind, _read(kind, frame, "call_id", SOCKET))
        for kind, frame in zip(kinds, frames, strict=True)
    ]


def _read(kind: str, told: dict[str, Any], call: str, words: dict[str, tuple[str, ...]]) -> dict[str, Any]:
    match kind:
        case "finish":
            told = told | {"stored": told["message_id"] is not None, "cost": Decimal(told["cost"])}
        case "error":
            told = {"retry_after": None} | told["error"]
        case "function_call":
            told = told | {"call": told[call], "needs_approval": told.get("requires_approval", False)}
        case "function_result" | "function_call_start" | "function_arguments":
            told = {"code": ""} | told | {"call": told[call]}
    return {name: told[name] for name in words[kind]}


def narrowed(events: Sequence[Shown], words: dict[str, tuple[str, ...]]) -> list[Shown]:
    """What a door with these words shows of it. That a turn rests is not its end, once it has gone on."""
    return [
        Shown(each.number, each.kind, {name: each.said[name] for name in words[each.kind]})
        for each in events
        if each.kind in words and (each.kind != "done" or each is events[-1])
    ]
