"""A row of each table, with what it hangs on, and where its pages are."""

from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from django.urls import reverse
from django.utils import timezone

from django_chatgpt.core.ids import uuid7
from django_chatgpt.models import (
    AIAlert,
    AIBudget,
    AIConfiguration,
    AIConversation,
    AIFunction,
    AIFunctionCall,
    AIFunctionJob,
    AIMessage,
    AITurn,
    AITurnEvent,
    AIUsage,
    EmbeddingChange,
    EmbeddingClaim,
    EmbeddingJob,
    EmbeddingJobText,
    EmbeddingScope,
    EmbeddingVector,
    IndexedObject,
    IndexedPassage,
)
from tests.models import rows

if TYPE_CHECKING:
    from django.contrib.auth.models import User
    from django.db.models import Model


def make_conversation(user: "User", number: int) -> AIConversation:
    configuration = AIConfiguration.objects.create(name=f"configuration of {user.pk} {number}")
    talk = rows.conversation(user=user, configuration=configuration, title=f"Talk {number}")
    rows.message(talk)
    return talk


def make_turn(user: "User", number: int) -> AITurn:
    return rows.turn(
        rows.conversation(user=user, title=f"Talk {number}"), user=user, idempotency_key=str(number)
    )


def make_event(user: "User", number: int) -> AITurnEvent:
    return AITurnEvent.objects.create(turn=make_turn(user, number), first=1, last=1, data='[["start",{}]]')


def make_message(user: "User", number: int) -> AIMessage:
    turn = make_turn(user, number)
    return rows.message(turn.conversation, turn=turn, content=f"<b>Message {number}</b>")


def make_usage(user: "User", number: int) -> AIUsage:
    turn = make_turn(user, number)
    return rows.usage(
        user=user, turn=turn, conversation=turn.conversation, estimated_cost=Decimal("0.0000001")
    )


def make_call(user: "User", number: int) -> AIFunctionCall:
    return AIFunctionCall.objects.create(
        turn=make_turn(user, number),
        call_id=f"call_{number}",
        name="pay",
        arguments='{"note": "<b>Message</b>"}',
        status=AIFunctionCall.Status.AWAITING_APPROVAL,
        expires_at=timezone.now() + timedelta(hours=1),
        decided_by=user,
    )


def make_alert(user: "User", number: int) -> AIAlert:
    talk = rows.conversation(user=user)
    return AIAlert.objects.create(title=f"Alert {number}", user=user, conversation=talk)


def make_scope(user: "User", number: int) -> EmbeddingScope:
    return EmbeddingScope.objects.create(
        user=user, owner_key=str(user.pk), model=f"m{number}", dimensions=number, version=number
    )


def make_indexed(user: "User", number: int) -> IndexedObject:
    return IndexedObject.objects.create(index="articles", object_key=f"{user.pk} {number}")


def make_job(user: "User", number: int) -> EmbeddingJob:
    return EmbeddingJob.objects.create(user=user, model=f"m{number}", total=number)


MAKERS: dict["type[Model]", Callable[["User", int], "Model"]] = {
    AIConfiguration: lambda user, number: AIConfiguration.objects.create(name=f"{user.pk} {number}"),
    AIConversation: make_conversation,
    AITurn: make_turn,
    AIMessage: make_message,
    AIUsage: make_usage,
    AIFunction: lambda user, number: AIFunction.objects.create(
        name=f"f_{user.pk}_{number}", implementation="site.ai_functions.f", usage_count=4, success_count=3
    ),
    AIFunctionCall: make_call,
    AIFunctionJob: lambda user, number: AIFunctionJob.objects.create(
        user=user, name=f"f{number}", arguments='{"note": "<b>Message</b>"}', result="<b>Message</b>"
    ),
    AITurnEvent: make_event,
    EmbeddingClaim: lambda user, number: EmbeddingClaim.objects.create(
        key=f"{user.pk} {number}", holder=uuid7(), expires_at=timezone.now()
    ),
    EmbeddingVector: lambda user, number: rows.embedding(user=user, content=f"Text {number}"),
    EmbeddingScope: make_scope,
    EmbeddingJob: make_job,
    EmbeddingJobText: lambda user, number: EmbeddingJobText.objects.create(
        job=make_job(user, number), content_hash="0" * 64, content=f"Text {number}"
    ),
    EmbeddingChange: lambda user, number: EmbeddingChange.objects.create(
        scope=make_scope(user, number), version=number
    ),
    IndexedObject: make_indexed,
    IndexedPassage: lambda user, number: IndexedPassage.objects.create(
        indexed=make_indexed(user, number), number=number, content_hash="0" * 64
    ),
    AIAlert: make_alert,
    AIBudget: lambda user, number: AIBudget.objects.create(
        key=f"user:{user.pk}:day:{number}", starts_at=timezone.now(), settled_before=timezone.now()
    ),
}
ADDED_BY_HAND = {AIConfiguration, AIConversation, AIAlert}
CHANGED_BY_HAND = {*ADDED_BY_HAND, AIFunction}
DELETED_BY_HAND = set(MAKERS) - {AIUsage}


def address(model: "type[Model]", page: str, *args: Any) -> str:
    return reverse(f"admin:django_chatgpt_{model._meta.model_name}_{page}", args=args)
