"""Who is embedding a text right now."""

from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy as _

from django_chatgpt.models.base import TimeOrdered
from django_chatgpt.models.fields import ExactCharField


class EmbeddingClaim(TimeOrdered):
    """A text that somebody has begun to have embedded, so that nobody pays for it a second time.

    `key` is a sha256 of owner, model, dimensions and text; `holder` is one run of the service. The row goes
    in the transaction that stores the vector. After `expires_at` anybody may take it: its process died.
    """

    key = ExactCharField(_("key"), max_length=64, unique=True)
    holder = models.UUIDField(_("holder"), db_index=True)
    expires_at = models.DateTimeField(_("expires"))

    class Meta:
        db_table = "embedding_claim"
        verbose_name = _("embedding claim")
        verbose_name_plural = _("embedding claims")
        indexes = [models.Index(fields=["expires_at"], name="embedding_claim_expires_at")]

    def __str__(self) -> str:
        return self.key[:12]
