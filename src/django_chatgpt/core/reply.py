"""One answer of the model, put together from its pieces."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from django_chatgpt.core.messages import FunctionCall, Message, TokenUsage, storable, storable_json
from django_chatgpt.core.request import CallFragment, Delta
from django_chatgpt.exceptions import ProviderProtocolError

# What the ledger and the transcript have room for.
MAX_NAME = 200
MAX_TIER = 40
MAX_TOKENS = 2**31 - 1
# Several times what any model says in one answer; a server that goes on does not come to an end by itself.
MAX_CHARACTERS = 4_000_000
MAX_CALLS = 128


@dataclass(slots=True)
class _OpenCall:
    id: str
    name: str = ""
    arguments: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Reply:
    """What has arrived so far of one answer. `taken_ids` are those of calls that were made before.

    An answer without end is refused: ProviderProtocolError, with what came before it kept.
    """

    fallback_id: str
    taken_ids: frozenset[str] = frozenset()
    usage: TokenUsage | None = None
    finish_reason: str | None = None
    model: str = ""
    service_tier: str = ""
    request_id: str = ""
    items: list[dict[str, Any]] = field(default_factory=list)
    _text: list[str] = field(default_factory=list)
    _calls: dict[int, _OpenCall] = field(default_factory=dict)
    _size: int = 0

    @property
    def text(self) -> str:
        if len(self._text) > 1:
            self._text = ["".join(self._text)]
        return self._text[0] if self._text else ""

    @property
    def calls(self) -> list[FunctionCall]:
        """The calls in the order of their index, which need not be the order in which they arrived."""
        return [
            FunctionCall(id=call.id, name=call.name, arguments="".join(call.arguments))
            for _, call in sorted(self._calls.items())
        ]

    def add(self, delta: Delta) -> None:
        """Take in everything of a delta but its call fragments, which `add_fragment` takes one by one."""
        if delta.text:
            self._grow(len(delta.text))
            self._text.append(delta.text)
        if delta.usage is not None and _is_countable(delta.usage):
            self.usage = delta.usage
        if delta.finish_reason:
            self.finish_reason = storable(delta.finish_reason, MAX_NAME)
        if delta.items:
            items = storable_json(delta.items)
            self._grow(len(json.dumps(items)))
            self.items.extend(items)
        if delta.model:
            self.model = storable(delta.model, MAX_NAME)
        if delta.service_tier:
            self.service_tier = storable(delta.service_tier, MAX_TIER)
        if delta.request_id:
            self.request_id = storable(delta.request_id, MAX_NAME)

    def add_fragment(self, fragment: CallFragment) -> tuple[str, str | None]:
        """Take in a piece of a call. Answers its call's id, and its name if this piece was the first."""
        call = self._calls.get(fragment.index)
        begun = call is None
        if call is None:
            if len(self._calls) == MAX_CALLS:
                raise ProviderProtocolError(request_id=self.request_id)
            call_id = storable(fragment.id, MAX_NAME)
            # Some servers number the calls of each answer anew; within a turn an id stands for one call.
            if not call_id or call_id in self.taken_ids or any(call_id == o.id for o in self._calls.values()):
                call_id = f"call_{self.fallback_id}_{fragment.index}"
            call = self._calls[fragment.index] = _OpenCall(call_id)
        if fragment.name and not call.name:
            call.name = storable(fragment.name)
        if fragment.arguments:
            self._grow(len(fragment.arguments))
            call.arguments.append(storable(fragment.arguments))
        return call.id, call.name if begun else None

    def _grow(self, by: int) -> None:
        self._size += by
        if self._size > MAX_CHARACTERS:
            raise ProviderProtocolError(request_id=self.request_id)

    def as_message(self) -> Message:
        message: Message = {"role": "assistant", "content": self.text}
        if calls := self.calls:
            message["tool_calls"] = [call.as_tool_call() for call in calls]
        if self.items:
            message["items"] = self.items
        return message


def _is_countable(usage: TokenUsage) -> bool:
    """Whether the ledger has room for it; a server that claims more has not counted."""
    return all(0 <= count <= MAX_TOKENS for count in usage.model_dump().values())
