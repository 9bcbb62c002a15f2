"""The queries that are really made find their index."""

import pytest
from django.db.models import QuerySet
from django.utils import timezone

from django_chatgpt.core.ids import uuid7
from django_chatgpt.models import AIConversation, AIMessage, AITurn, AIUsage, EmbeddingVector

pytestmark = [pytest.mark.django_db, pytest.mark.sqlite_only]


def queries() -> dict[str, tuple[QuerySet, str]]:
    now, key = timezone.now(), uuid7()
    return {
        "the user's conversations, newest first": (
            AIConversation.objects.filter(user=1).newest_first(),
            "ai_conversation_user_newest",
        ),
        "the user's active conversations, newest first": (
            AIConversation.active.filter(user=1).newest_first(),
            "ai_conversation_user_newest",
        ),
        "conversations not used for long": (
            AIConversation.objects.filter(updated_at__lt=now).order_by("updated_at"),
            "ai_conversation_updated",
        ),
        "a transcript": (AIMessage.objects.filter(conversation=key), "(conversation_id=?)"),
        "the latest messages": (
            AIMessage.objects.filter(conversation=key).order_by("-sequence"),
            "(conversation_id=?)",
        ),
        "the active turn": (AITurn.objects.filter(active_conversation=key), "(active_conversation=?)"),
        "the turn of a key": (
            AITurn.objects.filter(owner_key="1", idempotency_key="k"),
            "(owner_key=? AND idempotency_key=?)",
        ),
        "a user's turns": (AITurn.objects.filter(user=1), "(user_id=?)"),
        "turns whose lease ran out": (AITurn.objects.expired(), "ai_turn_status_lease"),
        "what a user has used": (
            AIUsage.objects.filter(user=1, timestamp__gte=now).order_by("timestamp"),
            "ai_usage_user_timestamp",
        ),
        "attempts nobody settled": (
            AIUsage.objects.filter(outcome="running", turn=None, timestamp__lt=now),
            "ai_usage_outcome_timestamp (outcome=? AND timestamp<?)",
        ),
        "the attempts of a turn": (AIUsage.objects.filter(turn=key), "(turn_id=?)"),
        "what was used": (
            AIUsage.objects.filter(timestamp__gte=now).order_by("timestamp"),
            "ai_usage_timestamp",
        ),
        "what a model was used for": (
            AIUsage.objects.filter(model="m", timestamp__gte=now).order_by("timestamp"),
            "ai_usage_model_timestamp",
        ),
        "a stored text": (
            EmbeddingVector.objects.of_owner(1).filter(model="m", dimensions=3, content_hash="0"),
            "(owner_key=? AND model=? AND dimensions=? AND content_hash=?)",
        ),
        "a user's vectors of a model": (
            EmbeddingVector.objects.of_owner(1).filter(model="m", dimensions=3),
            "(owner_key=? AND model=? AND dimensions=?)",
        ),
    }


@pytest.mark.parametrize("name", queries())
def test_a_query_uses_its_index_and_sorts_nothing(name: str) -> None:
    query, index = queries()[name]
    plan = query.explain()
    assert "USING INDEX" in plan
    assert index in plan
    assert "TEMP B-TREE" not in plan
