"""What the doors show: the same shapes through each of them."""

from __future__ import annotations

import math
from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any
from uuid import UUID

from pydantic import BaseModel, ConfigDict, PlainSerializer

from django_chatgpt.exceptions import AIServiceError, ConflictError, InvalidRequestError


def money(amount: Decimal | None) -> str | None:
    """USD as JSON has it: a decimal string without an exponent, null for unknown."""
    if amount is None:
        return None
    return format(amount.normalize(), "f") if amount else "0"


Money = Annotated[Decimal, PlainSerializer(money, return_type=str)]


def error_body(error: AIServiceError) -> dict[str, Any]:
    """What of an error leaves the site."""
    body: dict[str, Any] = {"code": error.code, "message": error.public_message}
    if isinstance(error, InvalidRequestError) and error.fields:
        body["fields"] = error.fields
    if isinstance(error, ConflictError) and error.turn_id is not None:
        body["turn_id"] = str(error.turn_id)
    return body


def seconds_to_wait(error: AIServiceError) -> int | None:
    """After how many seconds it may be tried again; None where nobody knows."""
    return None if error.retry_after is None else max(1, math.ceil(error.retry_after))


class _Shown(BaseModel):
    model_config = ConfigDict(from_attributes=True)


class ConversationOut(_Shown):
    id: UUID
    title: str
    is_active: bool
    configuration_id: UUID | None
    message_count: int
    total_tokens: int
    total_cost: Money
    created_at: datetime
    updated_at: datetime


class WaitingCall(_Shown):
    """A call that a person has to decide about. `arguments` is JSON text."""

    call_id: str
    name: str
    arguments: str
    expires_at: datetime | None


class Pagination(_Shown):
    page: int
    page_size: int
    total_pages: int
    total_count: int
    has_next: bool
    has_previous: bool


class ConversationPage(_Shown):
    conversations: list[ConversationOut]
    pagination: Pagination
