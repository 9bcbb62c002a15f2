"""What is deleted when its time is over."""

from __future__ import annotations

from datetime import timedelta

from django.db.models import QuerySet
from django.utils import timezone

from django_chatgpt.conf import conf
from django_chatgpt.models import AITurnEvent
from django_chatgpt.storage import events


def old_events() -> QuerySet[AITurnEvent]:
    """The events of turns that ended OPENAI_EVENT_RETENTION seconds ago."""
    return events.ended_before(timezone.now() - timedelta(seconds=conf.event_retention))


def delete_old_events() -> int:
    """Delete them; how many rows that were. A turn without events is still told in short."""
    return events.delete(old_events())
