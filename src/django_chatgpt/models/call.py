"""One call of a function by the model: asked for, agreed to, made."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.utils.translation import gettext_lazy as _

from django_chatgpt.models.base import TimeOrdered
from django_chatgpt.models.fields import ExactCharField


class CallStatus(models.TextChoices):
    AWAITING_APPROVAL = "awaiting_approval", _("awaiting approval")
    APPROVED = "approved", _("approved")
    DENIED = "denied", _("denied")
    EXPIRED = "expired", _("expired")
    RUNNING = "running", _("running")
    COMPLETED = "completed", _("completed")
    FAILED = "failed", _("failed")
    UNKNOWN = "unknown", _("unknown")


class AIFunctionCall(TimeOrdered):
    """A call, written before it is made, so that one which a dead process had begun is known.

    `arguments` is JSON text as the model wrote it, or as a person has edited it. `fingerprint` is a sha256
    of function, schema and arguments: what is approved is that and nothing else. `unknown`: it was begun,
    and nobody knows whether it took effect; it is never made again.
    """

    Status = CallStatus

    turn = models.ForeignKey(
        "django_chatgpt.AITurn",
        verbose_name=_("turn"),
        on_delete=models.CASCADE,
        related_name="calls",
        db_index=False,
    )
    call_id = ExactCharField(_("call ID"), max_length=200)
    name = ExactCharField(_("function"), max_length=150)
    arguments = models.TextField(_("arguments"), blank=True, default="")
    fingerprint = models.CharField(_("fingerprint"), max_length=64, blank=True, default="")
    status = models.CharField(_("status"), max_length=20, choices=CallStatus.choices)
    error_code = models.CharField(_("error code"), max_length=64, blank=True, default="")
    duration_ms = models.PositiveIntegerField(_("duration (ms)"), null=True, blank=True)
    expires_at = models.DateTimeField(_("expires"), null=True, blank=True)
    decided_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        verbose_name=_("decided by"),
        on_delete=models.SET_NULL,
        null=True,
        blank=True,
        related_name="+",
    )
    decided_at = models.DateTimeField(_("decided"), null=True, blank=True)

    class Meta:
        db_table = "ai_function_call"
        verbose_name = _("AI function call")
        verbose_name_plural = _("AI function calls")
        indexes = [models.Index(fields=["status", "expires_at"], name="ai_function_call_status")]
        constraints = [
            models.UniqueConstraint(fields=["turn", "call_id"], name="ai_function_call_turn_call"),
        ]

    def __str__(self) -> str:
        return f"{self.name} ({self.status})"
