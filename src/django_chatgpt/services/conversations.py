"""A user's conversations, as each door shows and changes them; somebody else's are not there."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django_chatgpt.core.messages import storable
from django_chatgpt.models import AIConversation
from django_chatgpt.services.bodies import ConversationIn
from django_chatgpt.services.chat import find_configuration
from django_chatgpt.services.shown import ConversationPage, Pagination
from django_chatgpt.services.sweeper import sweep
from django_chatgpt.storage import conversations as storage

MAX_PAGE = 1_000_000
PAGE_SIZE = 20
MAX_PAGE_SIZE = 100


def page_of(user_id: Any, page: int = 1, page_size: int = PAGE_SIZE, search: str = "") -> ConversationPage:
    """One page of a user's conversations, the one used last first, in two queries.

    With `search` those whose title, question or answer has that text in it.
    """
    rows, count = storage.page_of(user_id, page, page_size, storable(search).strip())
    pages = max(1, -(-count // page_size))
    pagination = Pagination(
        page=page,
        page_size=page_size,
        total_pages=pages,
        total_count=count,
        has_next=page < pages,
        has_previous=page > 1,
    )
    return ConversationPage.model_validate(
        {"conversations": rows, "pagination": pagination}, from_attributes=True
    )


def create(user_id: Any, data: ConversationIn) -> AIConversation:
    """Begin a conversation before anything is said in it. Raises NotFoundError for its configuration."""
    return storage.create(user_id, data.title, find_configuration(data.configuration_id))


def change(conversation_id: UUID, user_id: Any, values: dict[str, Any]) -> AIConversation:
    """Rename a conversation, or put it away. Raises NotFoundError."""
    return storage.change(conversation_id, user_id, values)


def delete(conversation_id: UUID, user_id: Any) -> None:
    """Delete a conversation and all that was said in it; what it cost stays in the ledger.

    Raises NotFoundError; ConflictError naming the turn it is busy with.
    """
    storage.delete(conversation_id, user_id, sweep)
