"""A user's conversations: listed, begun, changed, deleted. Somebody else's are not there."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import UUID

from django.db import connections
from django.db.models import Exists, F, OuterRef, Prefetch, Q, QuerySet
from django.utils import timezone

from django_chatgpt.exceptions import NotFoundError
from django_chatgpt.models import AIConfiguration, AIConversation, AIFunctionCall, AIMessage, AITurn
from django_chatgpt.storage.primary import atomic, primary, retried
from django_chatgpt.storage.turns import busy_with, is_expired


def page_of(user_id: Any, page: int, page_size: int, search: str = "") -> tuple[list[AIConversation], int]:
    """One page, the one used last first, with message counts; and the number of all. Two queries.

    With `search` those whose title, question or answer has that text in it.
    """
    own = AIConversation.objects.using(primary()).filter(user_id=user_id)
    if search:
        said = AIMessage.objects.filter(
            conversation=OuterRef("pk"),
            role__in=(AIMessage.Role.USER, AIMessage.Role.ASSISTANT),
            content__icontains=search,
        )
        own = own.filter(Q(title__icontains=search) | Exists(said))
    start = (page - 1) * page_size
    return list(own.newest_first().with_message_count()[start : start + page_size]), own.count()


def create(user_id: Any, title: str, configuration: AIConfiguration | None) -> AIConversation:
    return AIConversation.objects.using(primary()).create(
        user_id=user_id, title=title, configuration_id=configuration.pk if configuration else None
    )


def is_own(conversation_id: UUID, user_id: Any) -> bool:
    return AIConversation.objects.using(primary()).filter(pk=conversation_id, user_id=user_id).exists()


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


def turns_of(conversation_id: UUID, user_id: Any) -> list[AITurn]:
    """The user's own turns in a conversation with their calls, in their order, in two queries."""
    own = AITurn.objects.using(primary()).filter(conversation_id=conversation_id, user_id=user_id)
    calls = Prefetch("calls", AIFunctionCall.objects.using(primary()).order_by("id"))
    return list(own.defer("partial_text").order_by("id").prefetch_related(calls))


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
        if not hold_whole(own):
            raise _missing(conversation_id)
        busy = _busy(conversation_id)
        if busy is not None and not (is_expired(busy) and sweep(busy)):
            raise busy_with(busy)
        own.delete()


def hold_whole(rows: QuerySet[AIConversation]) -> list[UUID]:
    """Keep all others out of conversations until the end of the transaction; the keys of those there are.

    Nobody opens a turn in them meanwhile.
    """
    # A mere update doesn't keep a turn out that is being opened: PostgreSQL lets foreign keys refer to a row
    # that is being changed. On SQLite a transaction that begins by reading can't wait for another writer;
    # there the write is the lock.
    rows = rows.order_by("pk")
    if connections[primary()].features.has_select_for_update:
        rows = rows.select_for_update()
    else:
        rows.order_by().update(is_active=F("is_active"))
    return list(rows.values_list("pk", flat=True))


def _busy(conversation_id: UUID, **conditions: Any) -> AITurn | None:
    active = AITurn.objects.using(primary()).active()
    return active.filter(conversation_id=conversation_id, **conditions).first()


def _or_missing(found: AIConversation | None, conversation_id: UUID) -> AIConversation:
    if found is None:
        raise _missing(conversation_id)
    return found


def _missing(conversation_id: UUID) -> NotFoundError:
    return NotFoundError(f"conversation_id: you have no conversation {conversation_id}.")
