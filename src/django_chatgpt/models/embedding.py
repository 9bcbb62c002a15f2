"""A text and where it lies in a model's space."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from hashlib import sha256
from typing import TYPE_CHECKING, Any, TypeAlias
from uuid import UUID

from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import models, router, transaction
from django.db.models import Q
from django.utils.module_loading import import_string
from django.utils.translation import gettext_lazy as _

from django_chatgpt.core.vectors import dimensions_of, pack_vector, unpack_vector
from django_chatgpt.models.base import TimeOrdered
from django_chatgpt.models.embedding_scope import note_change
from django_chatgpt.models.fields import ExactCharField
from django_chatgpt.models.owner import OWNER_KEY_LENGTH, owner_key_of

if TYPE_CHECKING:
    from numpy import float32
    from numpy.typing import ArrayLike, NDArray

#: Where a row lies: its key, user, owner key, model and dimensions.
Place: TypeAlias = tuple[UUID, Any, str, str, int]

#: Columns that others follow.
FOLLOWING = {
    "user": "owner_key",
    "user_id": "owner_key",
    "content": "content_hash",
    "vector": "dimensions",
}

#: Columns that say where a row lies: who changes one changes what a search finds.
PLACE = frozenset({"user", "user_id", "owner_key", "model", "dimensions", "vector"})


def content_hash_of(content: str) -> str:
    """sha256 of the text's UTF-8, as 64 hexadecimal digits."""
    return sha256(content.encode()).hexdigest()


def following(values: Mapping[str, Any]) -> dict[str, Any]:
    """The columns that follow from new values of others, as far as these are plain.

    A row loses its owner only where somebody says so of both columns: without, the database refuses.
    """
    followed: dict[str, Any] = {}
    user = values.get("user_id", values.get("user"))
    if user is not None and not hasattr(user, "resolve_expression"):
        followed["owner_key"] = owner_key_of(getattr(user, "pk", user))
    if isinstance(values.get("content"), str):
        followed["content_hash"] = content_hash_of(values["content"])
    if isinstance(values.get("vector"), bytes | bytearray | memoryview):
        followed["dimensions"] = dimensions_of(values["vector"])
    return followed


def _service(user: Any) -> Any:
    # By name: what is kept is a floor below what is done with it, and this one way leads up.
    return import_string("django_chatgpt.services.EmbeddingService")(user)


def note_rows(using: str, places: Iterable[Place], *, any_row: bool = False) -> None:
    """Note changed rows in their scopes; `any_row`: not these alone."""
    ids: defaultdict[tuple[str, str, int], list[UUID]] = defaultdict(list)
    users: dict[str, Any] = {}
    for pk, user_id, owner_key, model, dimensions in places:
        ids[owner_key, model, dimensions].append(pk)
        users[owner_key] = user_id
    # In one order, so that two writers of the same scopes never wait for each other in a circle.
    for scope in sorted(ids):
        note_change(using, scope, users[scope[0]], None if any_row else ids[scope])


class EmbeddingVectorQuerySet(models.QuerySet["EmbeddingVector"]):
    def bulk_create(
        self, objs: Iterable[EmbeddingVector], *args: Any, **kwargs: Any
    ) -> list[EmbeddingVector]:
        rows = list(objs)
        for row in rows:
            row.fill_keys()
        using = self._db or router.db_for_write(EmbeddingVector)  # type: ignore[attr-defined]
        with transaction.atomic(using=using, savepoint=False):
            made = super().bulk_create(rows, *args, **kwargs)
            # What is there already keeps its key and takes the new values: which key, nobody says.
            note_rows(using, [row.place() for row in rows], any_row=bool(kwargs.get("update_conflicts")))
        return made

    def bulk_update(
        self, objs: Iterable[EmbeddingVector], fields: Iterable[str], batch_size: int | None = None
    ) -> int:
        rows, named = list(objs), set(fields)
        for row in rows:
            row.fill_keys()
        named.update(FOLLOWING[name] for name in named & FOLLOWING.keys())
        return super().bulk_update(rows, sorted(named), batch_size=batch_size)

    def update(self, **kwargs: Any) -> int:
        kwargs = following(kwargs) | kwargs
        if PLACE.isdisjoint(kwargs):
            return super().update(**kwargs)
        using = self._db or router.db_for_write(EmbeddingVector)  # type: ignore[attr-defined]
        with transaction.atomic(using=using, savepoint=False):
            before = list(self.using(using).places())
            changed = super().update(**kwargs)
            after = EmbeddingVector.objects.using(using).filter(pk__in=[place[0] for place in before])
            note_rows(using, {*before, *after.places()})
        return changed

    def delete(self) -> tuple[int, dict[str, int]]:
        using = self._db or router.db_for_write(EmbeddingVector)  # type: ignore[attr-defined]
        with transaction.atomic(using=using, savepoint=False):
            before = list(self.using(using).places())
            deleted = super().delete()
            note_rows(using, before)
        return deleted

    delete.alters_data = True  # type: ignore[attr-defined]
    delete.queryset_only = True  # type: ignore[attr-defined]

    def places(self) -> models.QuerySet[EmbeddingVector, Place]:
        """Keys, users, owner keys, models and dimensions, and nothing of the texts."""
        places: models.QuerySet[EmbeddingVector, Place] = self.order_by().values_list(
            "pk", "user_id", "owner_key", "model", "dimensions"
        )
        return places

    def of_owner(self, user_id: object) -> EmbeddingVectorQuerySet:
        """The rows of one user, or the site's own for None."""
        return self.filter(owner_key=owner_key_of(user_id))


EmbeddingVectorManager = models.Manager.from_queryset(EmbeddingVectorQuerySet)


class EmbeddingVector(TimeOrdered):
    """A text embedded by one model, once for each owner; without a user it is the site's own.

    `vector` is float32, little-endian, of unit length: `dimensions` x 4 bytes; `values` reads and writes
    it as numbers. `owner_key` and `content_hash` follow `user` and `content` in `save()` and
    `bulk_create()`.
    """

    user = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        verbose_name=_("user"),
        on_delete=models.CASCADE,
        null=True,
        blank=True,
        related_name="ai_embeddings",
    )
    owner_key = ExactCharField(max_length=OWNER_KEY_LENGTH, blank=True, default="", editable=False)
    content = models.TextField(_("content"))
    content_hash = ExactCharField(_("content hash"), max_length=64, editable=False)
    model = ExactCharField(_("model"), max_length=200)
    dimensions = models.PositiveIntegerField(_("dimensions"), editable=False)
    vector = models.BinaryField(_("vector"))
    metadata = models.JSONField(_("metadata"), default=dict, blank=True)

    objects = EmbeddingVectorManager()

    class Meta:
        db_table = "embedding_vector"
        verbose_name = _("embedding vector")
        verbose_name_plural = _("embedding vectors")
        constraints = (
            models.UniqueConstraint(
                fields=["owner_key", "model", "dimensions", "content_hash"],
                name="embedding_vector_owner_content",
            ),
            models.CheckConstraint(
                name="embedding_vector_owner_key",
                condition=Q(user__isnull=True, owner_key="") | (Q(user__isnull=False) & ~Q(owner_key="")),
                violation_error_message=_("owner_key: the user's key, or empty without a user."),
            ),
            models.CheckConstraint(
                name="embedding_vector_dimensions",
                condition=Q(dimensions__gte=1),
                violation_error_message=_("dimensions: at least 1."),
            ),
        )

    def __str__(self) -> str:
        return f"{self.model} {self.dimensions} {self.content_hash[:12]}"

    def save(
        self,
        force_insert: bool | tuple[models.base.ModelBase, ...] = False,
        force_update: bool = False,
        using: str | None = None,
        update_fields: Iterable[str] | None = None,
    ) -> None:
        self.fill_keys()
        moved = update_fields is None or not PLACE.isdisjoint(update_fields)
        if update_fields:
            update_fields = {*update_fields, "owner_key", "content_hash", "dimensions"}
        using = using or router.db_for_write(type(self), instance=self)
        with transaction.atomic(using=using, savepoint=False):
            was_there = moved and not self._state.adding
            rows = EmbeddingVector.objects.using(using)
            before = set(rows.filter(pk=self.pk).places()) if was_there else set()
            super().save(
                force_insert=force_insert, force_update=force_update, using=using, update_fields=update_fields
            )
            if moved:
                note_rows(using, {*before, self.place()})

    def delete(self, using: str | None = None, keep_parents: bool = False) -> tuple[int, dict[str, int]]:
        using = using or router.db_for_write(type(self), instance=self)
        place = self.place()
        with transaction.atomic(using=using, savepoint=False):
            deleted = super().delete(using=using, keep_parents=keep_parents)
            note_rows(using, [place])
        return deleted

    def place(self) -> Place:
        """Where this row lies: what `note_rows` takes."""
        return self.pk, self.user_id, self.owner_key, self.model, self.dimensions

    def clean_fields(self, exclude: Any = None) -> None:
        try:
            self.fill_keys()
        except ValueError as error:
            raise ValidationError({"vector": str(error)}) from error
        super().clean_fields(exclude=exclude)

    def fill_keys(self) -> None:
        """Set what follows from other columns. ValueError: `vector` is empty or cut."""
        self.owner_key = owner_key_of(self.user_id)
        self.content_hash = content_hash_of(self.content)
        self.dimensions = dimensions_of(self.vector or b"")

    @classmethod
    def create_from_text(
        cls, text: str, user: Any = None, model: str | None = None, metadata: Mapping[str, Any] | None = None
    ) -> EmbeddingVector:
        """Embed a text and store it; one that is stored already is given as it is, and costs nothing.

        `model` is OPENAI_EMBEDDING_MODEL if None. Raises any AIServiceError.
        """
        row: EmbeddingVector = _service(user).create_embedding(text, model=model, metadata=metadata)
        return row

    @classmethod
    async def acreate_from_text(
        cls, text: str, user: Any = None, model: str | None = None, metadata: Mapping[str, Any] | None = None
    ) -> EmbeddingVector:
        """Like `create_from_text`, in a coroutine."""
        row: EmbeddingVector = await _service(user).acreate_embedding(text, model=model, metadata=metadata)
        return row

    @property
    def values(self) -> NDArray[float32]:
        """The vector as numbers, read-only; what is assigned is brought to unit length."""
        return unpack_vector(self.vector)

    @values.setter
    def values(self, numbers: ArrayLike) -> None:
        self.vector = pack_vector(numbers)
