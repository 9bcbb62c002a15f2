"""A user's conversations: listed, begun, changed, deleted. Somebody else's are not there."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import UUID

from django.db import connections
from django.db.models import F, Prefetch
from django.utils import timezone

from django_chatgpt.exceptions import NotFoundError
from django_chatgpt.models import AIConfiguration, AIConversation, AIMessage, AITurn
from django_chatgpt.storage.primary import atomic, primary, retried
from django_chatgpt.storage.turns import busy_with, is_expired


def page_of(user_id: Any, page: int, page_size: int) -> tuple[list[AIConversation], int]:
    """One page, the one used last first, with message counts; and the number of all. Two queries."""
    own = AIConversation.objects.using(primary()).filter(user_id=user_id)
    start = (page - 1) * page_size
    return list(own.newest_first().with_message_count()[start : start + page_size]), own.count()


def create(user_id: Any, title: str, configuration: AIConfiguration | None) -> AIConversation:
    return AIConversation.objects.using(primary()).create(
        user_id=user_id, title=title, configuration_id=configuration.pk if configuration else None
    )


def with_messages(conversation_id: UUID, user_id: Any) -> AIConversation:
    """A conversation with its messages, in two queries. Raises NotFoundError."""
    messages = Prefetch("messages", AIMessage.objects.using(primary()).order_by("sequence"))
    found = (
        AIConversation.objects.using(primary())
        .filter(pk=conversation_id, user_id=user_id)
        .with_message_count()
        .prefetch_related(messages)
        .first()
    )
    return _or_missing(found, conversation_id)


def change(conversation_id: UUID, user_id: Any, values: dict[str, Any]) -> AIConversation:
    """Write `values` and nothing else of a conversation. Raises NotFoundError."""
    own = AIConversation.objects.using(primary()).filter(pk=conversation_id, user_id=user_id)
    if values:
        retried(lambda: own.update(**values, updated_at=timezone.now()))
    return _or_missing(own.with_message_count().first(), conversation_id)


def delete(conversation_id: UUID, user_id: Any, sweep: Callable[[AITurn], bool]) -> None:
    """Delete a conversation. Raises NotFoundError; ConflictError naming the turn it is busy with.

    A turn whose lease ran out is ended by `sweep` first, so that the ledger knows what it took.
    """
    busy = _busy(conversation_id, conversation__user_id=user_id)
    if busy is not None and is_expired(busy):
        # Here already, because it may take long and nobody should wait for a lock so long.
        sweep(busy)
    retried(lambda: _delete(conversation_id, user_id, sweep))


def _delete(conversation_id: UUID, user_id: Any, sweep: Callable[[AITurn], bool]) -> None:
    own = AIConversation.objects.using(primary()).filter(pk=conversation_id, user_id=user_id)
    with atomic():
        # A mere update doesn't keep a turn out that is being opened: PostgreSQL lets foreign keys refer to
        # a row that is being changed. On SQLite a transaction that begins by reading can't wait for another
        # writer; there the write is the lock.
        if connections[primary()].features.has_select_for_update:
            own.select_for_update().values_list("pk").first()
        if not own.update(is_active=F("is_active")):
            raise _missing(conversation_id)
        busy = _busy(conversation_id)
        if busy is not None and not (is_expired(busy) and sweep(busy)):
            raise busy_with(busy)
        own.delete()


def _busy(conversation_id: UUID, **conditions: Any) -> AITurn | None:
    active = AITurn.objects.using(primary()).active()
    return active.filter(conversation_id=conversation_id, **conditions).first()


def _or_missing(found: AIConversation | None, conversation_id: UUID) -> AIConversation:
    if found is None:
        raise _missing(conversation_id)
    return found


def _missing(conversation_id: UUID) -> NotFoundError:
    return NotFoundError(f"conversation_id: you have no conversation {conversation_id}.")
