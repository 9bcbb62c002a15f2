"""What every table of this app has."""

from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy as _

from django_chatgpt.core.ids import uuid7


class TimeOrdered(models.Model):
    """A row whose key sorts by creation.

    `updated_at` follows `save()` only: a queryset's `update()` has to set it.
    """

    id = models.UUIDField(_("ID"), primary_key=True, default=uuid7, editable=False)
    created_at = models.DateTimeField(_("created"), auto_now_add=True)
    updated_at = models.DateTimeField(_("updated"), auto_now=True)

    class Meta:
        abstract = True

    def __repr__(self) -> str:
        """Show the key alone: reprs end up in logs, and what people write must not."""
        return f"<{type(self).__name__}: {self.pk}>"
