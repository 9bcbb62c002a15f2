"""What was shown of a turn, for whoever comes later or from elsewhere."""

from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy as _

from django_chatgpt.models.base import TimeOrdered


class AITurnEvent(TimeOrdered):
    """Consecutive events of a turn, those numbered `first` to `last`, written in one go.

    `data` is JSON text as `core.log` writes it. Rows may overlap, where a write was made twice because
    nobody heard that it had been made; what has the same number is the same.
    """

    turn = models.ForeignKey(
        "django_chatgpt.AITurn",
        verbose_name=_("turn"),
        on_delete=models.CASCADE,
        related_name="events",
        db_index=False,
    )
    first = models.PositiveBigIntegerField(_("first number"))
    last = models.PositiveBigIntegerField(_("last number"))
    data = models.TextField(_("events"))

    class Meta:
        db_table = "ai_turn_event"
        verbose_name = _("AI turn event")
        verbose_name_plural = _("AI turn events")
        indexes = [models.Index(fields=["turn", "last"], name="ai_turn_event_turn_last")]

    def __str__(self) -> str:
        return f"{self.turn_id} {self.first}-{self.last}"
