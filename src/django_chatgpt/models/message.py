"""One line of a transcript."""

from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy as _

from django_chatgpt.models.base import TimeOrdered
from django_chatgpt.models.fields import MONEY_DIGITS, MONEY_PLACES


class MessageRole(models.TextChoices):
    SYSTEM = "system", _("system")
    USER = "user", _("user")
    ASSISTANT = "assistant", _("assistant")
    TOOL = "tool", _("tool")
    FUNCTION = "function", _("function (old data)")


class MessageStatus(models.TextChoices):
    COMPLETE = "complete", _("complete")
    CANCELLED = "cancelled", _("cancelled")
    INTERRUPTED = "interrupted", _("interrupted")
    FAILED = "failed", _("failed")
    REFUSED = "refused", _("refused")


class AIMessage(TimeOrdered):
    """A message; `sequence` numbers them within their conversation and is their order.

    `tool_calls` are OpenAI's: `[{"id", "type": "function", "function": {"name", "arguments"}}]`, where
    `arguments` is JSON text as the model wrote it. `tool_call_id` names the call a tool's message
    answers. `function_call` and the role `function` are read for old data, and never written.
    `estimated_cost` is in USD, `response_time_ms` in milliseconds; NULL means unknown.
    """

    Role = MessageRole
    Status = MessageStatus

    conversation = models.ForeignKey(
        "django_chatgpt.AIConversation",
        verbose_name=_("conversation"),
        on_delete=models.CASCADE,
        related_name="messages",
        db_index=False,
    )
    turn = models.ForeignKey(
        "django_chatgpt.AITurn",
        verbose_name=_("turn"),
        on_delete=models.SET_NULL,
        null=True,
        blank=True,
        related_name="messages",
    )
    sequence = models.PositiveIntegerField(_("sequence"))
    role = models.CharField(_("role"), max_length=10, choices=MessageRole.choices)
    content = models.TextField(_("content"), blank=True, default="")
    function_call = models.JSONField(_("function call"), null=True, blank=True)
    tool_calls = models.JSONField(_("tool calls"), default=list, blank=True)
    tool_call_id = models.CharField(_("tool call ID"), max_length=200, blank=True, default="")
    status = models.CharField(
        _("status"), max_length=12, choices=MessageStatus.choices, default=MessageStatus.COMPLETE
    )
    token_count = models.PositiveIntegerField(_("tokens"), null=True, blank=True)
    estimated_cost = models.DecimalField(
        _("estimated cost"),
        max_digits=MONEY_DIGITS,
        decimal_places=MONEY_PLACES,
        null=True,
        blank=True,
        help_text=_("USD. Blank: unknown."),
    )
    request_id = models.CharField(_("request ID"), max_length=200, blank=True, default="")
    response_time_ms = models.PositiveIntegerField(_("response time (ms)"), null=True, blank=True)
    metadata = models.JSONField(_("metadata"), default=dict, blank=True)

    class Meta:
        db_table = "ai_message"
        verbose_name = _("AI message")
        verbose_name_plural = _("AI messages")
        ordering = ("conversation_id", "sequence")
        constraints = (
            models.UniqueConstraint(
                fields=["conversation", "sequence"], name="ai_message_conversation_sequence"
            ),
        )

    def __str__(self) -> str:
        return f"{self.sequence}. {self.get_role_display()}"
