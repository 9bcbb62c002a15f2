"""Chat Completions: how an answer looks on the wire, whole and streamed."""

import time
from collections.abc import Iterator
from typing import Any

from django_chatgpt.testing.frames import (
    Frame,
    billed,
    error_body,
    event,
    in_turns,
    named_calls,
    new_id,
    padding,
)
from django_chatgpt.testing.recorder import Request
from django_chatgpt.testing.steps import Answer, Usage

_DONE = b"data: [DONE]\n\n"


class ChatRendering:
    """One answer as a chat.completion, or as chat.completion.chunk events.

    `prompt`: tokens of the request, for a usage that is counted.
    """

    def __init__(self, request: Request, answer: Answer, prompt: int) -> None:
        self._answer = answer
        self._calls = named_calls(answer)
        self._prompt = prompt
        self._include_usage = request.stream_options.get("include_usage") is True
        self._obfuscated = request.stream_options.get("include_obfuscation") is not False
        self._head = {
            "id": new_id("chatcmpl-"),
            "created": int(time.time()),
            "model": answer.model or request.model,
            "service_tier": "default",
            "system_fingerprint": None,
        }

    @property
    def hidden(self) -> str:
        return self._answer.reasoning or ""

    def frames(self) -> list[Frame]:
        return list(self._frames())

    def whole(self) -> dict[str, Any]:
        answer = self._answer
        message: dict[str, Any] = {
            "role": "assistant",
            "content": answer.text if answer.text or not (answer.calls or answer.refusal) else None,
            "refusal": answer.refusal,
            "annotations": [],
        }
        if self._calls:
            message["tool_calls"] = [
                {"id": id_, "type": "function", "function": {"name": call.name, "arguments": call.json}}
                for call, id_ in self._calls
            ]
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": self._finish_reason}
        body = {**self._head, "object": "chat.completion", "choices": [choice]}
        if (usage := self._usage()) is not None:
            body["usage"] = usage
        return body

    def trouble(self, written: int) -> bytes:
        return event(error_body(self._answer.error))

    def failed(self) -> tuple[int, dict[str, Any]]:
        return self._answer.error.status, error_body(self._answer.error)

    @property
    def _finish_reason(self) -> str:
        return self._answer.finish or ("tool_calls" if self._calls else "stop")

    def _frames(self) -> Iterator[Frame]:
        answer = self._answer
        silent = bool(self._calls or answer.refusal) and not answer.text
        yield self._chunk({"role": "assistant", "content": None if silent else "", "refusal": None})
        for piece in answer.pieces:
            yield self._chunk({"content": piece}, piece)
        for piece in [answer.refusal] if answer.refusal else []:
            yield self._chunk({"refusal": piece}, piece)
        begun: set[int] = set()
        for index, piece in in_turns([call.pieces or [""] for call, _ in self._calls], answer.interleave):
            if index not in begun:
                begun.add(index)
                call, id_ = self._calls[index]
                head = {"name": call.name, "arguments": ""}
                yield self._chunk(
                    {"tool_calls": [{"index": index, "id": id_, "type": "function", "function": head}]}
                )
            if piece:
                yield self._chunk({"tool_calls": [{"index": index, "function": {"arguments": piece}}]}, piece)
        yield self._chunk({}, finish_reason=self._finish_reason)
        if self._include_usage and (usage := self._usage()) is not None:
            yield Frame(
                event({**self._head, "object": "chat.completion.chunk", "choices": [], "usage": usage})
            )
        yield Frame(_DONE)

    def _chunk(
        self, delta: dict[str, Any], piece: str | None = None, *, finish_reason: str | None = None
    ) -> Frame:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
        chunk = {**self._head, "object": "chat.completion.chunk", "choices": [choice]}
        if self._include_usage:
            chunk["usage"] = None
        if self._obfuscated:
            chunk["obfuscation"] = padding(piece or "")
        return Frame(event(chunk), piece)

    def _usage(self) -> dict[str, Any] | None:
        usage = self._answer.usage
        if usage is None:
            return None
        if not isinstance(usage, Usage):
            usage = billed(self._answer, self._prompt, output(self._answer), True, self.hidden)
        return {
            "prompt_tokens": usage.prompt,
            "completion_tokens": usage.completion,
            "total_tokens": usage.total,
            "prompt_tokens_details": {"cached_tokens": usage.cached, "audio_tokens": 0},
            "completion_tokens_details": {
                "reasoning_tokens": usage.reasoning,
                "audio_tokens": 0,
                "accepted_prediction_tokens": 0,
                "rejected_prediction_tokens": 0,
            },
        }


def output(answer: Answer) -> list[str]:
    """All that the model says on the wire, reasoning aside."""
    return [answer.text, answer.refusal or "", *(call.json for call in answer.calls)]
