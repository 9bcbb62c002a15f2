"""Responses: how an answer looks on the wire, whole and as its sequence of events."""

import base64
import hashlib
import time
from collections.abc import Iterator
from typing import Any

from django_chatgpt.testing.frames import Frame, billed, event, in_turns, named_calls, new_id, padding
from django_chatgpt.testing.recorder import Request
from django_chatgpt.testing.steps import Answer, Call, Usage

_INCOMPLETE = {"length": "max_output_tokens", "content_filter": "content_filter"}


def seal(item_id: str) -> str:
    """The encrypted_content of a reasoning item: opaque, and good for the item of that id alone."""
    digest = hashlib.shake_256(b"sealed reasoning of " + item_id.encode()).digest(96)
    return "gAAAAAB" + base64.urlsafe_b64encode(digest).decode()


class ResponsesRendering:
    """One answer as a response, or as the events that build it.

    `prompt`: tokens of the request, for a usage that is counted.
    """

    def __init__(self, request: Request, answer: Answer, prompt: int) -> None:
        self._answer = answer
        self._prompt = prompt
        self._body = request.body
        self._id = new_id("resp_")
        self._created = int(time.time())
        self._message_id = new_id("msg_")
        self._reasoning_id = new_id("rs_")
        self._calls = [(call, call_id, new_id("fc_")) for call, call_id in named_calls(answer)]
        self._obfuscated = request.stream_options.get("include_obfuscation") is not False
        self._number = 0

    @property
    def hidden(self) -> str:
        return ""

    def frames(self) -> list[Frame]:
        self._number = 0
        return list(self._frames())

    def whole(self) -> dict[str, Any]:
        return self._response(self._status, self._output())

    def trouble(self, written: int) -> bytes:
        self._number = written
        error = self._answer.error.error
        events = b""
        if self._answer.error_event == "flat":
            events = self._event("error", {key: error[key] for key in ("code", "message", "param")}).data
        elif self._answer.error_event == "nested":
            events = self._event("error", {"error": error}).data
        return events + self._event("response.failed", {"response": self.failed()[1]}).data

    def failed(self) -> tuple[int, dict[str, Any]]:
        error = self._answer.error.error
        response = self._response("failed", [])
        response["error"] = {"code": error["code"] or "server_error", "message": error["message"]}
        return 200, response

    # events

    def _frames(self) -> Iterator[Frame]:
        for name in ("response.created", "response.in_progress"):
            yield self._event(name, {"response": self._response("in_progress", [])})
        index = 0
        if self._answer.reasoning is not None:
            yield from self._reasoning_frames(index, self._answer.reasoning)
            index += 1
        if self._has_message:
            yield from self._message_frames(index)
            index += 1
        yield from self._call_frames(index)
        yield self._event(f"response.{self._status}", {"response": self.whole()})

    def _reasoning_frames(self, index: int, summary: str) -> Iterator[Frame]:
        place = {"item_id": self._reasoning_id, "output_index": index, "summary_index": 0}
        yield self._added(
            index, {"id": self._reasoning_id, "type": "reasoning", "content": [], "summary": []}
        )
        if summary:
            part = {"type": "summary_text", "text": summary}
            yield self._event(
                "response.reasoning_summary_part.added", {**place, "part": {**part, "text": ""}}
            )
            for start in range(0, len(summary), 12):
                piece = summary[start : start + 12]
                yield self._event("response.reasoning_summary_text.delta", {**place, "delta": piece}, piece)
            yield self._event("response.reasoning_summary_text.done", {**place, "text": summary})
            yield self._event("response.reasoning_summary_part.done", {**place, "part": part})
        yield self._done(index, self._reasoning())

    def _message_frames(self, index: int) -> Iterator[Frame]:
        answer = self._answer
        place = {"item_id": self._message_id, "output_index": index, "content_index": 0}
        yield self._added(index, {**self._message(), "status": "in_progress", "content": []})
        if answer.refusal is not None:
            part = {"type": "refusal", "refusal": answer.refusal}
            yield self._event("response.content_part.added", {**place, "part": {**part, "refusal": ""}})
            if answer.refusal:
                yield self._event(
                    "response.refusal.delta", {**place, "delta": answer.refusal}, answer.refusal
                )
            yield self._event("response.refusal.done", {**place, "refusal": answer.refusal})
        else:
            part = self._text_part(answer.text)
            yield self._event("response.content_part.added", {**place, "part": self._text_part("")})
            for piece in answer.pieces:
                delta = {**place, "delta": piece, "logprobs": []}
                yield self._event("response.output_text.delta", delta, piece)
            yield self._event("response.output_text.done", {**place, "text": answer.text, "logprobs": []})
        yield self._event("response.content_part.done", {**place, "part": part})
        yield self._done(index, self._message())

    def _call_frames(self, first: int) -> Iterator[Frame]:
        """One item after the other; interleaved all are added before the first fragment."""
        groups = [self._calls] if self._answer.interleave else [[call] for call in self._calls]
        for group in groups:
            for index, named in enumerate(group, first):
                yield self._added(index, self._call(*named) | {"status": "in_progress", "arguments": ""})
            for offset, piece in in_turns([call.pieces for call, _, _ in group], True):
                place = {"item_id": group[offset][2], "output_index": first + offset}
                yield self._event("response.function_call_arguments.delta", {**place, "delta": piece}, piece)
            for index, named in enumerate(group, first):
                done = {"item_id": named[2], "output_index": index, "arguments": named[0].json}
                yield self._event("response.function_call_arguments.done", done)
                yield self._done(index, self._call(*named))
            first += len(group)

    def _added(self, index: int, item: dict[str, Any]) -> Frame:
        return self._event("response.output_item.added", {"output_index": index, "item": item})

    def _done(self, index: int, item: dict[str, Any]) -> Frame:
        return self._event("response.output_item.done", {"output_index": index, "item": item})

    def _event(self, name: str, data: dict[str, Any], piece: str | None = None) -> Frame:
        body = {"type": name, "sequence_number": self._number, **data}
        if piece is not None and self._obfuscated:
            body["obfuscation"] = padding(piece)
        self._number += 1
        return Frame(event(body, name), piece)

    # items

    @property
    def _has_message(self) -> bool:
        answer = self._answer
        return bool(answer.text) or answer.refusal is not None or not answer.calls

    @property
    def _status(self) -> str:
        return "incomplete" if self._answer.finish in _INCOMPLETE else "completed"

    def _output(self) -> list[dict[str, Any]]:
        items = [self._reasoning()] if self._answer.reasoning is not None else []
        if self._has_message:
            items.append(self._message())
        return items + [self._call(*named) for named in self._calls]

    def _reasoning(self) -> dict[str, Any]:
        summary = self._answer.reasoning
        return {
            "id": self._reasoning_id,
            "type": "reasoning",
            "content": [],
            "summary": [{"type": "summary_text", "text": summary}] if summary else [],
            "encrypted_content": seal(self._reasoning_id),
        }

    def _message(self) -> dict[str, Any]:
        refusal = self._answer.refusal
        return {
            "id": self._message_id,
            "type": "message",
            "status": self._status,
            "role": "assistant",
            "phase": "commentary" if self._calls else "final_answer",
            "content": [
                self._text_part(self._answer.text)
                if refusal is None
                else {"type": "refusal", "refusal": refusal}
            ],
        }

    def _text_part(self, text: str) -> dict[str, Any]:
        return {"type": "output_text", "annotations": [], "logprobs": [], "text": text}

    def _call(self, call: Call, call_id: str, item_id: str) -> dict[str, Any]:
        return {
            "id": item_id,
            "type": "function_call",
            "status": "completed",
            "arguments": call.json,
            "call_id": call_id,
            "name": call.name,
        }

    def _response(self, status: str, output: list[dict[str, Any]]) -> dict[str, Any]:
        ended = status in ("completed", "incomplete")
        reason = _INCOMPLETE.get(self._answer.finish or "")
        asked = {name: self._body.get(name) for name in _ECHOED}
        return {
            **asked,
            "id": self._id,
            "object": "response",
            "created_at": self._created,
            "status": status,
            "background": False,
            "completed_at": int(time.time()) if status == "completed" else None,
            "error": None,
            "incomplete_details": {"reason": reason} if status == "incomplete" else None,
            "model": self._answer.model or self._body.get("model"),
            "output": output,
            "parallel_tool_calls": self._body.get("parallel_tool_calls") is not False,
            "reasoning": self._body.get("reasoning") or {"effort": None, "summary": None},
            "service_tier": "default",
            "store": self._body.get("store") is not False,
            "text": self._body.get("text") or {"format": {"type": "text"}, "verbosity": "medium"},
            "tool_choice": self._body.get("tool_choice") or "auto",
            "tools": self._body.get("tools") or [],
            "truncation": self._body.get("truncation") or "disabled",
            "usage": self._usage() if ended else None,
            "metadata": self._body.get("metadata") or {},
        }

    def _usage(self) -> dict[str, Any] | None:
        usage = self._answer.usage
        if usage is None:
            return None
        if not isinstance(usage, Usage):
            usage = billed(self._answer, self._prompt, output(self._answer), True)
        return {
            "input_tokens": usage.prompt,
            "input_tokens_details": {"cached_tokens": usage.cached, "cache_write_tokens": usage.cache_write},
            "output_tokens": usage.completion,
            "output_tokens_details": {"reasoning_tokens": usage.reasoning},
            "total_tokens": usage.total,
        }


_ECHOED = (
    "instructions",
    "max_output_tokens",
    "max_tool_calls",
    "previous_response_id",
    "prompt_cache_key",
    "safety_identifier",
    "temperature",
    "top_logprobs",
    "top_p",
    "user",
)


def output(answer: Answer) -> list[str]:
    """All that the model says on the wire."""
    calls = (call.json for call in answer.calls)
    return [answer.reasoning or "", answer.text, answer.refusal or "", *calls]
