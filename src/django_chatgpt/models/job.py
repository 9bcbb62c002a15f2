"""Texts that are embedded later, at half price."""

from __future__ import annotations

from typing import Final

from django.conf import settings
from django.db import models
from django.utils.translation import gettext_lazy as _

from django_chatgpt.models.base import TimeOrdered
from django_chatgpt.models.fields import ExactCharField


class JobStatus(models.TextChoices):
    SUBMITTING = "submitting", _("submitting")
    RUNNING = "running", _("running")
    COMPLETED = "completed", _("completed")
    FAILED = "failed", _("failed")
    EXPIRED = "expired", _("expired")
    CANCELLED = "cancelled", _("cancelled")


class EmbeddingJob(TimeOrdered):
    """Texts of one owner on their way through the provider's Batch API; without a user they are the site's.

    `input_file` and `provider_id` are the provider's names for it, "" until they are known. `holder` is who
    brings it on right now, until `held_until`: its process died if that has passed. `total` texts were taken
    in, `done` of them are stored and `failed` are not, once it is over.
    """

    Status = JobStatus
    OPEN: Final = frozenset({JobStatus.SUBMITTING, JobStatus.RUNNING})

    user = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        verbose_name=_("user"),
        on_delete=models.CASCADE,
        null=True,
        blank=True,
        related_name="ai_embedding_jobs",
    )
    model = ExactCharField(_("model"), max_length=200)
    dimensions = models.PositiveIntegerField(_("dimensions"), null=True, blank=True)
    metadata = models.JSONField(_("metadata"), default=dict, blank=True)
    status = models.CharField(
        _("status"), max_length=10, choices=JobStatus.choices, default=JobStatus.SUBMITTING
    )
    input_file = ExactCharField(_("input file"), max_length=200, blank=True, default="")
    provider_id = ExactCharField(_("provider's ID"), max_length=200, blank=True, default="")
    total = models.PositiveIntegerField(_("texts"), default=0)
    done = models.PositiveIntegerField(_("stored"), default=0)
    failed = models.PositiveIntegerField(_("failed"), default=0)
    holder = models.UUIDField(_("holder"), null=True, blank=True)
    held_until = models.DateTimeField(_("held until"), null=True, blank=True)

    class Meta:
        db_table = "embedding_job"
        verbose_name = _("embedding job")
        verbose_name_plural = _("embedding jobs")
        indexes = (models.Index(fields=["status", "id"], name="embedding_job_status"),)

    def __str__(self) -> str:
        return f"{self.model} {self.total} {self.status}"

    @property
    def is_over(self) -> bool:
        """Whether nothing more will come."""
        return self.status not in self.OPEN


class EmbeddingJobText(TimeOrdered):
    """A text of a job that has no vector yet, or, with `error`, that got none."""

    job = models.ForeignKey(
        EmbeddingJob,
        verbose_name=_("job"),
        on_delete=models.CASCADE,
        related_name="texts",
        db_index=False,
    )
    content_hash = ExactCharField(_("content hash"), max_length=64)
    content = models.TextField(_("content"))
    error = models.CharField(_("error"), max_length=64, blank=True, default="")

    class Meta:
        db_table = "embedding_job_text"
        verbose_name = _("text of an embedding job")
        verbose_name_plural = _("texts of embedding jobs")
        constraints = (
            models.UniqueConstraint(fields=["job", "content_hash"], name="embedding_job_text_hash"),
        )

    def __str__(self) -> str:
        return self.content_hash[:12]
