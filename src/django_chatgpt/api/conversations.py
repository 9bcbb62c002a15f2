"""conversations/: the user's own."""

from __future__ import annotations

from typing import Annotated, Any
from uuid import UUID

from django.http import HttpRequest
from ninja import Query, Router, Status

from django_chatgpt.api.auth import SessionLogin
from django_chatgpt.api.schemas import (
    ConversationDetail,
    ConversationIn,
    ConversationOut,
    ConversationPage,
    ConversationPatch,
    ErrorOut,
    Pagination,
)
from django_chatgpt.services import chat as service
from django_chatgpt.services.sweeper import sweep
from django_chatgpt.storage import conversations as storage

router = Router(tags=["conversations"], auth=SessionLogin())

REFUSED = {400: ErrorOut, 401: ErrorOut, 403: ErrorOut, 404: ErrorOut}
Page = Annotated[int, Query(1, ge=1, le=1_000_000)]
PageSize = Annotated[int, Query(20, ge=1, le=100)]


@router.get("conversations/", response={200: ConversationPage, **REFUSED}, url_name="conversations")
def list_conversations(request: HttpRequest, page: Page = 1, page_size: PageSize = 20) -> Any:
    """Your conversations, the one used last first."""
    rows, count = storage.page_of(request.user.pk, page, page_size)
    pages = max(1, -(-count // page_size))
    return {
        "conversations": rows,
        "pagination": Pagination(
            page=page,
            page_size=page_size,
            total_pages=pages,
            total_count=count,
            has_next=page < pages,
            has_previous=page > 1,
        ),
    }


@router.post("conversations/", response={201: ConversationOut, **REFUSED}, url_name="conversations")
def create_conversation(request: HttpRequest, data: ConversationIn) -> Any:
    """Begin a conversation before anything is said in it."""
    configuration = service.find_configuration(data.configuration_id)
    return Status(201, storage.create(request.user.pk, data.title, configuration))


@router.get(
    "conversations/{conversation_id}/",
    response={200: ConversationDetail, **REFUSED},
    url_name="conversation",
)
def get_conversation(request: HttpRequest, conversation_id: UUID) -> Any:
    """One of your conversations, with everything that was said in it."""
    return storage.with_messages(conversation_id, request.user.pk)


@router.patch(
    "conversations/{conversation_id}/",
    response={200: ConversationOut, **REFUSED},
    url_name="conversation",
)
def change_conversation(request: HttpRequest, conversation_id: UUID, data: ConversationPatch) -> Any:
    """Rename a conversation, or put it away (`is_active`)."""
    return storage.change(conversation_id, request.user.pk, data.dict(exclude_unset=True))


@router.delete(
    "conversations/{conversation_id}/",
    response={204: None, 409: ErrorOut, **REFUSED},
    url_name="conversation",
)
def delete_conversation(request: HttpRequest, conversation_id: UUID) -> Any:
    """Delete a conversation and all that was said in it; what it cost stays in the ledger."""
    storage.delete(conversation_id, request.user.pk, sweep)
    return Status(204, None)
