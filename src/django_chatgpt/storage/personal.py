"""What belongs to a user, table by table: the rows, and of them the columns that say something.

Left out are columns that repeat others or serve locks: owner keys, leases, holders, vectors.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from django.db.models import Model, Q, QuerySet

from django_chatgpt.models import (
    AIAlert,
    AIConversation,
    AIFunctionCall,
    AIFunctionJob,
    AIMessage,
    AITurn,
    AITurnEvent,
    AIUsage,
    EmbeddingJob,
    EmbeddingJobText,
    EmbeddingVector,
)
from django_chatgpt.storage.primary import primary

#: Columns that nobody needs who wants to know what is kept.
INTERNAL: Final = frozenset(
    {
        "owner_key",
        "active_conversation",
        "request_fingerprint",
        "lease_expires_at",
        "fingerprint",
        "holder",
        "held_until",
        "vector",
        "reserved_until",
        "key",
    }
)


@dataclass(frozen=True, slots=True)
class Table:
    """A table, and where it names the user: any of these lookups."""

    name: str
    model: type[Model]
    lookups: tuple[str, ...]

    def rows(self, user_id: Any) -> QuerySet[Any]:
        """The user's rows."""
        whose = Q()
        for lookup in self.lookups:
            whose |= Q(**{lookup: user_id})
        return self.model._default_manager.using(primary()).filter(whose)

    @property
    def columns(self) -> list[str]:
        """What of a row is told."""
        fields = self.model._meta.concrete_fields
        return [field.attname for field in fields if field.name not in INTERNAL]


#: In this order one row may name another that was told before.
TABLES: Final = (
    Table("conversations", AIConversation, ("user_id",)),
    Table("turns", AITurn, ("user_id", "conversation__user_id")),
    Table("messages", AIMessage, ("conversation__user_id",)),
    Table("function_calls", AIFunctionCall, ("turn__user_id", "turn__conversation__user_id")),
    Table("function_jobs", AIFunctionJob, ("user_id",)),
    Table("events", AITurnEvent, ("turn__user_id", "turn__conversation__user_id")),
    Table("usage", AIUsage, ("user_id",)),
    Table("embeddings", EmbeddingVector, ("user_id",)),
    Table("embedding_jobs", EmbeddingJob, ("user_id",)),
    Table("embedding_job_texts", EmbeddingJobText, ("job__user_id",)),
    Table("alerts", AIAlert, ("user_id", "conversation__user_id")),
)

#: The same for one conversation, looked up by its key in the place of a user's.
OF_CONVERSATION: Final = (
    Table("conversations", AIConversation, ("pk",)),
    Table("turns", AITurn, ("conversation_id",)),
    Table("messages", AIMessage, ("conversation_id",)),
    Table("function_calls", AIFunctionCall, ("turn__conversation_id",)),
    Table("events", AITurnEvent, ("turn__conversation_id",)),
    Table("usage", AIUsage, ("conversation_id",)),
)


def told(table: Table, user_id: Any, size: int) -> Iterator[list[dict[str, Any]]]:
    """What a table has of a user, so many rows at a time in the order of their keys."""
    rows = table.rows(user_id).order_by("pk").values(*table.columns)
    some = list(rows[:size])
    while some:
        yield some
        if len(some) < size:
            return
        some = list(rows.filter(pk__gt=some[-1]["id"])[:size])
