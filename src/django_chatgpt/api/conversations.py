"""conversations/: the user's own."""

from __future__ import annotations

from typing import Annotated, Any, Literal
from uuid import UUID

from django.http import HttpRequest, HttpResponse
from ninja import Query, Router, Status

from django_chatgpt.api.auth import SessionLogin
from django_chatgpt.api.schemas import (
    CallLineOut,
    ConversationDetail,
    ConversationIn,
    ConversationOut,
    ConversationPage,
    ConversationPatch,
    ErrorDetail,
    ErrorOut,
    HtmlOut,
    MessageOut,
    ShownConversation,
    ShownMessage,
    SourceOut,
    TurnLineOut,
)
from django_chatgpt.services import access, markdown, transcripts
from django_chatgpt.services import conversations as service
from django_chatgpt.services.shown import WaitingCall, error_body
from django_chatgpt.storage import conversations as storage

router = Router(tags=["conversations"], auth=SessionLogin())

REFUSED = {400: ErrorOut, 401: ErrorOut, 403: ErrorOut, 404: ErrorOut}
Page = Annotated[int, Query(1, ge=1, le=service.MAX_PAGE)]
PageSize = Annotated[int, Query(service.PAGE_SIZE, ge=1, le=service.MAX_PAGE_SIZE)]
Search = Annotated[str, Query("", max_length=200)]
Render = Annotated[Literal["html"] | None, Query(None)]


@router.get("conversations/", response={200: ConversationPage, **REFUSED}, url_name="conversations")
def list_conversations(
    request: HttpRequest, page: Page = 1, page_size: PageSize = service.PAGE_SIZE, search: Search = ""
) -> Any:
    """Your conversations, the one used last first; with `search` those that have that text in them."""
    return service.page_of(request.user.pk, page, page_size, search)


@router.post("conversations/", response={201: ConversationOut, **REFUSED}, url_name="conversations")
def create_conversation(request: HttpRequest, data: ConversationIn) -> Any:
    """Begin a conversation before anything is said in it."""
    access.require(request.user)
    return Status(201, service.create(request.user.pk, data))


@router.get(
    "conversations/{conversation_id}/",
    response={200: ConversationDetail, **REFUSED},
    url_name="conversation",
)
def get_conversation(request: HttpRequest, conversation_id: UUID, render: Render = None) -> Any:
    """One of your conversations, with everything that was said in it.

    With `render=html` answers are there as safe HTML, too, and so is how each turn went.
    """
    if render is None:
        return storage.with_messages(conversation_id, request.user.pk)
    body = shown(transcripts.read(conversation_id, request.user)).model_dump_json()
    return HttpResponse(body, content_type="application/json")


def _html(text: str) -> HtmlOut:
    first, blocks = markdown.Blocks().feed(text)
    return {"from": first, "blocks": blocks}


def shown(transcript: transcripts.Transcript) -> ShownConversation:
    """A conversation for people's eyes: with HTML, and with its turns."""
    detail = ConversationDetail.from_orm(transcript.conversation)
    messages = [
        ShownMessage(
            **{name: getattr(message, name) for name in MessageOut.model_fields},
            html=_html(message.content) if message.role == "assistant" else None,
        )
        for message in detail.messages
    ]
    turns = [
        TurnLineOut(
            id=line.turn.pk,
            status=line.turn.status,
            error=ErrorDetail(**error_body(line.error)) if line.error is not None else None,
            tokens=line.tokens,
            cost=line.cost,
            calls=[CallLineOut.from_orm(call) for call in line.calls],
            waiting=[WaitingCall.model_validate(call) for call in line.waiting],
            sources=[SourceOut.from_orm(link) for link in line.sources],
        )
        for line in transcript.turns
    ]
    values = {name: getattr(detail, name) for name in ConversationOut.model_fields}
    return ShownConversation(**values, messages=messages, turns=turns)


@router.patch(
    "conversations/{conversation_id}/",
    response={200: ConversationOut, **REFUSED},
    url_name="conversation",
)
def change_conversation(request: HttpRequest, conversation_id: UUID, data: ConversationPatch) -> Any:
    """Rename a conversation, or put it away (`is_active`)."""
    return service.change(conversation_id, request.user.pk, data.model_dump(exclude_unset=True))


@router.delete(
    "conversations/{conversation_id}/",
    response={204: None, 409: ErrorOut, **REFUSED},
    url_name="conversation",
)
def delete_conversation(request: HttpRequest, conversation_id: UUID) -> Any:
    """Delete a conversation and all that was said in it; what it cost stays in the ledger."""
    service.delete(conversation_id, request.user.pk)
    return Status(204, None)
