"""What is said in a conversation, in the one form that every floor shares.

A transcript is a list of plain dictionaries in the shape of OpenAI's Chat Completions, because that is
what most servers speak and what costs nothing to send on. The Responses dialect translates.
"""

from __future__ import annotations

from typing import Any, Literal, NotRequired

from pydantic import BaseModel, ConfigDict
from typing_extensions import TypedDict

Role = Literal["system", "user", "assistant", "tool"]


class CalledFunction(TypedDict):
    name: str
    arguments: str


class ToolCall(TypedDict):
    """A call as it stands in a transcript."""

    id: str
    type: Literal["function"]
    function: CalledFunction


class Message(TypedDict):
    """One line of a transcript.

    `items` are the provider's own output items (Responses dialect), replayed verbatim to the model that
    made them; they are never sent to a server that speaks Chat Completions.
    """

    role: Role
    content: str
    tool_calls: NotRequired[list[ToolCall]]
    tool_call_id: NotRequired[str]
    items: NotRequired[list[dict[str, Any]]]


def storable(text: str, most: int | None = None) -> str:
    """Text as every database takes it: without NUL, and U+FFFD for half a character. At most `most` of it."""
    if "\x00" in text:
        text = text.replace("\x00", "")
    try:
        text.encode()
    except UnicodeEncodeError:
        text = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text if most is None else text[:most]


def storable_json(value: Any) -> Any:
    """The same of every text in a JSON value."""
    match value:
        case str():
            return storable(value)
        case list():
            return [storable_json(each) for each in value]
        case dict():
            return {storable(name): storable_json(each) for name, each in value.items()}
    return value


class FunctionCall(BaseModel):
    """A function the model wants called; `arguments` is the JSON text exactly as the model wrote it."""

    model_config = ConfigDict(frozen=True)

    id: str
    name: str
    arguments: str = ""

    def as_tool_call(self) -> ToolCall:
        return {
            "id": self.id,
            "type": "function",
            "function": {"name": self.name, "arguments": self.arguments},
        }


class FunctionResult(BaseModel):
    """What a called function answered, as text. The model is shown `told` instead, where it is there."""

    model_config = ConfigDict(frozen=True)

    call: FunctionCall
    output: str
    status: Literal["completed", "failed"] = "completed"
    error_code: str = ""
    duration_ms: int = 0
    told: str | None = None

    def as_message(self) -> Message:
        content = self.output if self.told is None else self.told
        return {"role": "tool", "content": content, "tool_call_id": self.call.id}


class TokenUsage(BaseModel):
    """Tokens of one or more attempts; cached, cache-write and reasoning tokens are parts of the others.

    `cached_tokens` and `cache_write_tokens` are contained in `prompt_tokens`, `reasoning_tokens` in
    `completion_tokens`.
    """

    model_config = ConfigDict(frozen=True)

    prompt_tokens: int = 0
    completion_tokens: int = 0
    total_tokens: int = 0
    cached_tokens: int = 0
    cache_write_tokens: int = 0
    reasoning_tokens: int = 0

    def __add__(self, other: TokenUsage) -> TokenUsage:
        return TokenUsage(
            prompt_tokens=self.prompt_tokens + other.prompt_tokens,
            completion_tokens=self.completion_tokens + other.completion_tokens,
            total_tokens=self.total_tokens + other.total_tokens,
            cached_tokens=self.cached_tokens + other.cached_tokens,
            cache_write_tokens=self.cache_write_tokens + other.cache_write_tokens,
            reasoning_tokens=self.reasoning_tokens + other.reasoning_tokens,
        )
