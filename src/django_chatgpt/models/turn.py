"""One question and all that answering it took."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import TYPE_CHECKING, Any, ClassVar

from django.conf import settings
from django.db import models
from django.db.models import F, Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from django_chatgpt.models.base import TimeOrdered
from django_chatgpt.models.fields import ExactCharField
from django_chatgpt.models.owner import OWNER_KEY_LENGTH, owner_key_of

if TYPE_CHECKING:
    from typing import Self


class TurnStatus(models.TextChoices):
    QUEUED = "queued", _("queued")
    RUNNING = "running", _("running")
    AWAITING_APPROVAL = "awaiting_approval", _("awaiting approval")
    COMPLETED = "completed", _("completed")
    FAILED = "failed", _("failed")
    CANCELLED = "cancelled", _("cancelled")
    INTERRUPTED = "interrupted", _("interrupted")


ACTIVE = frozenset({TurnStatus.QUEUED, TurnStatus.RUNNING, TurnStatus.AWAITING_APPROVAL})
OVER = frozenset(TurnStatus) - ACTIVE


class AITurnQuerySet(models.QuerySet["AITurn"]):
    def active(self) -> Self:
        """Turns that hold their conversation."""
        return self.filter(status__in=sorted(ACTIVE))

    def expired(self, now: datetime | None = None) -> Self:
        """Active turns whose lease ran out: the process that drove them is gone."""
        return self.active().filter(lease_expires_at__lt=now or timezone.now())


AITurnManager = models.Manager.from_queryset(AITurnQuerySet)


class AITurn(TimeOrdered):
    """A turn, which belongs to the server and not to the connection that asked.

    `active_conversation` is the conversation's id while the turn is active and NULL when it is over.
    Being unique, it lets the database hold one active turn per conversation on every database (MariaDB
    has no partial index). `save()` keeps it in step; a queryset's `update()` of `status` has to set it.

    `idempotency_key` is unique per owner: `owner_key` follows `user` in `save()`, as a NULL, which is the
    site itself, would be unique every time.
    `request_fingerprint` is a sha256 of what was asked: a key used again for something else is a conflict.
    """

    Status = TurnStatus
    ACTIVE: ClassVar[frozenset[TurnStatus]] = ACTIVE
    OVER: ClassVar[frozenset[TurnStatus]] = OVER

    conversation = models.ForeignKey(
        "django_chatgpt.AIConversation",
        verbose_name=_("conversation"),
        on_delete=models.CASCADE,
        related_name="turns",
    )
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        verbose_name=_("user"),
        on_delete=models.CASCADE,
        null=True,
        blank=True,
        related_name="ai_turns",
        db_index=False,
    )
    owner_key = ExactCharField(max_length=OWNER_KEY_LENGTH, blank=True, default="", editable=False)
    status = models.CharField(
        _("status"), max_length=20, choices=TurnStatus.choices, default=TurnStatus.QUEUED
    )
    active_conversation = models.UUIDField(null=True, unique=True, editable=False)
    idempotency_key: models.CharField[str | None, str | None] = ExactCharField(  # type: ignore[assignment,misc]
        _("idempotency key"), max_length=200, null=True, blank=True
    )
    request_fingerprint = models.CharField(_("request fingerprint"), max_length=64, blank=True, default="")
    options = models.JSONField(_("options"), default=dict, blank=True)
    partial_text = models.TextField(
        _("partial text"), blank=True, default="", help_text=_("The answer as far as it had arrived.")
    )
    cancel_requested_at = models.DateTimeField(_("cancel requested"), null=True, blank=True)
    lease_expires_at = models.DateTimeField(_("lease expires"), null=True, blank=True)
    error_code = models.CharField(_("error code"), max_length=64, blank=True, default="")
    error_message = models.TextField(_("error message"), blank=True, default="")
    started_at = models.DateTimeField(_("started"), null=True, blank=True)
    finished_at = models.DateTimeField(_("finished"), null=True, blank=True)

    objects = AITurnManager()

    class Meta:
        db_table = "ai_turn"
        verbose_name = _("AI turn")
        verbose_name_plural = _("AI turns")
        indexes = (
            models.Index(fields=["status", "lease_expires_at"], name="ai_turn_status_lease"),
            models.Index(fields=["user"], name="ai_turn_user"),
        )
        constraints = (
            models.UniqueConstraint(
                fields=["owner_key", "idempotency_key"], name="ai_turn_owner_idempotency_key"
            ),
            models.CheckConstraint(
                name="ai_turn_owner_key",
                # Without a user either: where a user is deleted, MySQL and MariaDB clear the column first.
                condition=Q(user__isnull=True) | ~Q(owner_key=""),
                violation_error_message=_("owner_key: the user's key, where there is a user."),
            ),
            models.CheckConstraint(
                name="ai_turn_active_conversation",
                # "is not null" is said outright, because a comparison with NULL passes a check.
                condition=Q(
                    status__in=sorted(ACTIVE),
                    active_conversation__isnull=False,
                    active_conversation=F("conversation"),
                )
                | Q(status__in=sorted(OVER), active_conversation__isnull=True),
                violation_error_message=_(
                    "active_conversation: the conversation while the turn is active, else empty."
                ),
            ),
        )

    def __str__(self) -> str:
        return f"{self.pk} ({self.status})"

    def save(
        self,
        force_insert: bool | tuple[models.base.ModelBase, ...] = False,
        force_update: bool = False,
        using: str | None = None,
        update_fields: Iterable[str] | None = None,
    ) -> None:
        self.fill_keys()
        if update_fields is not None:
            follows = {"status": "active_conversation", "user": "owner_key", "user_id": "owner_key"}
            names = set(update_fields)
            update_fields = names | {follows[name] for name in names if name in follows}
        super().save(
            force_insert=force_insert, force_update=force_update, using=using, update_fields=update_fields
        )

    def clean_fields(self, exclude: Any = None) -> None:
        self.fill_keys()
        super().clean_fields(exclude=exclude)

    def fill_keys(self) -> None:
        """Set what follows from other columns; for those who write without `save()`."""
        self.active_conversation = self.conversation_id if self.is_active else None
        self.owner_key = owner_key_of(self.user_id)
        self.idempotency_key = self.idempotency_key or None

    @property
    def is_active(self) -> bool:
        """Whether it still holds its conversation."""
        return self.status in ACTIVE
