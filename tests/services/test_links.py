"""Sources of answers as links: for those who may find them, and only where the site says where they are."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.auth.models import Group

from django_chatgpt.indexes import Index, index_registry
from django_chatgpt.models import AIConversation, AIMessage, AITurn
from django_chatgpt.services.freshness import unwatch
from django_chatgpt.services.links import Link, links_of

pytestmark = [pytest.mark.django_db, pytest.mark.sqlite_only]


@pytest.fixture
def index() -> Iterator[Index]:
    index = Index("groups", Group, fields=["name"], background=False)
    index_registry.register(index)
    yield index
    unwatch(index)
    index_registry.unregister("groups")


@pytest.fixture
def turn(user: Any) -> AITurn:
    conversation = AIConversation.objects.create(user=user)
    return AITurn.objects.create(conversation=conversation, user=user, status="completed")


def given(*keys: Any, index: str = "groups") -> dict[str, Any]:
    sources = [
        {
            "number": number,
            "index": index,
            "object_key": str(key),
            "chunk": 0,
            "similarity": 0.9,
            "text_hash": "0",
        }
        for number, key in enumerate(keys, 1)
    ]
    return {"sources": sources}


def told(turn: AITurn, value: Any) -> AIMessage:
    content = value if isinstance(value, str) else json.dumps(value)
    return AIMessage(turn=turn, role="tool", content=content, sequence=1)


def test_what_a_question_went_with(index: Index, turn: AITurn, user: Any, monkeypatch: Any) -> None:
    first, second = Group.objects.create(name="First"), Group.objects.create(name="Second")
    monkeypatch.setattr(Group, "get_absolute_url", lambda group: f"/groups/{group.pk}/", raising=False)
    turn.options = given(second.pk, first.pk, second.pk, 999)
    assert links_of(user, [turn], []) == {
        turn.pk: [
            Link("groups", "Second", f"/groups/{second.pk}/", 1),
            Link("groups", "First", f"/groups/{first.pk}/", 2),
        ]
    }


def test_what_the_model_found_itself(index: Index, turn: AITurn, user: Any) -> None:
    group = Group.objects.create(name="First")
    found = {"passages": [{"citation": f"groups/{group.pk}#3", "title": "Made up"}]}
    assert links_of(user, [turn], [told(turn, found)]) == {turn.pk: [Link("groups", "First")]}


@pytest.mark.parametrize(
    "content",
    [
        '"citation"',
        '{"citation": ',
        {"citation": "groups/1#0"},
        {"passages": "citation"},
        {"passages": ["citation", {"citation": 1}, {"citation": "groups/1"}, {"citation": "nowhere/1#0"}]},
        {"passages": [{"citation": "groups/x#0"}]},
    ],
    ids=range(6),
)
def test_what_says_nothing(index: Index, turn: AITurn, user: Any, content: Any) -> None:
    assert not links_of(user, [turn], [told(turn, content)]).get(turn.pk)


def test_what_may_not_be_found_is_not_named(turn: AITurn, user: Any) -> None:
    group = Group.objects.create(name="Secret")
    secret = Index(
        "secret", Group, fields=["name"], background=False, for_user=lambda user: Group.objects.none()
    )
    index_registry.register(secret)
    try:
        turn.options = given(group.pk, index="secret")
        assert links_of(user, [turn], []) == {turn.pk: []}
    finally:
        unwatch(secret)
        index_registry.unregister("secret")


@pytest.mark.parametrize("url", ["javascript:alert(1)", "//evil.example/", "data:text/html,x", None])
def test_an_address_that_no_link_may_have(
    index: Index, turn: AITurn, user: Any, monkeypatch: Any, url: Any
) -> None:
    turn.options = given(Group.objects.create(name="First").pk)
    monkeypatch.setattr(Group, "get_absolute_url", lambda group: url, raising=False)
    assert links_of(user, [turn], []) == {turn.pk: [Link("groups", "First", "", 1)]}


def test_an_address_that_can_not_be_made(
    index: Index, turn: AITurn, user: Any, monkeypatch: Any, caplog: Any
) -> None:
    def broken(group: Group) -> str:
        raise RuntimeError("not to be told")

    turn.options = given(Group.objects.create(name="First").pk)
    monkeypatch.setattr(Group, "get_absolute_url", broken, raising=False)
    assert links_of(user, [turn], []) == {turn.pk: [Link("groups", "First", "", 1)]}
    assert "RuntimeError" in caplog.text
    assert "not to be told" not in caplog.text
