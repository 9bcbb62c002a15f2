"""The Chat Completions dialect: what is sent, and how its stream is understood."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from django_chatgpt.core.request import Endpoint, ModelRequest
from django_chatgpt.exceptions import AIServiceError, NotConfiguredError
from django_chatgpt.providers import capabilities
from django_chatgpt.providers.errors import cut_short
from django_chatgpt.providers.parsing import DialectParser, is_end_mark

PATH: Final = "/chat/completions"


def build_body(request: ModelRequest, *, stream: bool = True) -> dict[str, Any]:
    """The JSON body for `request`. NotConfiguredError where the model takes functions by Responses only."""
    model = request.model
    body: dict[str, Any] = {"model": model, "messages": [_wire_message(line) for line in request.messages]}
    if stream:
        body["stream"] = True
        body["stream_options"] = {"include_usage": True}
    if request.max_output_tokens is not None:
        body["max_completion_tokens"] = request.max_output_tokens
    if capabilities.accepts_sampling(model):
        for option in capabilities.SAMPLING_OPTIONS:
            value = getattr(request, option)
            if value is not None:
                body[option] = value
    if request.tools:
        body.update(_effort_for_tools(model))
        body["tools"] = [{"type": "function", "function": dict(tool)} for tool in request.tools]
        if request.tool_choice is not None:
            body["tool_choice"] = _tool_choice(request.tool_choice)
    if request.response_schema is not None:
        body["response_format"] = {"type": "json_schema", "json_schema": dict(request.response_schema)}
    if capabilities.is_openai(request.endpoint):
        body["store"] = False
        if request.safety_identifier:
            body["safety_identifier"] = request.safety_identifier
    return body


def adapt_body(body: Mapping[str, Any], endpoint: Endpoint) -> dict[str, Any]:
    """A body that somebody else wrote, without what its model rejects.

    NotConfiguredError where the model takes functions by Responses only.
    """
    adapted = dict(body)
    model = str(adapted.get("model", ""))
    if "max_tokens" in adapted:
        limit = adapted.pop("max_tokens")
        adapted.setdefault("max_completion_tokens", limit)
    if not capabilities.accepts_sampling(model):
        for option in capabilities.SAMPLING_OPTIONS:
            adapted.pop(option, None)
    if adapted.get("tools") and "reasoning_effort" not in adapted:
        adapted.update(_effort_for_tools(model))
    if capabilities.is_openai(endpoint):
        adapted.setdefault("store", False)
    return adapted


def _effort_for_tools(model: str) -> dict[str, str]:
    if capabilities.chat_refuses_tools(model):
        raise NotConfiguredError(
            f"The model {model!r} can't call functions in the Chat Completions dialect: "
            'set OPENAI_API = "responses".'
        )
    return {"reasoning_effort": "none"} if capabilities.chat_tools_need_effort_none(model) else {}


def _wire_message(line: Mapping[str, Any]) -> Mapping[str, Any]:
    """`items` are ours and no server of this dialect knows them."""
    if "items" not in line:
        return line
    return {name: value for name, value in line.items() if name != "items"}


def _tool_choice(choice: str | dict[str, Any]) -> str | dict[str, Any]:
    """One function may be named by its name, or in the form of either dialect."""
    if isinstance(choice, str):
        if choice in ("auto", "none", "required"):
            return choice
        return {"type": "function", "function": {"name": choice}}
    if choice.get("type") == "function" and "name" in choice:
        return {"type": "function", "function": {"name": choice["name"]}}
    return choice


class Parser(DialectParser):
    """Understands a stream of chat completion chunks.

    It is whole only with both a reason to finish and `[DONE]`: a server that dies closes its stream too.
    """

    def _take(self, name: bytes, data: bytes) -> None:
        if is_end_mark(data):
            self.failure = self._unfinished()
            self.done = self.failure is None
            return
        chunk = self._loads(data)
        if name == b"error" or chunk.get("error"):
            self._fail(chunk.get("error") or chunk)
            return
        self._note_model(chunk.get("model"), chunk.get("service_tier"))
        usage = chunk.get("usage")
        if usage:
            self._usage = usage
        choices = chunk.get("choices")
        if choices:
            choice = choices[0]
            delta = choice.get("delta")
            if delta:
                self._take_message(delta)
            if choice.get("finish_reason"):
                self._stop(choice)

    def _take_answer(self, answer: Mapping[str, Any]) -> None:
        self._note_model(answer.get("model"), answer.get("service_tier"))
        self._usage = answer.get("usage")
        choice = answer["choices"][0]
        self._take_message(choice["message"])
        if choice.get("finish_reason"):
            self._stop(choice)
        self.failure = self.failure or self._unfinished()
        self.done = self.failure is None

    def _take_message(self, message: Mapping[str, Any]) -> None:
        content = message.get("content")
        if content:
            self._add_text(content if isinstance(content, str) else _joined(content))
        if message.get("refusal"):
            self._refused = True
            self._add_text(message["refusal"])
        if message.get("tool_calls"):
            for call in message["tool_calls"]:
                self._take_call(call.get("index"), call.get("id"), call.get("function") or {})
        elif message.get("function_call"):
            self._take_call(0, None, message["function_call"])

    def _take_call(self, key: object, call_id: str | None, function: Mapping[str, Any]) -> None:
        self._add_call(key, call_id or "", function.get("name") or "", function.get("arguments"))

    def _stop(self, choice: Mapping[str, Any]) -> None:
        reason = str(choice["finish_reason"])
        if reason == "error":
            self._fail(choice.get("error"))
        else:
            self._finish_as(reason)

    def _unfinished(self) -> AIServiceError | None:
        return None if self.finish_reason else cut_short(self._request_id)


def _joined(content: list[Mapping[str, Any]]) -> str:
    """The text of content that comes in parts; parts of other kinds have none."""
    return "".join(part.get("text") or "" for part in content if part.get("type") in ("text", None))
