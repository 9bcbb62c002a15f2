"""The tables of the indexes: which objects are in them, of which passages, and which may have changed."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from typing import Any, Final
from uuid import UUID

from django.db.models import Exists, OuterRef, QuerySet
from django.utils import timezone

from django_chatgpt.core.ids import uuid7
from django_chatgpt.models import EmbeddingVector, IndexedObject, IndexedPassage
from django_chatgpt.models.embedding import EmbeddingVectorQuerySet
from django_chatgpt.storage.primary import atomic, primary, retried

#: How vectors are known that an index has made, and that go with the last passage that has their text.
MADE_BY_INDEX: Final = {"index": True}
#: What a batch has embedded for an index, until `drop_orphans` finds that the index has taken it in.
MADE_FOR_INDEX: Final = {"index": True, "batch": True}
KEPT_FOR_INDEX: Final = timedelta(days=7)

KEYS_AT_ONCE: Final = 500


@dataclass(frozen=True, slots=True)
class Cut:
    """What an object has become: the hash of its text, and those of its passages in their order."""

    key: str
    stale: UUID | None
    text_hash: str
    passages: Sequence[str]


@dataclass(slots=True)
class Changes:
    """What is to be written of some objects of an index."""

    cut: list[Cut] = field(default_factory=list)
    unchanged: list[Cut] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    gone: list[str] = field(default_factory=list)


def mark(index: str, key: str, *, is_new: bool) -> None:
    """Note that an object may have changed: one query, a few for one that was there before the index."""
    now, stale = timezone.now(), uuid7()
    rows = objects_of(index)
    if not is_new and rows.filter(object_key=key).update(stale=stale, updated_at=now):
        return
    row = IndexedObject(index=index, object_key=key, stale=stale)
    rows.bulk_create([row], ignore_conflicts=True)
    if is_new:
        return
    rows.filter(object_key=key).exclude(stale=stale).update(stale=stale, updated_at=now)


def objects_of(index: str) -> QuerySet[IndexedObject]:
    return IndexedObject.objects.using(primary()).filter(index=index)


def find(index: str, keys: Collection[str]) -> dict[str, IndexedObject]:
    """The rows of some objects, with their passages."""
    rows = objects_of(index).filter(object_key__in=keys).prefetch_related("passages")
    return {row.object_key: row for row in rows}


def stale_after(index: str, last: UUID | None, number: int) -> list[IndexedObject]:
    """Objects that may have changed, some at a time, in the order of their rows."""
    rows = objects_of(index).filter(stale__isnull=False)
    if last is not None:
        rows = rows.filter(pk__gt=last)
    return list(rows.order_by("pk")[:number])


def keys_after(index: str, last: str, number: int) -> list[str]:
    """Keys of objects in the index, some at a time, in their order."""
    rows = objects_of(index).filter(object_key__gt=last).order_by("object_key")
    return list(rows.values_list("object_key", flat=True)[:number])


def write(index: str, model: str, changes: Changes) -> list[str]:
    """Write all of it or nothing; the keys of objects left out, as another was faster or a vector is gone."""
    return retried(partial(_write, index, model, changes))


def forget(index: str, keys: Collection[str]) -> None:
    """Take objects out, and with them the texts and vectors that no other passage has."""
    write(index, "", Changes(gone=list(keys)))


def allowed(index: str, keys: Iterable[Any]) -> QuerySet[IndexedPassage]:
    """The passages of the objects whose keys are in all of the querysets or lists in `keys`."""
    rows = IndexedPassage.objects.using(primary()).filter(indexed__index=index)
    for each in keys:
        rows = rows.filter(indexed__object_key__in=each)
    return rows


def vectors_of(model: str, passages: QuerySet[IndexedPassage]) -> EmbeddingVectorQuerySet:
    """The vectors by `model` of these passages."""
    hashes = passages.order_by().values("content_hash")
    return EmbeddingVector.objects.using(primary()).filter(owner_key="", model=model, content_hash__in=hashes)


def texts(model: str, hashes: Collection[str]) -> dict[str, str]:
    """The texts of passages that have a vector by `model`."""
    rows = EmbeddingVector.objects.using(primary()).filter(owner_key="", model=model, content_hash__in=hashes)
    return dict(rows.values_list("content_hash", "content"))


def texts_of(hashes: Collection[str]) -> dict[str, str]:
    """The site's own texts with these hashes, whichever model has embedded them."""
    rows = EmbeddingVector.objects.using(primary()).filter(owner_key="", content_hash__in=hashes)
    return dict(rows.values_list("content_hash", "content"))


def _write(index: str, model: str, changes: Changes) -> list[str]:
    late: list[str] = []
    with atomic():
        dropped = _forget(index, changes.gone)
        rows = _lock(index, [cut.key for cut in (*changes.cut, *changes.unchanged)])
        for cut in changes.cut:
            if cut.key not in rows:
                rows[cut.key] = IndexedObject(index=index, object_key=cut.key)
        _add(index, rows, late)
        mine = {cut.key: cut for cut in changes.cut if cut.key not in late}
        hashes = {each for cut in mine.values() for each in cut.passages}
        there = _hold(model, hashes)
        for key, cut in list(mine.items()):
            if not there.issuperset(cut.passages):
                late.append(key)
                del mine[key]
        dropped |= _replace(rows, mine)
        _settle([rows[key] for key in mine], mine)
        _settle(
            [rows[cut.key] for cut in changes.unchanged if cut.key in rows],
            {cut.key: cut for cut in changes.unchanged},
        )
        for key, error in changes.failed.items():
            _fail(index, key, error)
        _drop_vectors(dropped)
    return late


def _lock(index: str, keys: Sequence[str]) -> dict[str, IndexedObject]:
    """The rows of these objects, which nobody else changes until the end of the transaction."""
    rows: dict[str, IndexedObject] = {}
    for start in range(0, len(keys), KEYS_AT_ONCE):
        some = objects_of(index).filter(object_key__in=keys[start : start + KEYS_AT_ONCE])
        rows.update((row.object_key, row) for row in some.order_by("pk").select_for_update())
    return rows


def _add(index: str, rows: Mapping[str, IndexedObject], late: list[str]) -> None:
    """Write rows that are new; one that another has written meanwhile is left to it."""
    new = [row for row in rows.values() if row._state.adding]
    if not new:
        return
    IndexedObject.objects.using(primary()).bulk_create(new, ignore_conflicts=True)
    stored = set(objects_of(index).filter(pk__in=[row.pk for row in new]).values_list("pk", flat=True))
    late.extend(row.object_key for row in new if row.pk not in stored)


def _hold(model: str, hashes: Collection[str]) -> set[str]:
    """Which of the passages have a vector, which nobody takes away until the end of the transaction."""
    held: set[str] = set()
    ordered = sorted(hashes)
    for start in range(0, len(ordered), KEYS_AT_ONCE):
        rows = EmbeddingVector.objects.using(primary()).filter(
            owner_key="", model=model, content_hash__in=ordered[start : start + KEYS_AT_ONCE]
        )
        held.update(rows.order_by("pk").select_for_update().values_list("content_hash", flat=True))
    return held


def _replace(rows: Mapping[str, IndexedObject], cuts: Mapping[str, Cut]) -> set[str]:
    """Write the passages of objects; the hashes of those they had."""
    old = IndexedPassage.objects.using(primary()).filter(indexed__in=[rows[key].pk for key in cuts])
    dropped = set(old.values_list("content_hash", flat=True))
    old.delete()
    IndexedPassage.objects.using(primary()).bulk_create(
        [
            IndexedPassage(indexed=rows[key], number=number, content_hash=content_hash)
            for key, cut in cuts.items()
            for number, content_hash in enumerate(cut.passages)
        ],
        batch_size=KEYS_AT_ONCE,
    )
    return dropped


def _settle(rows: Sequence[IndexedObject], cuts: Mapping[str, Cut]) -> None:
    """Note what the rows hold now; an object that changed again meanwhile stays stale."""
    for row in rows:
        cut = cuts[row.object_key]
        row.text_hash, row.error, row.updated_at = cut.text_hash, "", timezone.now()
        if row.stale == cut.stale:
            row.stale = None
    IndexedObject.objects.using(primary()).bulk_update(
        rows, ["text_hash", "error", "stale", "updated_at"], batch_size=KEYS_AT_ONCE
    )


def _fail(index: str, key: str, error: str) -> None:
    rows = objects_of(index).filter(object_key=key)
    if not rows.update(error=error, stale=None, updated_at=timezone.now()):
        IndexedObject.objects.using(primary()).bulk_create(
            [IndexedObject(index=index, object_key=key, error=error)], ignore_conflicts=True
        )


def _forget(index: str, keys: Sequence[str]) -> set[str]:
    """Delete objects and their passages; the hashes of these."""
    dropped: set[str] = set()
    for start in range(0, len(keys), KEYS_AT_ONCE):
        rows = objects_of(index).filter(object_key__in=keys[start : start + KEYS_AT_ONCE])
        passages = IndexedPassage.objects.using(primary()).filter(indexed__in=rows.values("pk"))
        dropped.update(passages.values_list("content_hash", flat=True))
        rows.delete()
    return dropped


def _drop_vectors(hashes: Collection[str]) -> None:
    """Delete vectors that an index has made of texts that are no passage any more, those of all models."""
    ordered = sorted(hashes)
    for start in range(0, len(ordered), KEYS_AT_ONCE):
        some = ordered[start : start + KEYS_AT_ONCE]
        rows = EmbeddingVector.objects.using(primary()).filter(
            owner_key="", content_hash__in=some, metadata=MADE_BY_INDEX
        )
        # Held first and looked at then: who has begun to use one of them meanwhile, is seen.
        held = dict(rows.order_by("pk").select_for_update().values_list("pk", "content_hash"))
        used = IndexedPassage.objects.using(primary()).filter(content_hash__in=some)
        still = set(used.values_list("content_hash", flat=True))
        gone = [pk for pk, content_hash in held.items() if content_hash not in still]
        if gone:
            EmbeddingVector.objects.using(primary()).filter(pk__in=gone).delete()


def drop_orphans() -> int:
    """Delete vectors whose object went while they were made; how many there may have been.

    Those that a batch has made for an index have a week to be taken in.
    """
    used = IndexedPassage.objects.using(primary()).filter(content_hash=OuterRef("content_hash"))
    own = EmbeddingVector.objects.using(primary()).filter(owner_key="")
    own.filter(Exists(used), metadata=MADE_FOR_INDEX).update(metadata=MADE_BY_INDEX)
    late = own.filter(~Exists(used), metadata=MADE_FOR_INDEX, created_at__lt=timezone.now() - KEPT_FOR_INDEX)
    late.update(metadata=MADE_BY_INDEX)
    rows = own.filter(~Exists(used), metadata=MADE_BY_INDEX)
    hashes = list(rows.values_list("content_hash", flat=True))
    with atomic():
        _drop_vectors(hashes)
    return len(hashes)
