"""What goes with a user, and what stays."""

from typing import TYPE_CHECKING

import pytest

from django_chatgpt.models import AIConversation, AIMessage, AITurn, AIUsage, EmbeddingVector
from tests.models import rows

if TYPE_CHECKING:
    from django.contrib.auth.models import User

pytestmark = pytest.mark.django_db


def everything_of(user: "User") -> AIConversation:
    talk = rows.conversation(user=user)
    turn = rows.turn(talk, user=user)
    for sequence in (1, 2):
        rows.message(talk, sequence, turn=turn)
    rows.usage(user=user, conversation=talk, turn=turn)
    rows.embedding(user=user)
    return talk


def counted() -> tuple[int, ...]:
    return tuple(
        model.objects.count() for model in (AIConversation, AITurn, AIMessage, EmbeddingVector, AIUsage)
    )


def test_a_user_takes_what_they_wrote_and_leaves_the_ledger(user: "User", other_user: "User") -> None:
    everything_of(user)
    kept = everything_of(other_user)
    rows.embedding(user=None)
    user.delete()
    assert counted() == (1, 1, 2, 2, 2)
    assert AIConversation.objects.get() == kept
    assert set(EmbeddingVector.objects.values_list("user", flat=True)) == {other_user.pk, None}


def test_a_conversation_takes_its_turns_and_messages_and_leaves_the_ledger(user: "User") -> None:
    everything_of(user).delete()
    assert counted() == (0, 0, 0, 1, 1)
    assert AIUsage.objects.get().user == user
