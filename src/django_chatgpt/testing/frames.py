"""What both dialects share on the wire: events, ids, padding, and what an answer costs."""

import itertools
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from pydantic_core import to_json

from django_chatgpt.testing import tokens
from django_chatgpt.testing.steps import Answer, Call, Failure, Usage

_PADDING = "hWnXbq3kVd9Z0tQm"


@dataclass(frozen=True, slots=True)
class Frame:
    """One server-sent event, ready to be written; `piece` is the model output in it, None for framing."""

    data: bytes
    piece: str | None = None


class Rendering(Protocol):
    """An answer in one dialect."""

    @property
    def hidden(self) -> str:
        """Output that is generated, and charged, but not sent."""

    def frames(self) -> list[Frame]:
        """The whole stream, end mark included."""

    def whole(self) -> dict[str, Any]:
        """The same as one JSON object."""

    def trouble(self, written: int) -> bytes:
        """The answer's error as told inside the stream, after so many events."""

    def failed(self) -> tuple[int, dict[str, Any]]:
        """The same error as status and JSON of a reply that is not streamed."""


def event(data: Mapping[str, Any], name: str | None = None) -> bytes:
    """A server-sent event carrying JSON."""
    head = b"" if name is None else b"event: %b\n" % name.encode()
    return b"%bdata: %b\n\n" % (head, to_json(data))


def padding(piece: str) -> str:
    """The `obfuscation` that OpenAI adds so that the length of an event does not betray the token in it."""
    return _PADDING[: 16 - len(piece) % 16]


def new_id(prefix: str) -> str:
    return f"{prefix}{uuid.uuid4().hex}"


def error_body(failure: Failure) -> dict[str, Any]:
    return {"error": failure.error}


def named_calls(answer: Answer) -> list[tuple[Call, str]]:
    """The calls, each with its id."""
    return [(call, call.id or new_id("call_")[:29]) for call in answer.calls]


def in_turns(calls: Sequence[Sequence[str]], interleave: bool) -> Iterator[tuple[int, str]]:
    """Pieces of arguments with the index of their call: one call after the other, or all in turns."""
    if not interleave:
        return ((index, piece) for index, pieces in enumerate(calls) for piece in pieces)
    rounds = itertools.zip_longest(*calls)
    return ((index, piece) for turn in rounds for index, piece in enumerate(turn) if piece is not None)


def billed(answer: Answer, prompt: int, sent: Sequence[str], complete: bool, hidden: str = "") -> Usage:
    """What an account is charged: all of it, or what had been generated when the stream broke.

    `hidden`: output that was generated but is not sent.
    """
    counted = tokens.count("".join(sent)) + tokens.count(hidden)
    if not isinstance(answer.usage, Usage):
        return Usage(prompt, counted, reasoning=min(counted, tokens.count(answer.reasoning or "")))
    if complete:
        return answer.usage
    return Usage(
        answer.usage.prompt,
        min(counted, answer.usage.completion),
        cached=answer.usage.cached,
        cache_write=answer.usage.cache_write,
    )
