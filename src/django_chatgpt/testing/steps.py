"""What the fake can be told to do with a request: an answer and its faults, a failure, HTML, nothing at all.

Every step is a frozen value with plain fields, so that it can also be written in a JSON file.
"""

import json
import math
import threading
from asyncio import AbstractEventLoop, Event, get_running_loop
from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field, fields
from typing import Any, Literal, TypeAlias, cast

from . import tokens

Finish: TypeAlias = Literal["stop", "length", "content_filter"]
Fault: TypeAlias = Literal["cut", "end_early", "bad_json", "error"]


@dataclass(frozen=True, slots=True)
class Usage:
    """Token counts as the provider reports them; `cached` is part of `prompt`, `reasoning` part of
    `completion`.
    """

    prompt: int
    completion: int
    _: KW_ONLY
    cached: int = 0
    reasoning: int = 0
    cache_write: int = 0

    @property
    def total(self) -> int:
        return self.prompt + self.completion

    def __add__(self, other: "Usage") -> "Usage":
        return Usage(
            self.prompt + other.prompt,
            self.completion + other.completion,
            cached=self.cached + other.cached,
            reasoning=self.reasoning + other.reasoning,
            cache_write=self.cache_write + other.cache_write,
        )


class Gate:
    """A barrier that a test opens: an answer stalled on it goes on only then.

    `reached` is a threading.Event, set when the first answer has come to the gate.
    """

    def __init__(self) -> None:
        self.reached = threading.Event()
        self._lock = threading.Lock()
        self._opened = False
        self._waiting: list[tuple[AbstractEventLoop, Event]] = []

    def open(self) -> None:
        """Let everything that waits, and everything that comes later, pass."""
        with self._lock:
            self._opened = True
            waiting, self._waiting = self._waiting, []
        for loop, event in waiting:
            if not loop.is_closed():
                loop.call_soon_threadsafe(event.set)

    async def passed(self) -> None:
        """Wait, on the server's loop, until the gate is open."""
        event = Event()
        with self._lock:
            self.reached.set()
            if self._opened:
                return
            self._waiting.append((get_running_loop(), event))
        await event.wait()


@dataclass(frozen=True, slots=True)
class Call:
    """One tool call of an answer.

    `arguments`: a mapping, or the very string to send, valid JSON or not. `fragments`: how many pieces the
    arguments are streamed in, or the pieces themselves; None cuts every 8 characters. `id`: call id, made
    up when None.
    """

    name: str
    arguments: Mapping[str, object] | str = field(default_factory=dict)
    _: KW_ONLY
    id: str | None = None
    fragments: int | Sequence[str] | None = None

    def __post_init__(self) -> None:
        if not (self.fragments is None or isinstance(self.fragments, int)):
            if "".join(self.fragments) != self.json:
                raise ValueError("fragments must join to the arguments")
        elif self.fragments is not None:
            tokens.split(self.json, self.fragments)

    @property
    def json(self) -> str:
        if isinstance(self.arguments, str):
            return self.arguments
        return json.dumps(self.arguments, ensure_ascii=False, separators=(",", ":"))

    @property
    def pieces(self) -> list[str]:
        text = self.json
        if self.fragments is None:
            return [text[i : i + 8] for i in range(0, len(text), 8)]
        return tokens.split(text, self.fragments) if isinstance(self.fragments, int) else list(self.fragments)


@dataclass(frozen=True, slots=True)
class Failure:
    """An error answer in OpenAI's form, or a status with any other body.

    `code`, `type`, `message`: what OpenAI says with that status when None. `retry_after`: seconds (then
    also sent as retry-after-ms) or an HTTP date. `body`: sent as it is instead of the error JSON. `wait`:
    seconds before answering.
    """

    status: int = 500
    _: KW_ONLY
    code: str | None = None
    message: str | None = None
    type: str | None = None
    param: str | None = None
    retry_after: float | str | None = None
    body: str | bytes | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    wait: float = 0.0

    @property
    def error(self) -> dict[str, str | None]:
        """The object under "error"; what was left None is filled in as OpenAI would for the status."""
        kind, code, message = _FAILURES.get(self.status, _FAILURES[500 if self.status >= 500 else 400])
        return {
            "message": message if self.message is None else self.message,
            "type": kind if self.type is None else self.type,
            "param": self.param,
            "code": code if self.code is None and self.message is None else self.code,
        }


_FAILURES: dict[int, tuple[str, str | None, str]] = {
    400: ("invalid_request_error", None, "Invalid request."),
    401: ("invalid_request_error", "invalid_api_key", "Incorrect API key provided."),
    403: ("invalid_request_error", None, "You are not allowed to do that."),
    404: ("invalid_request_error", "model_not_found", "The model does not exist."),
    408: ("server_error", None, "Request timed out."),
    409: ("invalid_request_error", None, "Conflict."),
    413: ("invalid_request_error", None, "Maximum content size limit exceeded."),
    429: ("requests", "rate_limit_exceeded", "Rate limit reached for requests. Please try again in 1s."),
    500: ("server_error", None, "The server had an error while processing your request. Sorry about that!"),
    503: ("server_error", None, "The engine is currently overloaded, please try again later"),
}


@dataclass(frozen=True, slots=True)
class HTML:
    """A page where JSON or a stream was expected: what a proxy or captive portal answers, by default with
    status 200.
    """

    body: str = "<!DOCTYPE html><html><head><title>Sign in</title></head><body>Please sign in.</body></html>"
    _: KW_ONLY
    status: int = 200
    wait: float = 0.0


@dataclass(frozen=True, slots=True)
class Drop:
    """The connection is closed without a byte of answer, after `wait` seconds."""

    _: KW_ONLY
    wait: float = 0.0


@dataclass(frozen=True, slots=True)
class Answer:
    """A reply of the model, with its pace and at most one fault.

    What is said. `text`; `chunks`: the exact pieces of it, or how many, None one a word; `calls`: tool
    calls, `interleave` streams their arguments in turns; `reasoning`: a summary ("" for a reasoning item
    without one), Responses only on the wire, counted in both dialects; `refusal`; `finish`: None is "stop",
    or "tool_calls" with calls; `usage`: "counted", numbers of your own, or None for none sent; `model`:
    None echoes the one asked for; `headers`: added to the response.

    How fast. `wait`: seconds before the first byte; `delay`: seconds before each piece, None for the
    server's default; `stall_after`: after so many pieces say nothing for `stall` seconds, or until a Gate
    opens; `packet`: so many bytes a write, so that events and characters are split between reads;
    `comments`: a keep-alive comment before each piece.

    What goes wrong, once so many pieces (text, arguments, refusal and reasoning alike) have been sent, or
    all if there are fewer. `cut_after`: the connection is lost; `end_early_after`: the stream ends cleanly,
    but with no finish, usage or end mark; `bad_json_after`: an event that does not parse; `error_after`:
    `error` is reported inside the stream (Responses: an event of type "error", then response.failed;
    `error_event` "flat" is the documented form of it, "none" leaves response.failed alone). A reply that is
    not streamed breaks in the middle of its body instead.
    """

    text: str = ""
    _: KW_ONLY
    chunks: int | Sequence[str] | None = None
    calls: Sequence[Call] = ()
    interleave: bool = False
    reasoning: str | None = None
    refusal: str | None = None
    finish: Finish | None = None
    usage: Usage | Literal["counted"] | None = "counted"
    model: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    wait: float = 0.0
    delay: float | None = None
    stall_after: int | None = None
    stall: float | Gate = math.inf
    packet: int | None = None
    comments: bool = False
    cut_after: int | None = None
    end_early_after: int | None = None
    bad_json_after: int | None = None
    error_after: int | None = None
    error: Failure = field(default_factory=Failure)
    error_event: Literal["nested", "flat", "none"] = "nested"

    def __post_init__(self) -> None:
        if not (self.chunks is None or isinstance(self.chunks, int)):
            joined = "".join(self.chunks)
            if self.text not in ("", joined):
                raise ValueError("chunks must join to the text")
            object.__setattr__(self, "text", joined)
        elif self.chunks is not None:
            tokens.split(self.text, self.chunks)
        if len([name for name in _FAULTS if getattr(self, f"{name}_after") is not None]) > 1:
            raise ValueError("at most one of cut_after, end_early_after, bad_json_after, error_after")
        for name in ("stall_after", *(f"{fault}_after" for fault in _FAULTS)):
            if (value := getattr(self, name)) is not None and value < 0:
                raise ValueError(f"{name} must be 0 or more pieces")
        if self.packet is not None and self.packet < 1:
            raise ValueError("packet must be 1 or more bytes")

    @property
    def pieces(self) -> list[str]:
        """The text as it is streamed."""
        if self.chunks is None:
            return tokens.words(self.text)
        return tokens.split(self.text, self.chunks) if isinstance(self.chunks, int) else list(self.chunks)

    @property
    def fault(self) -> tuple[Fault, int] | None:
        """Which fault, and after how many pieces."""
        for name in _FAULTS:
            if (after := getattr(self, f"{name}_after")) is not None:
                return name, after
        return None


_FAULTS: tuple[Fault, ...] = ("cut", "end_early", "bad_json", "error")

Step: TypeAlias = Answer | Failure | HTML | Drop


def parse_step(value: object) -> Step:
    """A step from JSON: a string is an answer's text; an object holds the fields of an Answer, or under the
    one key "failure", "html" or "drop" the fields of that step.

    ValueError names what is unknown.
    """
    if isinstance(value, str):
        return Answer(value)
    if not isinstance(value, dict):
        raise ValueError("a step must be a string or an object")
    for key, kind in (("failure", Failure), ("html", HTML), ("drop", Drop)):
        if key in value:
            if len(value) > 1:
                raise ValueError(f"a step with {key!r} has no other key")
            return cast("Step", kind(**_known(kind, value[key])))
    known = _known(Answer, value)
    if "calls" in known:
        known["calls"] = [Call(**_known(Call, call)) for call in known["calls"]]
    if isinstance(known.get("usage"), dict):
        known["usage"] = Usage(**_known(Usage, known["usage"]))
    if "error" in known:
        known["error"] = Failure(**_known(Failure, known["error"]))
    return Answer(**known)


def _known(kind: Any, value: object) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"{kind.__name__} must be an object")
    if unknown := set(value) - {f.name for f in fields(kind)}:
        raise ValueError(f"{kind.__name__} has no field {', '.join(map(repr, sorted(unknown)))}")
    return dict(value)
