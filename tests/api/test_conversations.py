"""conversations/ and conversations/<id>/: shapes, pages, changes, deletions."""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext, override_settings
from django.utils import timezone

from django_chatgpt.adapter import Adapter
from django_chatgpt.models import AIConfiguration, AIConversation, AIMessage, AITurn, AIUsage
from django_chatgpt.testing import FakeOpenAI
from tests.api.conftest import Door

pytestmark = pytest.mark.django_db


def make(user: Any, count: int, *, messages: int = 0) -> list[AIConversation]:
    """Conversations, the first the oldest."""
    now = timezone.now()
    made = []
    for number in range(count):
        conversation = AIConversation.objects.create(user=user, title=f"No. {number}")
        AIConversation.objects.filter(pk=conversation.pk).update(updated_at=now + timedelta(seconds=number))
        for sequence in range(1, messages + 1):
            AIMessage.objects.create(
                conversation=conversation, sequence=sequence, role="user", content=f"Said {sequence}"
            )
        made.append(conversation)
    return made


def titles(answer: Any) -> list[str]:
    return [row["title"] for row in answer.json["conversations"]]


class Nobody(Adapter):
    """Lets nobody ask."""

    def may_use(self, user: Any) -> bool:
        return False


def test_who_may_not_ask_begins_none(door: Door) -> None:
    with override_settings(OPENAI_ADAPTER=f"{__name__}.Nobody"):
        answer = door.send("POST", "/ai/conversations/", {"title": "Mine"})
    assert (answer.status, answer.error["code"]) == (403, "permission_denied")
    assert not AIConversation.objects.exists()


def test_an_empty_list(door: Door) -> None:
    assert door.get("/ai/conversations/").json == {
        "conversations": [],
        "pagination": {
            "page": 1,
            "page_size": 20,
            "total_pages": 1,
            "total_count": 0,
            "has_next": False,
            "has_previous": False,
        },
    }


def test_a_row_of_the_list(door: Door, user: Any) -> None:
    configuration = AIConfiguration.objects.create(name="Short", model="gpt-6-luna")
    conversation = AIConversation.objects.create(
        user=user,
        title="Tea",
        configuration=configuration,
        total_tokens=42,
        total_cost=Decimal("0.0000001"),
        metadata={"internal": "note"},
        session_id="internal",
    )
    AIMessage.objects.create(conversation=conversation, sequence=1, role="user", content="Hi")
    (row,) = door.get("/ai/conversations/").json["conversations"]
    for name in ("created_at", "updated_at"):
        assert datetime.fromisoformat(row.pop(name)) - getattr(conversation, name) < timedelta(milliseconds=1)
    assert row == {
        "id": str(conversation.pk),
        "title": "Tea",
        "is_active": True,
        "configuration_id": str(configuration.pk),
        "message_count": 1,
        "total_tokens": 42,
        "total_cost": "0.0000001",
    }


def test_pages_newest_first(door: Door, user: Any) -> None:
    make(user, 5)
    first = door.get("/ai/conversations/?page_size=2")
    assert titles(first) == ["No. 4", "No. 3"]
    assert first.json["pagination"] == {
        "page": 1,
        "page_size": 2,
        "total_pages": 3,
        "total_count": 5,
        "has_next": True,
        "has_previous": False,
    }
    second = door.get("/ai/conversations/?page_size=2&page=2")
    assert titles(second) == ["No. 2", "No. 1"]
    assert (second.json["pagination"]["has_next"], second.json["pagination"]["has_previous"]) == (True, True)
    last = door.get("/ai/conversations/?page_size=2&page=3")
    assert titles(last) == ["No. 0"]
    assert (last.json["pagination"]["has_next"], last.json["pagination"]["has_previous"]) == (False, True)


def test_a_page_behind_the_last(door: Door, user: Any) -> None:
    make(user, 3)
    answer = door.get("/ai/conversations/?page_size=2&page=9")
    assert titles(answer) == []
    assert answer.json["pagination"]["total_count"] == 3
    assert answer.json["pagination"]["has_next"] is False


def test_a_hundred_on_a_page(door: Door, user: Any) -> None:
    make(user, 101)
    answer = door.get("/ai/conversations/?page_size=100")
    assert len(titles(answer)) == 100
    assert answer.json["pagination"]["total_pages"] == 2


def test_what_was_used_last_comes_first(door: Door, fake: FakeOpenAI, user: Any) -> None:
    first = door.ask("First")
    door.ask("Second")
    assert titles(door.get("/ai/conversations/")) == ["Second", "First"]
    door.ask("Again", conversation_id=first.conversation_id)
    assert titles(door.get("/ai/conversations/")) == ["First", "Second"]


def test_no_query_for_each_row(door: Door, user: Any) -> None:
    make(user, 2, messages=2)
    with CaptureQueriesContext(
        connection,
    ) as few:
        door.get("/ai/conversations/")
    make(user, 30, messages=2)
    with CaptureQueriesContext(connection) as many:
        answer = door.get("/ai/conversations/?page_size=100")
    assert {row["message_count"] for row in answer.json["conversations"]} == {2}
    assert len(many) == len(few) <= 4


def test_no_query_for_each_message(door: Door, user: Any) -> None:
    short, long = make(user, 1, messages=1) + make(user, 1, messages=50)
    with CaptureQueriesContext(connection) as few:
        door.get(f"/ai/conversations/{short.pk}/")
    with CaptureQueriesContext(connection) as many:
        answer = door.get(f"/ai/conversations/{long.pk}/")
    assert len(answer.json["messages"]) == 50
    assert len(many) == len(few) <= 5


def test_a_conversation_with_its_messages(door: Door, fake: FakeOpenAI) -> None:
    fake.reply("Hello there")
    turn_id = door.ask("Hi").turn_id
    conversation = AIConversation.objects.get()
    answer = door.get(f"/ai/conversations/{conversation.pk}/").json
    messages = answer.pop("messages")
    assert answer == door.get("/ai/conversations/").json["conversations"][0]
    assert [message.pop("id") for message in messages] == [
        str(message.pk) for message in conversation.messages.order_by("sequence")
    ]
    for message in messages:
        datetime.fromisoformat(message.pop("created_at"))
        assert message.pop("token_count") > 0
    common = {"turn_id": turn_id, "tool_calls": [], "tool_call_id": "", "status": "complete"}
    assert messages == [
        common | {"sequence": 1, "role": "user", "content": "Hi", "cost": None},
        common
        | {
            "sequence": 2,
            "role": "assistant",
            "content": "Hello there",
            "cost": answer["total_cost"],
        },
    ]


def test_beginning_one(door: Door, user: Any) -> None:
    configuration = AIConfiguration.objects.create(name="Short", model="gpt-5.4-mini")
    answer = door.send(
        "POST", "/ai/conversations/", {"title": "Plans", "configuration_id": str(configuration.pk)}
    )
    assert answer.status == 201
    conversation = AIConversation.objects.get()
    assert (conversation.user, conversation.title) == (user, "Plans")
    assert answer.json == door.get("/ai/conversations/").json["conversations"][0]
    assert answer.json["configuration_id"] == str(configuration.pk)
    assert answer.json["message_count"] == 0


def test_asking_in_one_that_was_begun(door: Door, fake: FakeOpenAI) -> None:
    configuration = AIConfiguration.objects.create(name="Short", model="gpt-5.4-mini")
    begun = door.send("POST", "/ai/conversations/", {"configuration_id": str(configuration.pk)}).json
    answer = door.ask("What is tea?", conversation_id=begun["id"])
    assert answer.status == 200
    assert fake.calls[0].model == "gpt-5.4-mini"


def test_beginning_one_with_a_configuration_that_is_not_there(door: Door) -> None:
    old = AIConfiguration.objects.create(name="Old", model="gpt-5.4-mini", is_active=False)
    answer = door.send("POST", "/ai/conversations/", {"configuration_id": str(old.pk)})
    assert answer.status == 404
    assert "configuration_id" in answer.error["message"]
    assert not AIConversation.objects.exists()


@pytest.mark.parametrize(
    "change", [{"title": "New"}, {"title": ""}, {"is_active": False}, {"title": "New", "is_active": False}]
)
def test_changing_one(door: Door, user: Any, change: dict[str, Any]) -> None:
    (conversation,) = make(user, 1, messages=2)
    answer = door.send("PATCH", f"/ai/conversations/{conversation.pk}/", change)
    assert answer.status == 200
    assert {name: answer.json[name] for name in change} == change
    assert answer.json["message_count"] == 2
    conversation.refresh_from_db()
    assert {name: getattr(conversation, name) for name in ("title", "is_active")} == {
        "title": "No. 0",
        "is_active": True,
    } | change


def test_changing_nothing(door: Door, user: Any) -> None:
    (conversation,) = make(user, 1)
    before = AIConversation.objects.values().get()
    assert door.send("PATCH", f"/ai/conversations/{conversation.pk}/", {}).status == 200
    assert AIConversation.objects.values().get() == before


def test_one_that_was_put_away_is_still_ones_own(door: Door, fake: FakeOpenAI, user: Any) -> None:
    (conversation,) = make(user, 1)
    door.send("PATCH", f"/ai/conversations/{conversation.pk}/", {"is_active": False})
    assert door.get(f"/ai/conversations/{conversation.pk}/").json["is_active"] is False
    assert door.ask("Hi", conversation_id=str(conversation.pk)).status == 200


def test_deleting_one(door: Door, fake: FakeOpenAI, user: Any) -> None:
    answer = door.ask("Hi")
    path = f"/ai/conversations/{answer.conversation_id}/"
    (cost,) = AIUsage.objects.values_list("estimated_cost", flat=True)
    deleted = door.send("DELETE", path)
    assert (deleted.status, deleted.body) == (204, b"")
    assert door.get(path).status == 404
    assert door.send("DELETE", path).status == 404
    assert door.send("PATCH", path, {"title": "x"}).status == 404
    assert door.get(f"/ai/turns/{answer.turn_id}/").status == 404
    assert not AIMessage.objects.exists()
    assert not AITurn.objects.exists()
    row = AIUsage.objects.get()
    assert (row.estimated_cost, row.user, row.conversation, row.turn) == (cost, user, None, None)


def test_deleting_one_that_is_busy(door: Door, user: Any) -> None:
    (conversation,) = make(user, 1)
    turn = AITurn.objects.create(
        conversation=conversation,
        user=user,
        status="running",
        lease_expires_at=timezone.now() + timedelta(minutes=1),
    )
    answer = door.send("DELETE", f"/ai/conversations/{conversation.pk}/")
    assert answer.status == 409
    assert (answer.error["code"], answer.error["turn_id"]) == ("turn_running", str(turn.pk))
    assert str(turn.pk) in answer.error["message"]
    assert AIConversation.objects.exists()


def test_deleting_one_whose_turn_died(door: Door, user: Any) -> None:
    (conversation,) = make(user, 1)
    AITurn.objects.create(
        conversation=conversation,
        user=user,
        status="running",
        lease_expires_at=timezone.now() - timedelta(seconds=1),
    )
    assert door.send("DELETE", f"/ai/conversations/{conversation.pk}/").status == 204


def test_a_search_looks_at_titles_and_at_what_was_said(door: Door, fake: FakeOpenAI, user: Any) -> None:
    fake.script("It is a FRUIT.", "It is a tree.")
    door.ask("What is a quince?")
    door.ask("What is a 100% larch?")
    make(user, 1)
    for search, found in {
        "QUINCE": ["What is a quince?"],
        "fruit": ["What is a quince?"],
        "what is": ["What is a 100% larch?", "What is a quince?"],
        "no.": ["No. 0"],
        "0%25": ["What is a 100% larch?"],
        "_": [],
        "%00": ["No. 0", "What is a 100% larch?", "What is a quince?"],
    }.items():
        assert sorted(titles(door.get(f"/ai/conversations/?search={search}"))) == sorted(found), search


def test_a_search_finds_ones_own_only(door: Door, other_door: Door, fake: FakeOpenAI) -> None:
    fake.reply("A secret.")
    door.ask("What is it?")
    assert other_door.get("/ai/conversations/?search=secret").json["pagination"]["total_count"] == 0
    assert door.get(f"/ai/conversations/?search={'x' * 201}").status == 400
