"""The values that services take and give."""

from __future__ import annotations

from decimal import Decimal
from typing import Any
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from django_chatgpt.core.messages import FunctionCall, Role, TokenUsage, ToolCall

__all__ = ["AIResponse", "ChatMessage", "FunctionCall", "TokenUsage"]


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


class AIResponse(BaseModel):
    """A whole reply. `cost` is in USD, None where it is not known; `response_time_ms` counts the whole turn.

    `function_calls` are the calls that were made on the way, in their order. `message_id` is None where
    nothing was said.
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

    def __str__(self) -> str:
        return self.content
