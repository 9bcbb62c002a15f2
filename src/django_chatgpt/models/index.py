"""What is found by meaning of the site's own objects."""

from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy as _

from django_chatgpt.models.base import TimeOrdered
from django_chatgpt.models.fields import ExactCharField


class IndexedObject(TimeOrdered):
    """An object of the site in one of its indexes.

    `text_hash` is that of the text its passages were cut from, "" before there are any. `stale` is there
    while it may have changed since; each change has another, so that one made meanwhile is not lost.
    `error` is the code of what kept it from being embedded.
    """

    index = ExactCharField(_("index"), max_length=64)
    object_key = ExactCharField(_("object key"), max_length=255)
    text_hash = ExactCharField(_("text hash"), max_length=64, blank=True, default="")
    stale = models.UUIDField(_("stale"), null=True, blank=True)
    error = models.CharField(_("error"), max_length=64, blank=True, default="")

    class Meta:
        db_table = "indexed_object"
        verbose_name = _("indexed object")
        verbose_name_plural = _("indexed objects")
        constraints = (
            models.UniqueConstraint(fields=["index", "object_key"], name="indexed_object_index_key"),
        )
        indexes = (models.Index(fields=["index", "stale"], name="indexed_object_stale"),)

    def __str__(self) -> str:
        return f"{self.index} {self.object_key}"


class IndexedPassage(TimeOrdered):
    """A piece of an object's text. The text and its vectors are the site's rows of EmbeddingVector.

    They are found by `content_hash`, so that the vectors of another model take the place of these as soon as
    OPENAI_EMBEDDING_MODEL names it.
    """

    indexed = models.ForeignKey(
        IndexedObject,
        verbose_name=_("indexed object"),
        on_delete=models.CASCADE,
        related_name="passages",
        db_index=False,
    )
    number = models.PositiveIntegerField(_("number"))
    content_hash = ExactCharField(_("content hash"), max_length=64)

    class Meta:
        db_table = "indexed_passage"
        verbose_name = _("indexed passage")
        verbose_name_plural = _("indexed passages")
        constraints = (models.UniqueConstraint(fields=["indexed", "number"], name="indexed_passage_number"),)
        indexes = (models.Index(fields=["content_hash"], name="indexed_passage_hash"),)

    def __str__(self) -> str:
        return f"{self.number}"
