"""What both dialects' parsers have in common: JSON, text, fragments of calls, token counts."""

from __future__ import annotations

import json
import math
from collections.abc import Hashable, Mapping, Sequence
from typing import Any, Final

import jiter
import pydantic_core

from django_chatgpt.core.messages import TokenUsage
from django_chatgpt.core.request import CallFragment, Delta
from django_chatgpt.exceptions import AIServiceError, ProviderProtocolError
from django_chatgpt.providers.errors import cut_short, in_band
from django_chatgpt.providers.sse import ServerEvent

_FINISH_REASONS: Final = {
    "content_filter": "content_filter",
    "end_turn": "stop",
    "eos": "stop",
    "function_call": "tool_calls",
    "length": "length",
    "max_output_tokens": "length",
    "max_tokens": "length",
    "model_length": "length",
    "stop": "stop",
    "stop_sequence": "stop",
    "tool_calls": "tool_calls",
}


class CallIndex:
    """Which call a fragment belongs to: servers number them, name them, or do neither.

    Calls are counted from 0 in the order in which they appear; that count is what a CallFragment carries.
    """

    def __init__(self) -> None:
        self._by_key: dict[Hashable, int] = {}
        self._ids: list[str] = []
        self._named: list[bool] = []

    def __len__(self) -> int:
        return len(self._ids)

    def find(self, key: Hashable, call_id: str, name: str) -> int:
        """The number of the call that a fragment continues or begins. `key` is None where there is none."""
        index = self._by_key.get(key) if key is not None else None
        if index is None and key is None:
            if call_id and call_id in self._ids:
                index = self._ids.index(call_id)
            elif self._ids and not call_id and not name:
                index = len(self._ids) - 1
        elif index is not None and call_id and name and self._ids[index] and call_id != self._ids[index]:
            # The server counts wrong: another id with a name of its own is another call.
            index = None
        if index is None:
            index = len(self._ids)
            self._ids.append(call_id)
            self._named.append(False)
        elif call_id and not self._ids[index]:
            self._ids[index] = call_id
        if key is not None:
            self._by_key[key] = index
        return index

    def fragment(self, key: Hashable, call_id: str, name: str, arguments: str) -> CallFragment:
        """The fragment, with its call's number, and with the name only the first time."""
        index = self.find(key, call_id, name)
        if name and self._named[index]:
            name = ""
        elif name:
            self._named[index] = True
        return CallFragment(index, call_id, name, arguments)


class DialectParser:
    """Merges the events of each read into one Delta. Subclasses say what an event means.

    An error of the server, or an event that can't be understood, ends the answer: `failure` is set, and
    what was read before it stands in the Delta.
    """

    def __init__(self, model: str = "", request_id: str = "") -> None:
        self.done = False
        self.failure: AIServiceError | None = None
        self.finish_reason: str | None = None
        self._asked_model = model
        self._request_id = request_id
        self._calls = CallIndex()
        self._delta = Delta()
        self._text: list[str] = []
        self._usage: object = None
        self._model = ""
        self._service_tier = ""
        self._refused = False
        self._lone_surrogates = False
        self._torn = ""

    def feed(self, events: Sequence[ServerEvent]) -> Delta:
        """Merge what `events` say; nothing more once the answer is done or has failed."""
        delta = self._delta = Delta()
        if self.done or self.failure is not None:
            return delta
        try:
            for name, data in events:
                self._take(name, data)
                if self.done or self.failure is not None:
                    break
        except Exception:
            self._misunderstand()
        self._complete(delta)
        return delta

    def whole(self, body: bytes) -> Delta:
        """Read an answer that came in one piece."""
        delta = self._delta = Delta()
        try:
            answer = self._loads(body)
            if answer.get("error"):
                self._fail(answer["error"])
            else:
                self._take_answer(answer)
        except Exception:
            self._misunderstand()
        self._complete(delta)
        return delta

    def finish(self) -> None:
        """Raise ProviderProtocolError unless the answer had its proper end."""
        error = self.ending()
        if error is not None:
            raise error

    def ending(self) -> AIServiceError | None:
        """What is wrong with an answer that ends here."""
        if self.failure is not None:
            return self.failure
        return None if self.done else cut_short(self._request_id)

    def _take(self, name: bytes, data: bytes) -> None:
        """Take one event in."""
        raise NotImplementedError

    def _take_answer(self, answer: Mapping[str, Any]) -> None:
        """Take in the whole answer that a server sends that doesn't stream."""
        raise NotImplementedError

    def _misunderstand(self) -> None:
        """Whatever a server may send that has not the shape it should have."""
        self.failure = ProviderProtocolError(request_id=self._request_id)

    def _complete(self, delta: Delta) -> None:
        """Put the text and the counts into the Delta."""
        if self._text or self._torn:
            delta.text = self._whole_text()
        if self._usage is not None:
            if isinstance(self._usage, Mapping):
                delta.usage = token_usage(self._usage)
            self._usage = None

    def _fail(self, details: object) -> None:
        self.failure = in_band(details, model=self._asked_model, request_id=self._request_id)

    def _finish_as(self, reason: str) -> None:
        """Note why the model stopped, in our words."""
        reason = _FINISH_REASONS.get(reason, "stop")
        if self._refused:
            reason = "content_filter"
        elif reason == "stop" and len(self._calls):
            reason = "tool_calls"
        self.finish_reason = self._delta.finish_reason = reason

    def _note_model(self, model: object, service_tier: object) -> None:
        if model and not self._model and isinstance(model, str):
            self._model = self._delta.model = model
        if service_tier and service_tier != self._service_tier and isinstance(service_tier, str):
            self._service_tier = self._delta.service_tier = service_tier

    def _add_text(self, text: object) -> None:
        if not isinstance(text, str):
            raise TypeError
        self._text.append(text)

    def _add_call(self, key: Hashable, call_id: object, name: object, arguments: object) -> None:
        if not (isinstance(call_id, str) and isinstance(name, str)):
            raise TypeError
        if arguments is None:
            arguments = ""
        elif not isinstance(arguments, str):
            arguments = pydantic_core.to_json(arguments).decode()
        if self._lone_surrogates:
            call_id, name, arguments = map(_mended, (call_id, name, arguments))
        fragment = self._calls.fragment(key, call_id, name, arguments)
        calls = self._delta.calls
        if calls and calls[-1].index == fragment.index:
            last = calls[-1]
            last.id = last.id or fragment.id
            last.name = last.name or fragment.name
            last.arguments += fragment.arguments
        else:
            calls.append(fragment)

    def _loads(self, data: bytes) -> dict[str, Any]:
        """Parse one JSON object; ValueError if it is none."""
        try:
            value = jiter.from_json(data)
        except ValueError:
            if b"\\u" not in data:
                raise
            # Servers that cut text between the halves of a character send what strict parsers refuse.
            value = json.loads(data)
            self._lone_surrogates = True
        if not isinstance(value, dict):
            raise ValueError
        return value

    def _whole_text(self) -> str:
        text = "".join(self._text)
        self._text.clear()
        if self._lone_surrogates:
            text = self._torn + text
            self._torn = ""
            if "\ud800" <= text[-1:] <= "\udbff" and not self.done:
                self._torn, text = text[-1], text[:-1]
            text = _mended(text)
        return text


def is_end_mark(data: bytes) -> bool:
    """Whether these data are the `[DONE]` that ends a stream."""
    return len(data) < 16 and data.strip() == b"[DONE]"


def _mended(text: str) -> str:
    """Join surrogate pairs; what is left alone becomes U+FFFD."""
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def token_usage(usage: Mapping[str, Any]) -> TokenUsage | None:
    """Read a provider's counts in the words of either dialect; None if it counted neither side."""
    prompt = _count(usage, "prompt_tokens", "input_tokens")
    completion = _count(usage, "completion_tokens", "output_tokens")
    if prompt is None and completion is None:
        return None
    prompt, completion = prompt or 0, completion or 0
    inside = _part(usage, "prompt_tokens_details", "input_tokens_details")
    outside = _part(usage, "completion_tokens_details", "output_tokens_details")
    cached = _count(inside, "cached_tokens")
    if cached is None:
        cached = _count(usage, "prompt_cache_hit_tokens", "cached_tokens") or 0
    return TokenUsage(
        prompt_tokens=prompt,
        completion_tokens=completion,
        total_tokens=_count(usage, "total_tokens") or prompt + completion,
        cached_tokens=min(cached, prompt),
        cache_write_tokens=min(_count(inside, "cache_write_tokens") or 0, prompt),
        reasoning_tokens=min(_count(outside, "reasoning_tokens") or 0, completion),
    )


def _count(counts: Mapping[str, Any], *names: str) -> int | None:
    for name in names:
        value = counts.get(name)
        if isinstance(value, int | float) and 0 <= value < math.inf:
            return int(value)
    return None


def _part(counts: Mapping[str, Any], *names: str) -> Mapping[str, Any]:
    return next((counts[name] for name in names if isinstance(counts.get(name), Mapping)), {})
