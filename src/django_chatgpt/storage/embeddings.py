"""Stored vectors: looked up by text, written in bulk, loaded in the order in which they were found."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar
from uuid import UUID

from django.contrib.auth import get_user_model
from django.db import connections
from django.db.models.fields.json import KeyTransform
from django.utils import timezone

from django_chatgpt.models import EmbeddingVector
from django_chatgpt.models.embedding import EmbeddingVectorQuerySet
from django_chatgpt.storage.primary import primary
from django_chatgpt.storage.vectors import Scope, get_backend

T = TypeVar("T")

NAMES_AT_ONCE = 1000
ROWS_AT_ONCE = 200  # 2.5 MB of a large model's vectors, well below what databases take in one statement


@dataclass(frozen=True, slots=True)
class Shelf:
    """Where texts are looked up: one owner's, of one model. Without `dimensions` the longest counts."""

    owner_key: str
    model: str
    dimensions: int | None = None

    @property
    def rows(self) -> EmbeddingVectorQuerySet:
        rows = EmbeddingVector.objects.using(primary()).filter(owner_key=self.owner_key, model=self.model)
        return rows if self.dimensions is None else rows.filter(dimensions=self.dimensions)


def find(shelf: Shelf, hashes: Collection[str]) -> dict[str, UUID]:
    """Which of the texts, named by their sha256, are stored, and in which row."""
    found: dict[str, UUID] = {}
    for some in _batches(list(hashes), NAMES_AT_ONCE):
        rows = shelf.rows.filter(content_hash__in=some).order_by("dimensions")
        found.update(rows.values_list("content_hash", "pk"))
    return found


def find_vector(shelf: Shelf, content_hash: str) -> bytes | None:
    """The stored vector of one text."""
    rows = shelf.rows.filter(content_hash=content_hash).order_by("-dimensions")
    stored = rows.values_list("vector", flat=True).first()
    return None if stored is None else bytes(stored)


def add(scope: Scope, rows: Sequence[EmbeddingVector]) -> dict[str, UUID]:
    """Write rows of one scope; the row of each text, which is another where somebody was faster.

    Call it in a transaction. A text is missing from what is returned if its owner is gone.
    """
    if not rows:
        return {}
    EmbeddingVector.objects.using(primary()).bulk_create(rows, ignore_conflicts=True, batch_size=ROWS_AT_ONCE)
    shelf = Shelf(scope.owner_key, scope.model, scope.dimensions)
    stored = find(shelf, [row.content_hash for row in rows])
    written = {row.pk for row in rows}.intersection(stored.values())
    if written:
        get_backend().added(scope, written)
    return stored


def has_owner(user_id: Any) -> bool:
    """Whether there is such a user; the site, None, is always there."""
    users = get_user_model()._base_manager.using(primary())
    return user_id is None or users.filter(pk=user_id).exists()


def load(ids: Collection[UUID], *, vectors: bool = True) -> dict[UUID, EmbeddingVector]:
    """The rows by their keys; a row deleted meanwhile is missing."""
    rows = EmbeddingVector.objects.using(primary())
    found: dict[UUID, EmbeddingVector] = {}
    for some in _batches(list(ids), NAMES_AT_ONCE):
        part = rows.filter(pk__in=some)
        found.update((row.pk, row) for row in (part if vectors else part.defer("vector")))
    return found


def set_metadata(rows: Collection[EmbeddingVector]) -> None:
    """Write the metadata of rows that have been changed in memory."""
    now = timezone.now()
    for row in rows:
        row.updated_at = now
    EmbeddingVector.objects.using(primary()).bulk_update(
        rows, ["metadata", "updated_at"], batch_size=ROWS_AT_ONCE
    )


def narrowed(scope: Scope, filters: Mapping[str, str | int | float | bool]) -> EmbeddingVectorQuerySet:
    """The rows of `scope` whose metadata has all of these keys with these values."""
    rows = Shelf(scope.owner_key, scope.model, scope.dimensions).rows
    for number, (key, value) in enumerate(filters.items()):
        # As an expression and not as a lookup, whose name a key such as "a__contains" would change.
        name = f"_filter_{number}"
        rows = rows.alias(**{name: KeyTransform(key, "metadata")}).filter(**{name: value})
        if connections[rows.db].features.supports_json_field_contains:
            # MariaDB takes the text "1" for the number 1 without it.
            rows = rows.filter(metadata__contains={key: value})
    return rows


def _batches(values: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    for start in range(0, len(values), size):
        yield values[start : start + size]
