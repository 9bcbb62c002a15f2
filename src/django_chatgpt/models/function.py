"""A function of the site, as the model may call it."""

from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy as _

from django_chatgpt.models.base import TimeOrdered
from django_chatgpt.models.fields import ExactCharField


class AIFunction(TimeOrdered):
    """What is known of a registered function; switching it off here refuses it to every model.

    `implementation` is information for people: nothing is ever imported or executed from a row. The
    counters change by `F()` only.
    """

    name = ExactCharField(_("name"), max_length=150, unique=True)
    description = models.TextField(_("description"), blank=True, default="")
    parameters_schema = models.JSONField(_("parameters schema"), default=dict, blank=True)
    implementation = models.CharField(
        _("implementation"),
        max_length=500,
        blank=True,
        default="",
        help_text=_("Dotted path, information only: nothing is imported or executed from it."),
    )
    is_active = models.BooleanField(_("active"), default=True)
    usage_count = models.PositiveBigIntegerField(_("calls"), default=0, editable=False)
    success_count = models.PositiveBigIntegerField(_("successes"), default=0, editable=False)
    error_count = models.PositiveBigIntegerField(_("errors"), default=0, editable=False)
    average_response_time_ms = models.FloatField(
        _("average response time (ms)"), null=True, blank=True, editable=False
    )
    metadata = models.JSONField(_("metadata"), default=dict, blank=True)

    class Meta:
        db_table = "ai_function"
        verbose_name = _("AI function")
        verbose_name_plural = _("AI functions")

    def __str__(self) -> str:
        return self.name

    @property
    def success_rate(self) -> float | None:
        """Per cent of its calls that succeeded; None before the first call."""
        return 100 * self.success_count / self.usage_count if self.usage_count else None
