"""Refused text at the doors: 422, in the same shape whatever refused it, and shown to whoever wrote it."""

from __future__ import annotations

import pytest
from pytest_django import Settings

from django_chatgpt.models import AIConversation, AIMessage, AITurn
from django_chatgpt.testing import Failure, FakeOpenAI
from tests.api.conftest import Door

pytestmark = pytest.mark.django_db

both_ways = pytest.mark.parametrize("stream", [False, True])


@pytest.fixture
def forbidding(settings: Settings) -> None:
    settings.OPENAI_FORBIDDEN_PATTERNS = ["password"]


@pytest.fixture
def moderated(fake: FakeOpenAI, settings: Settings) -> FakeOpenAI:
    settings.OPENAI_MODERATION_MODEL = "omni-moderation-latest"
    fake.flag("poison")
    return fake


@both_ways
def test_a_forbidden_pattern(door: Door, fake: FakeOpenAI, forbidding: None, stream: bool) -> None:
    """It is known before the answer begins, so that it is a status even of a stream."""
    answer = door.ask("my password", stream=stream)
    assert answer.status == 422
    assert answer.error["code"] == "content_filter"
    assert "password" not in answer.error["message"]
    fake.assert_nothing_asked()


@both_ways
def test_the_same_key_again(door: Door, fake: FakeOpenAI, forbidding: None, stream: bool) -> None:
    first = door.ask("my password", key="k")
    again = door.ask("my password", key="k", stream=stream)
    assert first.error["code"] == again.error["code"] == "content_filter"
    assert first.status == 422
    assert AITurn.objects.count() == AIMessage.objects.count() == 1


def test_its_writer_sees_it_refused(door: Door, fake: FakeOpenAI, forbidding: None) -> None:
    door.ask("my password")
    conversation = AIConversation.objects.get()
    [line] = door.get(f"/ai/conversations/{conversation.pk}/").json["messages"]
    assert (line["content"], line["status"]) == ("my password", "refused")
    assert "refused_by" not in str(line)
    turn = door.get(f"/ai/turns/{AITurn.objects.get().pk}/").json
    assert (turn["status"], turn["error"]["code"], turn["text"]) == ("failed", "content_filter", "")
    assert door.ask("Hi", conversation_id=str(conversation.pk)).status == 200


@both_ways
def test_a_flagged_question(door: Door, moderated: FakeOpenAI, stream: bool) -> None:
    answer = door.ask("poison", stream=stream)
    assert answer.status == (200 if stream else 422)
    assert answer.error["code"] == "content_filter"
    assert not moderated.calls


@both_ways
def test_a_flagged_answer(door: Door, moderated: FakeOpenAI, settings: Settings, stream: bool) -> None:
    settings.OPENAI_MODERATE_OUTPUT = True
    moderated.reply("poison")
    answer = door.ask("Hi", stream=stream)
    assert answer.status == (200 if stream else 422)
    assert answer.error["code"] == "content_filter"
    assert b"poison" not in answer.body
    assert not any("poison" in str(event) for event in answer.events)
    shown = door.get(f"/ai/conversations/{AIConversation.objects.get().pk}/")
    assert [line["status"] for line in shown.json["messages"]] == ["complete", "refused"]
    assert "poison" not in str(shown.json)
    turn = door.get(f"/ai/turns/{AITurn.objects.get().pk}/")
    assert "poison" not in str(turn.json)
    assert turn.json["error"]["code"] == "content_filter"


def test_a_filter_that_is_away(door: Door, moderated: FakeOpenAI) -> None:
    moderated.when(endpoint="moderations").answer(Failure(404))
    answer = door.ask()
    assert (answer.status, answer.error["code"]) == (503, "filter_unavailable")


def test_staff_see_what_was_withheld(
    door: Door, moderated: FakeOpenAI, settings: Settings, admin_client: object
) -> None:
    settings.OPENAI_MODERATE_OUTPUT = True
    moderated.reply("poison")
    door.ask()
    answer = AIMessage.objects.get(role="assistant")
    page = admin_client.get(f"/admin/django_chatgpt/aimessage/{answer.pk}/change/")  # type: ignore[attr-defined]
    assert b"withheld" in page.content
    assert b"poison" in page.content
