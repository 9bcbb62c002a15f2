"""The log of a turn: written in pieces, read from any number on, thrown away some time after the end."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db.models import Max, QuerySet

from django_chatgpt.core.log import Piece
from django_chatgpt.models import AITurnEvent
from django_chatgpt.models.turn import OVER
from django_chatgpt.storage.primary import primary
from django_chatgpt.storage.statements import insert, insert_all


def add(turn_id: UUID, piece: Piece) -> None:
    """Write the next piece of a turn."""
    insert(AITurnEvent(**_values(turn_id, piece)))


def add_all(pieces: Mapping[UUID, Piece]) -> None:
    """Write the next pieces of many turns."""
    insert_all(AITurnEvent, [_values(turn_id, piece) for turn_id, piece in pieces.items()])


def after(turn_id: UUID, number: int, most: int) -> list[tuple[int, str]]:
    """First number and data of the pieces with events after that number, in order; at most so many."""
    rows = AITurnEvent.objects.using(primary()).filter(turn_id=turn_id, last__gt=number)
    return list(rows.order_by("last").values_list("first", "data")[:most])


def last_number(turn_id: UUID) -> int:
    """The number of the last event that is kept of a turn; 0 if none is."""
    rows = AITurnEvent.objects.using(primary()).filter(turn_id=turn_id)
    return rows.aggregate(last=Max("last"))["last"] or 0


def ended_before(moment: datetime) -> QuerySet[AITurnEvent]:
    """The rows of turns that ended before then."""
    return AITurnEvent.objects.using(primary()).filter(
        created_at__lt=moment, turn__status__in=sorted(OVER), turn__finished_at__lt=moment
    )


def delete(rows: QuerySet[AITurnEvent], batch: int = 1000) -> int:
    """Delete rows, a batch at a time so that nobody waits long; how many they were."""
    deleted = 0
    # The keys sort by time: the oldest are found at the beginning of their index. They are fetched because
    # MariaDB deletes from no table that the same statement reads.
    while keys := list(rows.order_by("id").values_list("pk", flat=True)[:batch]):
        deleted += AITurnEvent.objects.using(primary()).filter(pk__in=keys).delete()[0]
    return deleted


def _values(turn_id: UUID, piece: Piece) -> dict[str, Any]:
    return {"turn_id": turn_id, "first": piece.first, "last": piece.last, "data": piece.data}
