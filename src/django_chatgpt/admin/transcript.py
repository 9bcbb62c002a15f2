"""A conversation as people read it: turns, what was said in them, what was called and what that answered."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from django.core.paginator import Page, Paginator

from django_chatgpt.models import AIConversation, AIFunctionCall, AIMessage, AITurn, AIUsage
from django_chatgpt.services import breakdowns
from django_chatgpt.services.reports import Used

PER_PAGE = 50


@dataclass(slots=True)
class ShownCall:
    """A call: what the model wrote, what a person made of that, how it ended, what it answered.

    `result` is the message with the answer, None if there is none on this page.
    """

    name: str
    arguments: str
    written: str = ""
    row: AIFunctionCall | None = None
    result: AIMessage | None = None


@dataclass(slots=True)
class Line:
    """A message with the calls it asks for."""

    message: AIMessage
    calls: list[ShownCall] = field(default_factory=list)


@dataclass(slots=True)
class Part:
    """The lines of one turn that are on a page; without a turn, lines that belong to none."""

    turn: AITurn | None
    used: Used | None
    lines: list[Line] = field(default_factory=list)


def pages_of(conversation: AIConversation) -> Paginator[AIMessage]:
    """The messages of a conversation in their order, PER_PAGE on each page."""
    messages = AIMessage.objects.filter(conversation=conversation).order_by("sequence")
    return Paginator(messages, PER_PAGE)


def parts_of(page: Page[AIMessage]) -> list[Part]:
    """A page of messages by turns, in four queries."""
    messages = list(page.object_list)
    turn_ids = {message.turn_id for message in messages if message.turn_id is not None}
    turns = AITurn.objects.select_related("user").in_bulk(turn_ids)
    calls = AIFunctionCall.objects.filter(turn_id__in=turn_ids).select_related("decided_by")
    made = {(call.turn_id, call.call_id): call for call in calls}
    used = breakdowns.of_turns(AIUsage.objects.filter(turn_id__in=turn_ids)) if turn_ids else {}
    parts: list[Part] = []
    asked: dict[tuple[Any, str], ShownCall] = {}
    for message in messages:
        key = message.turn_id
        if not parts or (parts[-1].turn.pk if parts[-1].turn else None) != key:
            parts.append(Part(turns.get(key) if key else None, used.get(key)))
        answered = asked.get((key, message.tool_call_id)) if message.tool_call_id else None
        if answered is not None and answered.result is None:
            answered.result = message
            continue
        line = Line(message, _calls(message, made))
        parts[-1].lines.append(line)
        for wanted, shown in zip(_wanted(message), line.calls, strict=True):
            asked[key, str(wanted.get("id", ""))] = shown
    return parts


def _wanted(message: AIMessage) -> list[dict[str, Any]]:
    """What a message asks to be called; what is no call in the form of OpenAI's is left out."""
    found = message.tool_calls if isinstance(message.tool_calls, list) else []
    wanted = [each for each in found if isinstance(each, dict) and isinstance(each.get("function"), dict)]
    if isinstance(message.function_call, dict):
        wanted.append({"function": message.function_call})
    return wanted


def _calls(message: AIMessage, made: dict[tuple[Any, str], AIFunctionCall]) -> list[ShownCall]:
    notes = message.metadata if isinstance(message.metadata, dict) else {}
    edited = notes.get("edited_arguments", {})
    shown = []
    for wanted in _wanted(message):
        call_id = str(wanted.get("id", ""))
        shown.append(
            ShownCall(
                name=str(wanted["function"].get("name", "")),
                arguments=pretty(wanted["function"].get("arguments")),
                written=pretty(edited[call_id]) if call_id in edited else "",
                row=made.get((message.turn_id, call_id)),
            )
        )
    return shown


def pretty(arguments: Any) -> str:
    """JSON laid out to be read; text that is none as it is."""
    if not isinstance(arguments, str):
        return json.dumps(arguments, indent=2, ensure_ascii=False)
    try:
        return json.dumps(json.loads(arguments), indent=2, ensure_ascii=False)
    except ValueError:
        return arguments
