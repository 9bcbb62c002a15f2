"""The ledger of what was asked of providers."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from django_chatgpt.models.base import TimeOrdered
from django_chatgpt.models.fields import MONEY_DIGITS, MONEY_PLACES, ExactCharField


class UsageKind(models.TextChoices):
    CHAT = "chat", _("chat")
    EMBEDDING = "embedding", _("embedding")
    MODERATION = "moderation", _("moderation")


class UsageSource(models.TextChoices):
    PROVIDER = "provider", _("provider")
    ESTIMATED = "estimated", _("estimated")
    UNKNOWN = "unknown", _("unknown")


class UsageOutcome(models.TextChoices):
    RUNNING = "running", _("running")
    COMPLETED = "completed", _("completed")
    FAILED = "failed", _("failed")
    CANCELLED = "cancelled", _("cancelled")
    INTERRUPTED = "interrupted", _("interrupted")


class AIUsage(TimeOrdered):
    """One attempt at a provider; outcome `running` is an attempt in the air.

    Rows outlive the user, conversation and turn they name. `cached_tokens` and `cache_write_tokens` are
    contained in `prompt_tokens`, `reasoning_tokens` in `completion_tokens`. `estimated_cost` is in USD,
    NULL where the price or the usage is not known; never 0 for unknown. `price_source` says whose price
    was taken ("settings", "genai-prices 0.2.3") and `priced_at` when. `usage_source` says who counted the
    tokens.

    `reserved_cost` is what the attempt, and what its turn may still do after it, can cost at most: held in
    the budgets until it is NULL again. `reserved_until` is when a reservation is released that nobody
    settles. `budget_groups` are the ids of the groups with a budget that the user was in: ",3,17,".
    """

    Kind = UsageKind
    Source = UsageSource
    Outcome = UsageOutcome

    user = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        verbose_name=_("user"),
        on_delete=models.SET_NULL,
        null=True,
        blank=True,
        related_name="ai_usage",
        db_index=False,
    )
    conversation = models.ForeignKey(
        "django_chatgpt.AIConversation",
        verbose_name=_("conversation"),
        on_delete=models.SET_NULL,
        null=True,
        blank=True,
        related_name="usage",
    )
    turn = models.ForeignKey(
        "django_chatgpt.AITurn",
        verbose_name=_("turn"),
        on_delete=models.SET_NULL,
        null=True,
        blank=True,
        related_name="usage",
    )
    kind = models.CharField(_("kind"), max_length=12, choices=UsageKind.choices, default=UsageKind.CHAT)
    model = ExactCharField(_("model"), max_length=200)
    prompt_tokens = models.PositiveIntegerField(_("prompt tokens"), default=0)
    completion_tokens = models.PositiveIntegerField(_("completion tokens"), default=0)
    total_tokens = models.PositiveIntegerField(_("total tokens"), default=0)
    cached_tokens = models.PositiveIntegerField(_("cached tokens"), default=0)
    cache_write_tokens = models.PositiveIntegerField(_("cache write tokens"), default=0)
    reasoning_tokens = models.PositiveIntegerField(_("reasoning tokens"), default=0)
    service_tier = models.CharField(_("service tier"), max_length=40, blank=True, default="")
    estimated_cost = models.DecimalField(
        _("estimated cost"),
        max_digits=MONEY_DIGITS,
        decimal_places=MONEY_PLACES,
        null=True,
        blank=True,
        help_text=_("USD. Blank: unknown."),
    )
    price_source = models.CharField(_("price source"), max_length=100, blank=True, default="")
    priced_at = models.DateTimeField(_("priced at"), null=True, blank=True)
    reserved_cost = models.DecimalField(
        _("reserved cost"),
        max_digits=MONEY_DIGITS,
        decimal_places=MONEY_PLACES,
        null=True,
        blank=True,
        help_text=_("USD. Blank: nothing is reserved."),
    )
    reserved_until = models.DateTimeField(_("reserved until"), null=True, blank=True)
    budget_groups = models.TextField(_("groups with a budget"), blank=True, default="")
    usage_source = models.CharField(
        _("usage source"), max_length=10, choices=UsageSource.choices, default=UsageSource.UNKNOWN
    )
    outcome = models.CharField(
        _("outcome"), max_length=12, choices=UsageOutcome.choices, default=UsageOutcome.RUNNING
    )
    error_code = models.CharField(_("error code"), max_length=64, blank=True, default="")
    request_id = models.CharField(_("request ID"), max_length=200, blank=True, default="")
    latency_ms = models.PositiveIntegerField(_("latency (ms)"), null=True, blank=True)
    time_to_first_token_ms = models.PositiveIntegerField(_("time to first token (ms)"), null=True, blank=True)
    timestamp = models.DateTimeField(_("time"), default=timezone.now)
    metadata = models.JSONField(_("metadata"), default=dict, blank=True)

    class Meta:
        db_table = "ai_usage"
        verbose_name = _("AI usage")
        verbose_name_plural = _("AI usage")
        indexes = (
            models.Index(fields=["user", "timestamp"], name="ai_usage_user_timestamp"),
            models.Index(fields=["model", "timestamp"], name="ai_usage_model_timestamp"),
            models.Index(fields=["outcome", "timestamp"], name="ai_usage_outcome_timestamp"),
            models.Index(fields=["timestamp"], name="ai_usage_timestamp"),
            models.Index(fields=["reserved_until"], name="ai_usage_reserved_until"),
        )
        constraints = (
            models.CheckConstraint(
                name="ai_usage_estimated_cost",
                condition=Q(estimated_cost__isnull=True) | Q(estimated_cost__gte=0),
                violation_error_message=_("estimated_cost: 0 or more, or empty where unknown."),
            ),
        )

    def __str__(self) -> str:
        return f"{self.kind} {self.model} ({self.outcome})"
