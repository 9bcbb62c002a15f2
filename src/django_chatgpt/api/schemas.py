"""What the HTTP interface takes and gives."""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal
from typing import Annotated, Any, Literal
from uuid import UUID

from ninja import Schema
from pydantic import AfterValidator, ConfigDict, Field, PlainSerializer, StrictBool, model_validator

from django_chatgpt.core.messages import TokenUsage
from django_chatgpt.exceptions import InvalidRequestError
from django_chatgpt.services.chat import is_text
from django_chatgpt.services.functions import as_text


def money(amount: Decimal | None) -> str | None:
    """USD as JSON has it: a decimal string without an exponent, null for unknown."""
    if amount is None:
        return None
    return format(amount.normalize(), "f") if amount else "0"


Money = Annotated[Decimal, PlainSerializer(money, return_type=str)]


class Strict(Schema):
    model_config = ConfigDict(extra="forbid", str_strip_whitespace=False)


def _storable(text: str) -> str:
    """Refuse what JSON can hold and a database can't."""
    if not is_text(text):
        raise ValueError("must be text; it has a NUL or half a character")
    return text


def _writable(arguments: dict[str, Any]) -> dict[str, Any]:
    """Refuse what JSON can bring and can't be written as JSON again."""
    try:
        as_text(arguments)
    except InvalidRequestError as error:
        raise ValueError(error.fields["arguments"].removesuffix(".")) from None
    return arguments


Text = Annotated[str, AfterValidator(_storable)]
Arguments = Annotated[dict[str, Any], AfterValidator(_writable)]


class UserMessage(Strict):
    """A message from a client: history comes from the database, so it can only be the user's."""

    role: Literal["user"]
    content: Text


class ChatIn(Strict):
    """A question. `message`, or `messages` whose role is user; one of the two."""

    message: Text | None = None
    messages: list[UserMessage] | None = Field(None, min_length=1, max_length=100)
    conversation_id: UUID | None = None
    configuration_id: UUID | None = None
    model: Text | None = Field(None, min_length=1, max_length=200)
    temperature: float | None = Field(None, ge=0, le=2, strict=True)
    max_tokens: int | None = Field(None, ge=1, le=10_000_000, strict=True)
    use_functions: StrictBool = True
    stream: StrictBool = False

    @model_validator(mode="after")
    def one_of_two(self) -> ChatIn:
        if (self.message is None) == (self.messages is None):
            raise ValueError("message: give either message or messages")
        return self

    @property
    def text(self) -> str:
        if self.message is not None:
            return self.message
        return "\n\n".join(message.content for message in self.messages or ())


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


class WaitingCall(Schema):
    """A call that a person has to decide about. `arguments` is JSON text."""

    call_id: str
    name: str
    arguments: str
    expires_at: datetime | None


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


class ConversationIn(Strict):
    title: Text = Field("", max_length=200)
    configuration_id: UUID | None = None


class ConversationPatch(Strict):
    title: Text | None = Field(None, max_length=200)
    is_active: StrictBool | None = None

    @model_validator(mode="after")
    def something(self) -> ConversationPatch:
        for name in self.model_fields_set:
            if getattr(self, name) is None:
                raise ValueError(f"{name}: must not be null")
        return self


class ConversationOut(Schema):
    id: UUID
    title: str
    is_active: bool
    configuration_id: UUID | None
    message_count: int
    total_tokens: int
    total_cost: Money
    created_at: datetime
    updated_at: datetime


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


class ConversationDetail(ConversationOut):
    messages: list[MessageOut]


class Pagination(Schema):
    page: int
    page_size: int
    total_pages: int
    total_count: int
    has_next: bool
    has_previous: bool


class ConversationPage(Schema):
    conversations: list[ConversationOut]
    pagination: Pagination


class ApproveIn(Strict):
    """A person's decision about a call that waits for it."""

    approve: StrictBool
    call_id: Text | None = Field(None, min_length=1, max_length=200)
    arguments: Arguments | None = None
    stream: StrictBool = False


class FunctionList(Schema):
    functions: list[dict[str, Any]]
    count: int


class ExecuteIn(Strict):
    function_name: Text = Field(min_length=1, max_length=150)
    arguments: Arguments = Field(default_factory=dict)


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
