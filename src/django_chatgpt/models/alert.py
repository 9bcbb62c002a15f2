"""Something a person of the site should look at."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from django_chatgpt.models.base import TimeOrdered
from django_chatgpt.models.fields import ExactCharField

if TYPE_CHECKING:
    from typing import Self


class AlertSeverity(models.TextChoices):
    INFO = "info", _("info")
    WARNING = "warning", _("warning")
    ERROR = "error", _("error")
    CRITICAL = "critical", _("critical")


class AIAlertQuerySet(models.QuerySet["AIAlert"]):
    def unresolved(self) -> Self:
        """Alerts nobody has dealt with yet."""
        return self.filter(is_resolved=False)

    def resolve(self, by: Any = None) -> int:
        """Mark the unresolved ones as dealt with, by a user if one is given; answers how many they were."""
        now = timezone.now()
        return self.unresolved().update(is_resolved=True, resolved_at=now, resolved_by=by, updated_at=now)

    def reopen(self) -> int:
        """Mark the resolved ones as not dealt with after all; answers how many they were."""
        nobody: dict[str, Any] = {"resolved_at": None, "resolved_by": None}
        return self.filter(is_resolved=True).update(is_resolved=False, updated_at=timezone.now(), **nobody)


AIAlertManager = models.Manager.from_queryset(AIAlertQuerySet)


class AIAlert(TimeOrdered):
    """An alert, about a user or a conversation where it names one; it outlives both.

    `key` says what the app's own alerts are about and when; being unique, it keeps one thing from being told
    twice. It is NULL where somebody else has written the alert.
    """

    Severity = AlertSeverity

    severity = models.CharField(
        _("severity"), max_length=10, choices=AlertSeverity.choices, default=AlertSeverity.INFO
    )
    title = models.CharField(_("title"), max_length=200)
    key: models.CharField[str | None, str | None] = ExactCharField(  # type: ignore[assignment,misc]
        _("key"), max_length=255, null=True, blank=True, unique=True, editable=False
    )
    description = models.TextField(_("description"), blank=True, default="")
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        verbose_name=_("user"),
        on_delete=models.SET_NULL,
        null=True,
        blank=True,
        related_name="ai_alerts",
    )
    conversation = models.ForeignKey(
        "django_chatgpt.AIConversation",
        verbose_name=_("conversation"),
        on_delete=models.SET_NULL,
        null=True,
        blank=True,
        related_name="alerts",
    )
    is_resolved = models.BooleanField(_("resolved"), default=False)
    resolved_at = models.DateTimeField(_("resolved at"), null=True, blank=True, editable=False)
    resolved_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        verbose_name=_("resolved by"),
        on_delete=models.SET_NULL,
        null=True,
        blank=True,
        editable=False,
        related_name="resolved_ai_alerts",
    )
    metadata = models.JSONField(_("metadata"), default=dict, blank=True)

    objects = AIAlertManager()

    class Meta:
        db_table = "ai_alert"
        verbose_name = _("AI alert")
        verbose_name_plural = _("AI alerts")
        indexes = (models.Index(fields=["is_resolved", "-created_at"], name="ai_alert_resolved_created"),)

    def __str__(self) -> str:
        return self.title

    def mark(self, *, resolved: bool, by: Any = None) -> None:
        """Set whether it is dealt with, when and by whom, without saving."""
        self.is_resolved = resolved
        self.resolved_at = timezone.now() if resolved else None
        self.resolved_by = by if resolved else None
