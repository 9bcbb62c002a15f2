"""Alerts that the app itself raises, each thing once."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django_chatgpt.models import AIAlert
from django_chatgpt.storage.primary import primary

MOST_OPEN = 20


def add(alert: AIAlert) -> bool:
    """Store an alert unless there is one of its key; of several who try at once, one is told True."""
    rows = AIAlert.objects.using(primary())
    if rows.filter(key=alert.key).exists():
        return False
    rows.bulk_create([alert], ignore_conflicts=True)
    return rows.filter(pk=alert.pk).exists()


def is_open(prefix: str) -> bool:
    """Whether nobody has dealt yet with an alert whose key begins so: "price:gpt-4o:".

    Nor with MOST_OPEN others of its kind: anybody can name models that nobody knows.
    """
    kind = prefix.partition(":")[0]
    rows = AIAlert.objects.using(primary()).unresolved()
    if rows.filter(key__startswith=prefix).exists():
        return True
    return rows.filter(key__startswith=f"{kind}:")[:MOST_OPEN].count() == MOST_OPEN


def make(
    key: str,
    *,
    severity: str,
    title: str,
    description: str,
    user_id: Any = None,
    conversation_id: UUID | None = None,
    metadata: dict[str, Any] | None = None,
) -> AIAlert:
    """An alert, not stored yet; a text that is too long for its column is cut."""
    return AIAlert(
        key=key[:255],
        severity=severity,
        title=title[:200],
        description=description,
        user_id=user_id,
        conversation_id=conversation_id,
        metadata=metadata or {},
    )
