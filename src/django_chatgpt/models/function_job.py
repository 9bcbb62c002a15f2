"""A call of a function that a person has asked for and a worker makes."""

from __future__ import annotations

from typing import Final

from django.conf import settings
from django.db import models
from django.utils.translation import gettext_lazy as _

from django_chatgpt.models.base import TimeOrdered
from django_chatgpt.models.fields import ExactCharField


class FunctionJobStatus(models.TextChoices):
    QUEUED = "queued", _("queued")
    RUNNING = "running", _("running")
    COMPLETED = "completed", _("completed")
    FAILED = "failed", _("failed")
    UNKNOWN = "unknown", _("unknown")


class AIFunctionJob(TimeOrdered):
    """A call outside any turn, made once; without a user it is the site's own.

    `arguments` is JSON text, and so is `result` once it is completed; where it failed, `result` is what is
    said of that. `held_until`: until when a worker is waited for, and then until when it is answered at the
    latest. `unknown`: it was begun, and nobody knows whether it took effect; it is never made again.
    """

    Status = FunctionJobStatus
    OPEN: Final = frozenset({FunctionJobStatus.QUEUED, FunctionJobStatus.RUNNING})

    user = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        verbose_name=_("user"),
        on_delete=models.CASCADE,
        null=True,
        blank=True,
        related_name="ai_function_jobs",
    )
    name = ExactCharField(_("function"), max_length=150)
    arguments = models.TextField(_("arguments"), blank=True, default="")
    status = models.CharField(
        _("status"), max_length=10, choices=FunctionJobStatus.choices, default=FunctionJobStatus.QUEUED
    )
    result = models.TextField(_("result"), blank=True, default="")
    error_code = models.CharField(_("error code"), max_length=64, blank=True, default="")
    duration_ms = models.PositiveIntegerField(_("duration (ms)"), null=True, blank=True)
    held_until = models.DateTimeField(_("held until"), null=True, blank=True)

    class Meta:
        db_table = "ai_function_job"
        verbose_name = _("AI function job")
        verbose_name_plural = _("AI function jobs")
        indexes = (models.Index(fields=["status", "held_until"], name="ai_function_job_status"),)

    def __str__(self) -> str:
        return f"{self.name} ({self.status})"
