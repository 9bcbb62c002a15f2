"""Checkpoints of many turns in one go, on each database."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from django_chatgpt.core.ids import uuid7
from django_chatgpt.models import AIConversation, AITurn
from django_chatgpt.storage.turns import checkpoint_all

pytestmark = pytest.mark.django_db

LEASE = timedelta(seconds=30)


def running() -> AITurn:
    return AITurn.objects.create(conversation=AIConversation.objects.create(), status="running")


def test_each_turn_gets_its_own_text_and_a_new_lease() -> None:
    turns = [running() for _ in range(5)]
    before = timezone.now()
    with CaptureQueriesContext(connection) as queries:
        stops = checkpoint_all({turn.pk: (f"text {n} \x00é", LEASE) for n, turn in enumerate(turns)})
    assert stops == {}
    assert len(queries) == 2
    for number, turn in enumerate(turns):
        turn.refresh_from_db()
        assert turn.partial_text == f"text {number} é"
        assert turn.lease_expires_at is not None
        assert turn.lease_expires_at > before + LEASE - timedelta(seconds=1)


def test_who_has_to_stop_is_told() -> None:
    fine, wanted, over = running(), running(), running()
    AITurn.objects.filter(pk=wanted.pk).update(cancel_requested_at=timezone.now())
    over.status = "completed"
    over.save()
    gone = uuid7()
    texts = dict.fromkeys((fine.pk, wanted.pk, over.pk, gone), ("x", LEASE))
    assert checkpoint_all(texts) == {wanted.pk: "cancelled", over.pk: "lost", gone: "lost"}
    over.refresh_from_db()
    assert over.partial_text == "", "a turn that is over is left alone"
