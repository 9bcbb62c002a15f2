"""A text and where it lies in a model's space."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import models
from django.db.models import Q
from django.utils.module_loading import import_string
from django.utils.translation import gettext_lazy as _

from django_chatgpt.core.vectors import dimensions_of, pack_vector, unpack_vector
from django_chatgpt.models.base import TimeOrdered
from django_chatgpt.models.fields import ExactCharField

if TYPE_CHECKING:
    from numpy import float32
    from numpy.typing import ArrayLike, NDArray

OWNER_KEY_LENGTH = 64


def owner_key_of(user_id: object) -> str:
    """Say whose a row is in text that is never NULL: "" is the site.

    A key as long as the column is hashed, so that no two users share one.
    """
    if user_id is None:
        return ""
    key = str(user_id)
    return key if len(key) < OWNER_KEY_LENGTH else sha256(key.encode()).hexdigest()


def content_hash_of(content: str) -> str:
    """sha256 of the text's UTF-8, as 64 hexadecimal digits."""
    return sha256(content.encode()).hexdigest()


def _service(user: Any) -> Any:
    # By name: what is kept is a floor below what is done with it, and this one way leads up.
    return import_string("django_chatgpt.services.EmbeddingService")(user)


class EmbeddingVectorQuerySet(models.QuerySet["EmbeddingVector"]):
    def bulk_create(
        self, objs: Iterable[EmbeddingVector], *args: Any, **kwargs: Any
    ) -> list[EmbeddingVector]:
        rows = list(objs)
        for row in rows:
            row.fill_keys()
        return super().bulk_create(rows, *args, **kwargs)

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
        if update_fields:
            update_fields = {*update_fields, "owner_key", "content_hash", "dimensions"}
        super().save(
            force_insert=force_insert, force_update=force_update, using=using, update_fields=update_fields
        )

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
