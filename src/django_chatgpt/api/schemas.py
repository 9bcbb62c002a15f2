"""What the HTTP interface takes and gives."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any, Literal
from uuid import UUID

from ninja import Schema
from pydantic import Field, StrictBool, model_validator
from typing_extensions import TypedDict

from django_chatgpt.core.messages import TokenUsage
from django_chatgpt.services.bodies import Arguments, Strict, Text
from django_chatgpt.services.bodies import ChatIn as ChatIn
from django_chatgpt.services.bodies import ConversationIn as ConversationIn
from django_chatgpt.services.bodies import ExecuteIn as ExecuteIn
from django_chatgpt.services.shown import ConversationOut as ConversationOut
from django_chatgpt.services.shown import ConversationPage as ConversationPage
from django_chatgpt.services.shown import Money
from django_chatgpt.services.shown import Pagination as Pagination
from django_chatgpt.services.shown import WaitingCall as WaitingCall


class EmbeddingsIn(Strict):
    """Texts to be embedded and stored."""

    texts: list[Text] = Field(min_length=1, max_length=2048)
    model: Text | None = Field(None, min_length=1, max_length=200)


class SearchIn(Strict):
    """What to look for among your own texts."""

    query: Text = Field(min_length=1)
    top_k: int = Field(10, ge=1, le=100, strict=True)
    threshold: float | None = Field(None, ge=-1, le=1, strict=True)
    model: Text | None = Field(None, min_length=1, max_length=200)


class EmbeddingOut(Schema):
    id: UUID
    text: str
    model: str
    dimensions: int
    created_at: datetime


class FailedTextOut(Schema):
    """A text that has no vector; `position` counts from 0."""

    position: int
    code: str
    message: str


class EmbeddingsOut(Schema):
    """The stored texts in the order in which they were sent; `failed` says how many are missing."""

    embeddings: list[EmbeddingOut]
    count: int
    failed: int
    errors: list[FailedTextOut]


class FoundOut(Schema):
    id: UUID
    text: str
    similarity: float
    created_at: datetime


class SearchOut(Schema):
    """What was found, the nearest first."""

    query: str
    results: list[FoundOut]
    count: int


class ErrorDetail(Schema):
    code: str
    message: str
    fields: dict[str, str] | None = None
    turn_id: UUID | None = None


class ErrorOut(Schema):
    error: ErrorDetail


class ReplyMessage(Schema):
    role: Literal["assistant"] = "assistant"
    content: str
    tool_calls: list[dict[str, Any]]


class ChatOut(Schema):
    """A whole reply. `id` is the stored message's, null where nothing was said."""

    id: UUID | None
    conversation_id: UUID
    turn_id: UUID
    message: ReplyMessage
    model: str
    finish_reason: str
    usage: TokenUsage
    cost: Money | None


class SourceOut(Schema):
    """What an answer was made from; `number` is what it is cited by, `url` where it is to be read, or ""."""

    number: int | None
    index: str
    title: str
    url: str


class TurnOut(Schema):
    """A turn. `text` is the answer as far as it has come; `result` and `error` are there when it is over."""

    id: UUID
    conversation_id: UUID
    status: str
    text: str
    cancel_requested: bool
    started_at: datetime | None
    finished_at: datetime | None
    result: ChatOut | None
    error: ErrorDetail | None
    waiting: list[WaitingCall]
    sources: list[SourceOut]


class ConversationPatch(Strict):
    title: Text | None = Field(None, max_length=200)
    is_active: StrictBool | None = None

    @model_validator(mode="after")
    def something(self) -> ConversationPatch:
        for name in self.model_fields_set:
            if getattr(self, name) is None:
                raise ValueError(f"{name}: must not be null")
        return self


class MessageOut(Schema):
    id: UUID
    turn_id: UUID | None
    sequence: int
    role: str
    content: str
    tool_calls: list[dict[str, Any]]
    tool_call_id: str
    status: str
    token_count: int | None
    cost: Money | None = Field(None, alias="estimated_cost")
    created_at: datetime


class ConversationDetail(ConversationOut, Schema):
    messages: list[MessageOut]


#: An answer, block by block; those from the number `from` on are new or other ones.
HtmlOut = TypedDict("HtmlOut", {"from": int, "blocks": list[str]})


class ShownMessage(MessageOut):
    """A message for people's eyes; `html` is an answer's text as safe HTML, in the form that events have."""

    cost: Money | None = None
    html: HtmlOut | None


class CallLineOut(Schema):
    """How a call of a function went."""

    call_id: str
    status: str


class TurnLineOut(Schema):
    """How a turn of a conversation went; `tokens` and `cost` are those of all its attempts."""

    id: UUID
    status: str
    error: ErrorDetail | None
    tokens: int
    cost: Money | None
    calls: list[CallLineOut]
    waiting: list[WaitingCall]
    sources: list[SourceOut]


class ShownConversation(ConversationOut):
    messages: list[ShownMessage]
    turns: list[TurnLineOut]


class ApproveIn(Strict):
    """A person's decision about a call that waits for it."""

    approve: StrictBool
    call_id: Text | None = Field(None, min_length=1, max_length=200)
    arguments: Arguments | None = None
    stream: StrictBool = False


class FunctionList(Schema):
    functions: list[dict[str, Any]]
    count: int


class ExecuteOut(Schema):
    function_name: str
    arguments: dict[str, Any]
    result: Any
    status: Literal["completed"]


class UsedOut(Schema):
    """What was used. `cost` is that of the requests whose cost is known, null where that of none is."""

    tokens: int
    cost: Money | None
    requests: int


class TotalUsedOut(UsedOut):
    avg_tokens_per_request: float


class DayUsedOut(Schema):
    date: date
    tokens: int
    cost: Money | None
    requests: int


class UsageOut(Schema):
    """What was used in some days, one entry of `daily` for each.

    `unpriced_requests` is how many requests have no known cost; they are in no `cost`.
    """

    total: TotalUsedOut
    by_model: dict[str, UsedOut]
    daily: list[DayUsedOut]
    unpriced_requests: int
