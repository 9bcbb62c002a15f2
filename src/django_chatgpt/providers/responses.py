"""The Responses dialect: what is sent, and how its stream is understood."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from django_chatgpt.core.limits import is_reasoning
from django_chatgpt.core.messages import Message
from django_chatgpt.core.request import ModelRequest
from django_chatgpt.providers import capabilities
from django_chatgpt.providers.errors import cut_short
from django_chatgpt.providers.parsing import DialectParser, is_end_mark

PATH: Final = "/responses"


def build_body(request: ModelRequest, *, stream: bool = True) -> dict[str, Any]:
    """The JSON body for `request`. Nothing is left at the provider; the whole history goes along."""
    model = request.model
    instructions, rest = _split_instructions(request.messages)
    body: dict[str, Any] = {"model": model, "input": list(_input_items(rest)), "store": False}
    if instructions:
        body["instructions"] = instructions
    if stream:
        body["stream"] = True
    if request.max_output_tokens is not None:
        body["max_output_tokens"] = request.max_output_tokens
    if is_reasoning(model):
        body["include"] = ["reasoning.encrypted_content"]
    if capabilities.accepts_sampling(model):
        # This dialect has no penalties.
        for option in ("temperature", "top_p"):
            value = getattr(request, option)
            if value is not None:
                body[option] = value
    if request.tools:
        body["tools"] = [{"type": "function", "strict": False, **tool} for tool in request.tools]
        if request.tool_choice is not None:
            body["tool_choice"] = _tool_choice(request.tool_choice)
    if request.response_schema is not None:
        body["text"] = {"format": {"type": "json_schema", **request.response_schema}}
    if request.safety_identifier and capabilities.is_openai(request.endpoint):
        body["safety_identifier"] = request.safety_identifier
    return body


def _split_instructions(messages: Sequence[Message]) -> tuple[str, Sequence[Message]]:
    """The system messages that stand first, as one text, and what follows them."""
    count = 0
    while count < len(messages) and messages[count]["role"] == "system":
        count += 1
    return "\n\n".join(line["content"] for line in messages[:count]), messages[count:]


def _input_items(messages: Sequence[Message]) -> Iterator[Mapping[str, Any]]:
    for line in messages:
        if line["role"] == "tool":
            yield {
                "type": "function_call_output",
                "call_id": line.get("tool_call_id", ""),
                "output": line["content"],
            }
        elif line["role"] != "assistant":
            yield {"role": line["role"], "content": line["content"]}
        elif _replayable(line):
            yield from _replayed(line["items"])
        else:
            if line["content"]:
                yield {"role": "assistant", "content": line["content"]}
            for call in line.get("tool_calls", ()):
                yield {
                    "type": "function_call",
                    "call_id": call["id"],
                    "name": call["function"]["name"],
                    "arguments": call["function"]["arguments"],
                }


def _replayable(line: Message) -> bool:
    """Whether the provider's items say what the line says; calls taken out of it must not come back."""
    items = line.get("items")
    if not items:
        return False
    called = [item.get("call_id") for item in items if item.get("type") == "function_call"]
    return called == [call["id"] for call in line.get("tool_calls", ())]


def _replayed(items: Sequence[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """The provider's own items, by value.

    It keeps none of them (`store` is false), so an id would name something that it can't find, and
    reasoning without its encrypted content is nothing but an id.
    """
    for item in items:
        if item.get("type") == "reasoning" and not item.get("encrypted_content"):
            if item.get("content"):
                yield item
            continue
        yield {name: value for name, value in item.items() if name not in ("id", "status")}


def _tool_choice(choice: str | dict[str, Any]) -> str | dict[str, Any]:
    """One function may be named by its name, or in the form of either dialect."""
    if isinstance(choice, str):
        if choice in ("auto", "none", "required"):
            return choice
        return {"type": "function", "name": choice}
    if choice.get("type") == "function" and "function" in choice:
        return {"type": "function", "name": choice["function"]["name"]}
    return choice


class Parser(DialectParser):
    """Understands a stream of response events; it is whole with the event that says how it ended."""

    def __init__(self, model: str = "", request_id: str = "") -> None:
        super().__init__(model, request_id)
        self._spoke = False
        self._sent_arguments: dict[int, int] = {}
        self._items: dict[object, dict[str, Any]] = {}
        self._call_places: dict[str, object] = {}

    def _take(self, name: bytes, data: bytes) -> None:
        if name in _SKIPPED:
            return
        if is_end_mark(data):
            self.failure = self.ending()
            return
        event = self._loads(data)
        kind = event.get("type") or name.decode()
        if kind in ("response.output_text.delta", "response.refusal.delta"):
            self._spoke = True
            self._refused = self._refused or kind == "response.refusal.delta"
            self._add_text(event["delta"])
        elif kind == "response.function_call_arguments.delta":
            self._add_arguments(_place(event), {}, event["delta"])
        elif kind == "response.function_call_arguments.done":
            self._complete_arguments(_place(event), event)
        elif kind == "response.output_item.added":
            self._begin_item(_place(event), event["item"])
        elif kind == "response.output_item.done":
            self._end_item(_place(event), event["item"])
        elif kind == "response.created":
            self._note_model(event["response"].get("model"), None)
        elif kind in _FINAL:
            self._conclude(event["response"], kind.removeprefix("response."))
        elif kind == "error" or event.get("error"):
            self._fail(event.get("error") or event)

    def _take_answer(self, answer: Mapping[str, Any]) -> None:
        self._conclude(answer, answer["status"])

    def _conclude(self, answer: Mapping[str, Any], status: str) -> None:
        """Take in the response as it is at its end; its own status, if it has one, goes before `status`."""
        self._note_model(answer.get("model"), answer.get("service_tier"))
        self._usage = answer.get("usage")
        status = answer.get("status") or status
        if status == "failed":
            self._fail(answer.get("error"))
            return
        output = answer.get("output") or []
        if len(self._items) < len(output):
            for place, item in enumerate(output):
                if place not in self._items and item.get("id") not in self._items:
                    self._end_item(None if item.get("id") else place, item)
        items = output if len(output) >= len(self._items) else list(self._items.values())
        if any(item.get("type") == "reasoning" for item in items):
            self._delta.items = items
        if status == "completed":
            self._finish_as("stop")
        elif status == "incomplete":
            reason = (answer.get("incomplete_details") or {}).get("reason")
            self._finish_as("content_filter" if reason == "content_filter" else "length")
        else:
            self.failure = cut_short(self._request_id)
        self.done = self.failure is None

    def _place_of(self, place: object, item: Mapping[str, Any]) -> object:
        """A call keeps the place where it was first seen."""
        place = item.get("id") if place is None else place
        call_id = item.get("call_id")
        return place if call_id is None else self._call_places.setdefault(call_id, place)

    def _begin_item(self, place: object, item: Mapping[str, Any]) -> None:
        if item.get("type") == "function_call":
            self._add_arguments(self._place_of(place, item), item, item.get("arguments") or "")

    def _end_item(self, place: object, item: dict[str, Any]) -> None:
        """Note a finished item, and whatever of it did not come in pieces."""
        place = self._place_of(place, item)
        kind = item.get("type")
        if kind == "function_call":
            self._complete_arguments(place, item)
        elif kind == "message" and not self._spoke:
            for part in item.get("content") or ():
                if part.get("type") == "refusal":
                    self._refused = True
                    self._add_text(part["refusal"])
                elif part.get("text"):
                    self._add_text(part["text"])
        self._items[place if place is not None else len(self._items)] = item

    def _complete_arguments(self, place: object, whole: Mapping[str, Any]) -> None:
        """Add what is missing of a call's arguments, which the provider now repeats as a whole."""
        call_id, name = whole.get("call_id") or "", whole.get("name") or ""
        arguments = whole.get("arguments") or ""
        sent = self._sent_arguments.get(self._calls.find(place, call_id, name), 0)
        self._add_arguments(place, whole, arguments[sent:])

    def _add_arguments(self, place: object, call: Mapping[str, Any], text: str) -> None:
        call_id, name = call.get("call_id") or "", call.get("name") or ""
        index = self._calls.find(place, call_id, name)
        self._sent_arguments[index] = self._sent_arguments.get(index, 0) + len(text)
        self._add_call(place, call_id, name, text)


def _place(event: Mapping[str, Any]) -> object:
    """What tells an output item from its neighbours: its index, or where a server omits that, its id."""
    index = event.get("output_index")
    return event.get("item_id") if index is None else index


# They repeat the request or say nothing new.
_SKIPPED: Final = frozenset(
    {
        b"response.content_part.added",
        b"response.content_part.done",
        b"response.in_progress",
        b"response.output_text.done",
        b"response.queued",
    }
)
_FINAL: Final = frozenset(
    {"response.completed", "response.incomplete", "response.failed", "response.cancelled"}
)
