"""What of a conversation is summed up, kept in its metadata and gone with it."""

from __future__ import annotations

from uuid import UUID

from django.db.models.functions import Left

from django_chatgpt.core.messages import Message
from django_chatgpt.core.summary import Summary
from django_chatgpt.models import AIConversation, AIMessage
from django_chatgpt.storage.primary import primary

KEY = "history_summary"
MOST_LINES = 400


def find(conversation_id: UUID) -> Summary | None:
    """The summary of a conversation, None if there is none."""
    rows = AIConversation.objects.using(primary()).filter(pk=conversation_id)
    metadata = rows.values_list("metadata", flat=True).first()
    match metadata.get(KEY) if isinstance(metadata, dict) else None:
        case {"text": str(text), "covers": int(covers)}:
            return Summary(text, covers)
    return None


def keep(conversation_id: UUID, summary: Summary) -> None:
    """Put a summary in the place of the one before, within a transaction; the site's own metadata stays."""
    rows = AIConversation.objects.using(primary()).filter(pk=conversation_id)
    metadata = rows.select_for_update().values_list("metadata", flat=True).first()
    if isinstance(metadata, dict):
        rows.update(metadata={**metadata, KEY: {"text": summary.text, "covers": summary.covers}})


def said(conversation_id: UUID, after: int, up_to: int, characters: int) -> list[Message]:
    """What user and model have said between two numbers: the beginnings, MOST_LINES at most, newest first."""
    rows = (
        AIMessage.objects.using(primary())
        .filter(
            conversation_id=conversation_id,
            sequence__gt=after,
            sequence__lte=up_to,
            role__in=(AIMessage.Role.USER, AIMessage.Role.ASSISTANT),
        )
        .exclude(status=AIMessage.Status.REFUSED)
        .exclude(content="")
        .order_by("-sequence")
        .values_list("role", Left("content", characters))
    )
    return [{"role": role, "content": content} for role, content in rows[:MOST_LINES]]
