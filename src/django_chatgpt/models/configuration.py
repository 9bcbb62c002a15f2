"""A named way of asking a model."""

from __future__ import annotations

from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from django_chatgpt.models.base import TimeOrdered
from django_chatgpt.models.fields import ExactCharField


class ActiveConfigurationManager(models.Manager["AIConfiguration"]):
    """The configurations that are switched on."""

    def get_queryset(self) -> models.QuerySet[AIConfiguration]:
        return super().get_queryset().filter(is_active=True)


class AIConfiguration(TimeOrdered):
    """A model with its parameters and system prompt; a parameter that is NULL is not sent.

    A blank `model` means the site's default model.
    """

    name = ExactCharField(_("name"), max_length=150, unique=True)
    model = models.CharField(
        _("model"), max_length=200, blank=True, default="", help_text=_("Blank: the site's default model.")
    )
    temperature = models.FloatField(
        _("temperature"),
        null=True,
        blank=True,
        validators=[MinValueValidator(0.0), MaxValueValidator(2.0)],
        help_text=_("0 to 2. Blank: not sent."),
    )
    max_tokens = models.PositiveIntegerField(
        _("maximum tokens"),
        null=True,
        blank=True,
        validators=[MinValueValidator(1)],
        help_text=_("Cap on the output of one reply, at least 1. Blank: the site's cap."),
    )
    top_p = models.FloatField(
        _("top p"),
        null=True,
        blank=True,
        validators=[MinValueValidator(0.0), MaxValueValidator(1.0)],
        help_text=_("0 to 1. Blank: not sent."),
    )
    frequency_penalty = models.FloatField(
        _("frequency penalty"),
        null=True,
        blank=True,
        validators=[MinValueValidator(-2.0), MaxValueValidator(2.0)],
        help_text=_("-2 to 2. Blank: not sent."),
    )
    presence_penalty = models.FloatField(
        _("presence penalty"),
        null=True,
        blank=True,
        validators=[MinValueValidator(-2.0), MaxValueValidator(2.0)],
        help_text=_("-2 to 2. Blank: not sent."),
    )
    system_prompt = models.TextField(_("system prompt"), blank=True, default="")
    is_active = models.BooleanField(_("active"), default=True)
    metadata = models.JSONField(_("metadata"), default=dict, blank=True)

    objects = models.Manager["AIConfiguration"]()
    active = ActiveConfigurationManager()

    class Meta:
        db_table = "ai_configuration"
        verbose_name = _("AI configuration")
        verbose_name_plural = _("AI configurations")
        constraints = (
            models.CheckConstraint(
                name="ai_configuration_temperature",
                condition=Q(temperature__isnull=True) | Q(temperature__gte=0.0, temperature__lte=2.0),
                violation_error_message=_("temperature: 0 to 2."),
            ),
            models.CheckConstraint(
                name="ai_configuration_max_tokens",
                condition=Q(max_tokens__isnull=True) | Q(max_tokens__gte=1),
                violation_error_message=_("max_tokens: at least 1."),
            ),
            models.CheckConstraint(
                name="ai_configuration_top_p",
                condition=Q(top_p__isnull=True) | Q(top_p__gte=0.0, top_p__lte=1.0),
                violation_error_message=_("top_p: 0 to 1."),
            ),
            models.CheckConstraint(
                name="ai_configuration_frequency_penalty",
                condition=Q(frequency_penalty__isnull=True)
                | Q(frequency_penalty__gte=-2.0, frequency_penalty__lte=2.0),
                violation_error_message=_("frequency_penalty: -2 to 2."),
            ),
            models.CheckConstraint(
                name="ai_configuration_presence_penalty",
                condition=Q(presence_penalty__isnull=True)
                | Q(presence_penalty__gte=-2.0, presence_penalty__lte=2.0),
                violation_error_message=_("presence_penalty: -2 to 2."),
            ),
        )

    def __str__(self) -> str:
        return self.name
