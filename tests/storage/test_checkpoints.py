"""Checkpoints of many turns in one go, on each database."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from django_chatgpt.core.events import Content, Done
from django_chatgpt.core.ids import uuid7
from django_chatgpt.core.log import Piece
from django_chatgpt.models import AIConversation, AITurn
from django_chatgpt.storage import events
from django_chatgpt.storage.turns import checkpoint_all

pytestmark = pytest.mark.django_db

LEASE = timedelta(seconds=30)


def running() -> AITurn:
    return AITurn.objects.create(conversation=AIConversation.objects.create(), status="running")


def test_each_turn_gets_its_own_text_and_a_new_lease() -> None:
    turns = [running() for _ in range(5)]
    before = timezone.now()
    with CaptureQueriesContext(connection) as queries:
        stops = checkpoint_all(
            {turn.pk: (f"text {n} \x00é", LEASE) for n, turn in enumerate(turns)},
            {turn.pk: Piece((Content(content=f"text {n}", seq=1),)) for n, turn in enumerate(turns)},
        )
    assert stops == {}
    assert len(queries) == 5, "a transaction of three"
    for number, turn in enumerate(turns):
        assert events.after(turn.pk, 0, 5) == [(1, f'[["content",["text {number}"]]]')]
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
    pieces = dict.fromkeys(texts, Piece((Done(seq=1),)))
    assert checkpoint_all(texts, pieces) == {wanted.pk: "cancelled", over.pk: "lost", gone: "lost"}
    assert [bool(events.after(turn.pk, 0, 5)) for turn in (fine, wanted, over)] == [True, True, False]
    over.refresh_from_db()
    assert over.partial_text == "", "a turn that is over is left alone"
