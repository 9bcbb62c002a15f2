"""What changed among the vectors, so that a process that keeps some of them knows when they are stale."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import connections, models, transaction
from django.db.models import F
from django.utils.translation import gettext_lazy as _

from django_chatgpt.core.ids import uuid7
from django_chatgpt.models.base import TimeOrdered
from django_chatgpt.models.fields import ExactCharField
from django_chatgpt.models.owner import OWNER_KEY_LENGTH

BYTES_PER_ID = 16

#: The most ids in one change: a reader takes it in piece by piece.
IDS_PER_CHANGE = 4096

#: Who is further behind than so many changes reads all vectors again.
CHANGES_KEPT = 512


class EmbeddingScope(TimeOrdered):
    """The vectors that may be compared: of one owner, made by one model, of one length.

    Whoever writes one raises `version` in the same transaction, which also puts writers of one scope into
    the order in which others see them. `head` is the key of the last change: a version that was rolled back
    and given out again has another head.
    """

    user = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        verbose_name=_("user"),
        on_delete=models.CASCADE,
        null=True,
        blank=True,
        related_name="+",
    )
    owner_key = ExactCharField(max_length=OWNER_KEY_LENGTH, blank=True, default="", editable=False)
    model = ExactCharField(_("model"), max_length=200)
    dimensions = models.PositiveIntegerField(_("dimensions"))
    version = models.PositiveBigIntegerField(_("version"), default=0)
    head = models.UUIDField(_("head"), null=True, blank=True)

    class Meta:
        db_table = "embedding_scope"
        verbose_name = _("embedding scope")
        verbose_name_plural = _("embedding scopes")
        constraints = (
            models.UniqueConstraint(
                fields=["owner_key", "model", "dimensions"], name="embedding_scope_owner_model"
            ),
        )

    def __str__(self) -> str:
        return f"{self.model} {self.dimensions} v{self.version}"


class EmbeddingChange(TimeOrdered):
    """Vectors of a scope that were written or deleted; the last `CHANGES_KEPT` are kept.

    `touched` has their keys, 16 bytes each; whether a row is still there, its table says. NULL: any may
    have changed.
    """

    scope = models.ForeignKey(
        EmbeddingScope,
        verbose_name=_("scope"),
        on_delete=models.CASCADE,
        related_name="changes",
        db_index=False,
    )
    version = models.PositiveBigIntegerField(_("version"))
    touched = models.BinaryField(_("touched"), null=True)

    class Meta:
        db_table = "embedding_change"
        verbose_name = _("embedding change")
        verbose_name_plural = _("embedding changes")
        constraints = (
            models.UniqueConstraint(fields=["scope", "version"], name="embedding_change_scope_version"),
        )

    def __str__(self) -> str:
        return f"v{self.version}"


def note_change(using: str, key: tuple[str, str, int], user_id: Any, ids: Collection[UUID] | None) -> None:
    """Write down that vectors of the scope `key` were written or deleted; None: any of them.

    To be called in the transaction that does it; three queries for up to 4,096 ids.
    """
    owner_key, model, dimensions = key
    of_scope = EmbeddingScope.objects.using(using).filter(
        owner_key=owner_key, model=model, dimensions=dimensions
    )
    pieces = pieces_of(ids)
    heads = [uuid7() for _ in pieces]
    raised = {"version": F("version") + len(pieces), "head": heads[-1]}
    with transaction.atomic(using=using, savepoint=False):
        if not of_scope.update(**raised):
            missing = EmbeddingScope(user_id=user_id, owner_key=owner_key, model=model, dimensions=dimensions)
            # What another has made meanwhile is locked for writing at once: MariaDB lets several who ignore a
            # conflict read the row, and then each of them waits for the others to be able to write it.
            target = connections[using].features.supports_update_conflicts_with_target
            EmbeddingScope.objects.using(using).bulk_create(
                [missing],
                update_conflicts=True,
                update_fields=["updated_at"],
                unique_fields=["owner_key", "model", "dimensions"] if target else None,
            )
            of_scope.update(**raised)
        scope_id, version = of_scope.values_list("pk", "version").get()
        first = version - len(pieces) + 1
        EmbeddingChange.objects.using(using).bulk_create(
            EmbeddingChange(pk=head, scope_id=scope_id, version=first + offset, touched=piece)
            for offset, (head, piece) in enumerate(zip(heads, pieces, strict=True))
        )
        # Now and then, so that it costs nearly nothing and what is left over stays bounded.
        if version // CHANGES_KEPT > (first - 1) // CHANGES_KEPT:
            EmbeddingChange.objects.using(using).filter(
                scope_id=scope_id, version__lte=version - CHANGES_KEPT
            ).delete()


def pieces_of(ids: Collection[UUID] | None) -> list[bytes | None]:
    """The keys as bytes, `IDS_PER_CHANGE` at a time; more than is worth following is "any"."""
    if ids is None or len(ids) > IDS_PER_CHANGE * CHANGES_KEPT // 8:
        return [None]
    packed = b"".join(each.bytes for each in ids)
    step = IDS_PER_CHANGE * BYTES_PER_ID
    return [packed[start : start + step] for start in range(0, len(packed), step)] or [b""]
