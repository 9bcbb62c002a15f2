"""What goes out: one JSON object for each frame, with its `type`.

`frame_of` maps the events of a turn; each has the frame that EVENTS names, and those that are not there have
none. Such a frame carries `turn_id` and the event's number as `id`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from pydantic_core import PydanticSerializationError, to_json

from django_chatgpt.core.events import (
    CallArguments,
    CallRequested,
    CallReturned,
    CallStarted,
    Content,
    Failed,
    Finished,
    Started,
    TurnEvent,
)
from django_chatgpt.exceptions import AIServiceError
from django_chatgpt.services.shown import error_body, money, seconds_to_wait

Frame = dict[str, Any]

#: The frames of each kind of event: of an answered call the one of its status.
EVENTS: Final[Mapping[type[TurnEvent], tuple[str, ...]]] = {
    Started: ("processing_start",),
    Content: ("content_chunk",),
    CallStarted: ("function_call_start",),
    CallArguments: ("function_arguments_chunk",),
    CallRequested: ("function_execution_start",),
    CallReturned: ("function_execution_complete", "function_execution_error"),
    Finished: ("message_complete",),
    Failed: ("error",),
}

#: What a frame of each type may carry beside its `type`.
CHAT: Final[Mapping[str, tuple[str, ...]]] = {
    "connection_established": (),
    "processing_start": ("turn_id", "id", "conversation_id", "ref"),
    "content_chunk": ("turn_id", "id", "content"),
    "function_call_start": ("turn_id", "id", "call_id", "name"),
    "function_arguments_chunk": ("turn_id", "id", "call_id", "arguments"),
    "function_execution_start": ("turn_id", "id", "call_id", "name", "arguments", "requires_approval"),
    "function_execution_complete": ("turn_id", "id", "call_id", "name", "result", "status"),
    "function_execution_error": ("turn_id", "id", "call_id", "name", "result", "status", "code"),
    "message_complete": (
        *("turn_id", "id", "reason", "usage", "cost", "message_id", "model", "waiting", "ref"),
    ),
    "conversation_started": ("conversation_id", "conversation", "ref"),
    "conversation_ended": ("conversation_id", "conversation", "ref"),
    "direct_function_result": ("function_name", "arguments", "result", "status", "ref"),
    "conversations_list": ("conversations", "pagination", "ref"),
    "notification": ("payload",),
    "pong": ("ref",),
    "error": ("error", "turn_id", "id", "ref"),
}
MONITORING: Final[Mapping[str, tuple[str, ...]]] = {
    "connection_established": (),
    "system_stats": ("stats", "ref"),
    "user_activity": ("activity", "ref"),
    "cost_analytics": ("costs", "ref"),
    "monitoring_event": ("event", "data"),
    "pong": ("ref",),
    "error": ("error", "ref"),
}


def frame_of(event: TurnEvent, waiting: Sequence[Any] = ()) -> Frame | None:
    """The frame of an event; None for those that this door has no word for.

    `waiting`: the calls that a person has to decide about, where the event is that the turn waits for it.
    """
    match event:
        case Content():
            return _of(event, "content_chunk", content=event.content)
        case Started():
            return _of(event, "processing_start", conversation_id=event.conversation_id)
        case CallStarted():
            return _of(event, "function_call_start", call_id=event.call_id, name=event.name)
        case CallArguments():
            return _of(event, "function_arguments_chunk", call_id=event.call_id, arguments=event.arguments)
        case CallRequested(call=call):
            frame = _of(event, "function_execution_start", call_id=call.id, name=call.name)
            frame["arguments"] = call.arguments
            return frame | {"requires_approval": True} if event.needs_approval else frame
        case CallReturned(result=result):
            done = result.status == "completed"
            kind = "function_execution_complete" if done else "function_execution_error"
            frame = _of(event, kind, call_id=result.call.id)
            frame |= {"name": result.call.name, "result": result.output, "status": result.status}
            return frame if done else frame | {"code": result.error_code}
        case Finished():
            frame = _of(event, "message_complete", reason=event.reason, usage=event.usage.model_dump())
            frame |= {"cost": money(event.cost), "message_id": event.message_id, "model": event.model}
            return frame | {"waiting": list(waiting)} if event.reason == "awaiting_approval" else frame
        case Failed():
            error: Frame = {"code": event.code, "message": event.message}
            if event.retry_after is not None:
                error["retry_after"] = event.retry_after
            return _of(event, "error", error=error)
    return None


def _of(event: TurnEvent, kind: str, **fields: Any) -> Frame:
    return {"type": kind, "turn_id": event.turn_id, "id": event.seq, **fields}


def error_frame(error: AIServiceError, ref: str | None = None) -> Frame:
    """What of an error leaves the site; where it may be tried again, after how many seconds."""
    body = error_body(error)
    wait = seconds_to_wait(error)
    if wait is not None:
        body["retry_after"] = wait
    return answer("error", ref, error=body)


def answer(kind: str, ref: str | None, **fields: Any) -> Frame:
    """A frame that answers one that came; `ref` is what that one was called, if it was."""
    frame = {"type": kind, **fields}
    return frame if ref is None else frame | {"ref": ref}


def render(frame: Frame) -> str:
    """A frame as text."""
    try:
        return to_json(frame).decode()
    except (PydanticSerializationError, ValueError):
        # A value of the site's own that is no text: half a character.
        return to_json(error_frame(AIServiceError())).decode()
