"""The values that services take and give."""

from __future__ import annotations

from decimal import Decimal
from typing import Any
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from django_chatgpt.core.messages import FunctionCall, Role, TokenUsage, ToolCall

__all__ = ["AIResponse", "ChatMessage", "FunctionCall", "Source", "TokenUsage"]


class ChatMessage(BaseModel):
    """A message as a caller of `chat_completion` may write it; its fields are OpenAI's."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    role: Role
    content: str | None = None
    name: str | None = None
    tool_calls: list[ToolCall] | None = None
    tool_call_id: str | None = None

    def as_wire(self) -> dict[str, Any]:
        return self.model_dump(exclude_none=True)


class Source(BaseModel):
    """A passage that the model was given with a question, cited by its `number`.

    `object_key` is the primary key of its object as text, that of a UUID without hyphens; `chunk` says which
    piece of the object's text it is, from 0; `text_hash` is the sha256 of the passage.
    """

    model_config = ConfigDict(frozen=True)

    number: int
    index: str
    object_key: str
    chunk: int
    similarity: float
    text_hash: str


class AIResponse(BaseModel):
    """A whole reply. `cost` is in USD, None where it is not known; `response_time_ms` counts the whole turn.

    `function_calls` are the calls that were made on the way, in their order. `message_id` is None where
    nothing was said. `sources` are the passages that the question went with.
    """

    model_config = ConfigDict(frozen=True)

    turn_id: UUID
    conversation_id: UUID
    message_id: UUID | None
    content: str
    model: str
    finish_reason: str
    usage: TokenUsage
    cost: Decimal | None
    function_calls: list[FunctionCall] = Field(default_factory=list)
    response_time_ms: int | None = None
    sources: list[Source] = Field(default_factory=list)

    def __str__(self) -> str:
        return self.content
