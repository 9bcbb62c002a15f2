"""What comes in: one JSON object for each frame, with its `type` and what that takes.

Any frame may carry a `ref`, a text of its sender's choice that is in whatever answers it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Final
from uuid import UUID

from pydantic import AfterValidator, Field

from django_chatgpt.services import overview
from django_chatgpt.services.bodies import (
    BAD_KEY,
    ChatIn,
    ConversationIn,
    ExecuteIn,
    Strict,
    Text,
    is_key,
)
from django_chatgpt.services.conversations import MAX_PAGE, MAX_PAGE_SIZE, PAGE_SIZE

MAX_REF = 100
MAX_EVENT = 10**18 - 1


def _key(text: str) -> str:
    if not is_key(text):
        raise ValueError(BAD_KEY.removesuffix("."))
    return text


class Incoming(Strict):
    """A frame without anything."""

    type: str
    ref: Annotated[Text, Field(max_length=MAX_REF)] | None = None


class ChatMessage(ChatIn, Incoming):
    """A question, as POST chat/ takes it; the key that HTTP has in a header is a field here."""

    idempotency_key: Annotated[str, AfterValidator(_key)] | None = None


class StartConversation(ConversationIn, Incoming):
    """A conversation to be begun before anything is said in it."""


class EndConversation(Incoming):
    """A conversation to be put away."""

    conversation_id: UUID


class FunctionCallIn(ExecuteIn, Incoming):
    """A function to be called without a model, as POST functions/execute/ takes it."""


class GetConversations(Incoming):
    page: int = Field(1, ge=1, le=MAX_PAGE, strict=True)
    page_size: int = Field(PAGE_SIZE, ge=1, le=MAX_PAGE_SIZE, strict=True)


class Cancel(Incoming):
    """A turn to be stopped, wherever it runs."""

    turn_id: UUID


class Resume(Incoming):
    """A turn to be shown from after the event with that number."""

    turn_id: UUID
    after: int = Field(0, ge=0, le=MAX_EVENT, strict=True)


class GetStats(Incoming):
    """How the site stands."""


class GetActivity(Incoming):
    days: int = Field(7, ge=1, le=overview.MAX_DAYS, strict=True)
    limit: int = Field(20, ge=1, le=overview.MOST_USERS, strict=True)


class GetCosts(Incoming):
    days: int = Field(30, ge=1, le=overview.MAX_DAYS, strict=True)
    limit: int = Field(20, ge=1, le=overview.MOST_USERS, strict=True)


CHAT: Final[Mapping[str, type[Incoming]]] = {
    "chat_message": ChatMessage,
    "start_conversation": StartConversation,
    "end_conversation": EndConversation,
    "function_call": FunctionCallIn,
    "get_conversations": GetConversations,
    "cancel": Cancel,
    "resume": Resume,
    "ping": Incoming,
}
MONITORING: Final[Mapping[str, type[Incoming]]] = {
    "get_system_stats": GetStats,
    "get_user_activity": GetActivity,
    "get_cost_analytics": GetCosts,
    "ping": Incoming,
}


def ref_of(data: Any) -> str | None:
    """The `ref` of a frame that is not a valid one, if that at least is."""
    ref = data.get("ref") if isinstance(data, dict) else None
    if not isinstance(ref, str) or len(ref) > MAX_REF:
        return None
    return ref if ref.isprintable() else None
