"""Statements kept ready: they write and read what Django's own would."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from django.db import IntegrityError, transaction
from django.utils import timezone

from django_chatgpt.models import AIConversation, AIMessage, AITurn
from django_chatgpt.storage.statements import find, insert, insert_all, update, update_each

pytestmark = pytest.mark.django_db


def test_a_row_is_read_as_it_was_inserted(user: Any) -> None:
    row = AIConversation(
        user=user, title="Größe — 量", total_cost=Decimal("0.000000000001"), metadata={"a": [1]}
    )
    insert(row)
    assert row._state.adding is False
    read = AIConversation.objects.get(pk=row.pk)
    names = [field.attname for field in AIConversation._meta.concrete_fields]
    assert {name: getattr(read, name) for name in names} == {name: getattr(row, name) for name in names}
    row.title = "Changed"
    row.save()
    assert AIConversation.objects.get().title == "Changed"


def test_a_row_is_inserted_once(user: Any) -> None:
    row = AIConversation(user=user)
    insert(row)
    with pytest.raises(IntegrityError), transaction.atomic():
        insert(row)


def test_constraints_hold(user: Any) -> None:
    conversation = AIConversation.objects.create(user=user)
    insert(AIMessage(conversation=conversation, sequence=1, role="user", content="a"))
    with pytest.raises(IntegrityError), transaction.atomic():
        insert(AIMessage(conversation=conversation, sequence=1, role="user", content="b"))


def test_only_the_rows_that_are_meant_are_changed(user: Any) -> None:
    turns = []
    for status in (AITurn.Status.RUNNING, AITurn.Status.COMPLETED):
        conversation = AIConversation.objects.create(user=user)
        turns.append(AITurn.objects.create(conversation=conversation, user=user, status=status))
    for turn, changed in zip(turns, (1, 0), strict=True):
        now = timezone.now()
        where = {"pk": turn.pk, "status": AITurn.Status.RUNNING, "cancel_requested_at": None}
        assert update(AITurn, where, {"partial_text": "so far", "started_at": now}) == changed
        before = turn.updated_at
        turn.refresh_from_db()
        assert turn.partial_text == ("so far" if changed else "")
        assert (turn.started_at == now, turn.updated_at > before) == (bool(changed), bool(changed))


def test_sums_are_added_by_the_database(user: Any) -> None:
    conversation = AIConversation.objects.create(user=user)
    add = {"total_tokens": 7, "total_cost": Decimal("0.000000000003")}
    for _ in range(3):
        assert update(AIConversation, {"pk": conversation.pk}, {}, add=add) == 1
    conversation.refresh_from_db()
    assert conversation.total_tokens == 21
    assert conversation.total_cost == Decimal("0.000000000009")


def test_a_row_is_found_by_what_it_equals(user: Any, django_user_model: Any) -> None:
    own = AIConversation.objects.create(user=user, title="own")
    sites = AIConversation.objects.create(title="site")
    assert find(AIConversation, {"pk": own.pk, "user_id": user.pk}, "pk", "title", "user_id") == (
        own.pk,
        "own",
        user.pk,
    )
    assert find(AIConversation, {"pk": own.pk, "user_id": None}, "pk") is None
    assert find(AIConversation, {"pk": sites.pk, "user_id": None}, "title") == ("site",)


def test_many_rows_are_written_at_once(user: Any) -> None:
    conversation = AIConversation.objects.create(user=user)
    texts = [f"{n} ä%s" for n in range(3)]
    same = {"conversation_id": conversation.pk, "role": "user"}
    insert_all(AIMessage, [same | {"sequence": n, "content": text} for n, text in enumerate(texts)])
    made = AIMessage(conversation=conversation, sequence=3, role="user", content="3")
    made.save()
    rows = list(AIMessage.objects.order_by("sequence"))
    own = {"id", "created_at", "updated_at", "sequence", "content"}
    names = {field.attname for field in AIMessage._meta.concrete_fields} - own
    for row in rows[:3]:
        assert {name: getattr(row, name) for name in names} == {name: getattr(made, name) for name in names}
        assert conversation.created_at < row.created_at == row.updated_at < made.created_at
    assert len({row.pk for row in rows}) == 4
    before = timezone.now()
    update_each(
        AIMessage,
        [({"pk": row.pk, "sequence": n}, {"content": f"new {n}"}) for n, row in enumerate(rows[:2])],
    )
    kept = AIMessage.objects.filter(conversation=conversation).order_by("sequence")
    assert [message.content for message in kept] == ["new 0", "new 1", "2 ä%s", "3"]
    assert [message.updated_at > before for message in kept] == [True, True, False, False]


def test_nothing_is_written_with_no_statement(django_assert_num_queries: Any) -> None:
    with django_assert_num_queries(0):
        insert_all(AIMessage, [])
        update_each(AIMessage, [])
