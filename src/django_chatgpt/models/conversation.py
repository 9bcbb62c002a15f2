"""A conversation and how conversations are listed."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

from django.conf import settings
from django.db import models
from django.db.models import Count, IntegerField, OuterRef, Subquery
from django.db.models.functions import Coalesce
from django.utils.translation import gettext_lazy as _

from django_chatgpt.models.base import TimeOrdered
from django_chatgpt.models.fields import MONEY_DIGITS, MONEY_PLACES
from django_chatgpt.models.message import AIMessage

if TYPE_CHECKING:
    from typing import Self


class AIConversationQuerySet(models.QuerySet["AIConversation"]):
    def newest_first(self) -> Self:
        """Order by last use."""
        return self.order_by("-updated_at", "-id")

    def with_message_count(self) -> Self:
        """Count each conversation's messages in this same query, for `message_count`."""
        counts = (
            AIMessage.objects.filter(conversation=OuterRef("pk"))
            .order_by()
            .values("conversation")
            .annotate(number=Count("pk"))
            .values("number")
        )
        return self.annotate(counted_messages=Coalesce(Subquery(counts, output_field=IntegerField()), 0))


AIConversationManager = models.Manager.from_queryset(AIConversationQuerySet)


class ActiveConversationManager(AIConversationManager["AIConversation"]):
    """The conversations that are not archived."""

    def get_queryset(self) -> AIConversationQuerySet:
        conversations: AIConversationQuerySet = super().get_queryset()  # type: ignore[assignment]
        return conversations.filter(is_active=True)


class AIConversation(TimeOrdered):
    """What one user and a model said to each other; without a user it is the site's own.

    `total_tokens` and `total_cost` (USD) are sums over the ledger and change by `F()` only; attempts of
    unknown cost are not in `total_cost`. `updated_at` is the time of last use.
    """

    user = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        verbose_name=_("user"),
        on_delete=models.CASCADE,
        null=True,
        blank=True,
        related_name="ai_conversations",
        db_index=False,
    )
    configuration = models.ForeignKey(
        "django_chatgpt.AIConfiguration",
        verbose_name=_("configuration"),
        on_delete=models.SET_NULL,
        null=True,
        blank=True,
        related_name="conversations",
    )
    title = models.CharField(_("title"), max_length=200, blank=True, default="")
    session_id = models.CharField(_("session ID"), max_length=100, blank=True, default="")
    is_active = models.BooleanField(_("active"), default=True)
    total_tokens = models.PositiveBigIntegerField(_("total tokens"), default=0, editable=False)
    total_cost = models.DecimalField(
        _("total cost"),
        max_digits=MONEY_DIGITS,
        decimal_places=MONEY_PLACES,
        default=Decimal(0),
        editable=False,
        help_text=_("USD."),
    )
    metadata = models.JSONField(_("metadata"), default=dict, blank=True)

    objects = AIConversationManager()
    active = ActiveConversationManager()

    class Meta:
        db_table = "ai_conversation"
        verbose_name = _("AI conversation")
        verbose_name_plural = _("AI conversations")
        indexes = (
            models.Index(fields=["user", "-updated_at", "-id"], name="ai_conversation_user_newest"),
            models.Index(fields=["updated_at"], name="ai_conversation_updated"),
        )

    def __str__(self) -> str:
        return self.title or str(self.pk)

    @property
    def message_count(self) -> int:
        """How many messages it has: one query, none after `with_message_count()`."""
        counted: int | None = self.__dict__.get("counted_messages")
        return self.messages.count() if counted is None else counted
