"""turns/<id>/: where a turn stands, and the end of one whose process died."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest
from django.utils import timezone

from django_chatgpt.core.events import Content, Started
from django_chatgpt.core.log import Piece
from django_chatgpt.models import AIConversation, AIMessage, AITurn, AIUsage
from django_chatgpt.storage import events
from django_chatgpt.testing import Failure, FakeOpenAI
from tests.api.conftest import Door

pytestmark = pytest.mark.django_db


def dead_turn(user: Any, text: str = "Once upon", **fields: Any) -> AITurn:
    """A turn as a killed process leaves it: question, checkpointed text, an attempt in the air."""
    conversation = AIConversation.objects.create(user=user, title="Tale")
    past = timezone.now() - timedelta(seconds=1)
    turn = AITurn.objects.create(
        **{
            "conversation": conversation,
            "user": user,
            "status": "running",
            "partial_text": text,
            "lease_expires_at": past,
            "started_at": past,
            "options": {"model": "gpt-6-luna"},
        }
        | fields
    )
    AIMessage.objects.create(
        conversation=conversation, turn=turn, sequence=1, role="user", content="Tell me a tale."
    )
    shown = [Started(seq=1, conversation_id=conversation.pk), Content(seq=2, content=text)]
    events.add(turn.pk, Piece(tuple(shown)))
    AIUsage.objects.create(user=user, conversation=conversation, turn=turn, model="gpt-6-luna")
    return turn


def test_a_turn_that_is_over(door: Door, fake: FakeOpenAI) -> None:
    fake.reply("Hello there")
    reply = door.ask("Hi").json
    seen = door.get(f"/ai/turns/{reply['turn_id']}/").json
    started, finished = (datetime.fromisoformat(seen.pop(name)) for name in ("started_at", "finished_at"))
    assert started <= finished
    assert seen == {
        "id": reply["turn_id"],
        "conversation_id": reply["conversation_id"],
        "status": "completed",
        "text": "Hello there",
        "cancel_requested": False,
        "result": reply,
        "error": None,
        "waiting": [],
        "sources": [],
    }


def test_a_turn_that_runs(door: Door, user: Any) -> None:
    turn = dead_turn(user, lease_expires_at=timezone.now() + timedelta(minutes=1))
    seen = door.get(f"/ai/turns/{turn.pk}/").json
    assert (seen["status"], seen["text"]) == ("running", "Once upon")
    assert seen["result"] is seen["error"] is seen["finished_at"] is None


def test_a_turn_that_failed(door: Door, fake: FakeOpenAI) -> None:
    fake.reply(chunks=["Hel", "lo"], cut_after=1)
    answer = door.ask(stream=True)
    seen = door.get(f"/ai/turns/{answer.turn_id}/").json
    assert (seen["status"], seen["text"]) == ("failed", "Hel")
    assert {name: seen["error"][name] for name in ("code", "message")} == answer.error
    assert seen["result"]["message"]["content"] == "Hel"
    assert seen["result"]["usage"]["total_tokens"] > 0


def test_a_turn_that_failed_before_a_word(door: Door, fake: FakeOpenAI) -> None:
    fake.script(Failure(500))
    answer = door.ask(stream=True)
    seen = door.get(f"/ai/turns/{answer.turn_id}/").json
    assert (seen["status"], seen["text"], seen["result"]["id"]) == ("failed", "", None)


def test_a_turn_whose_process_died_is_ended_when_looked_at(door: Door, user: Any) -> None:
    turn = dead_turn(user)
    seen = door.get(f"/ai/turns/{turn.pk}/").json
    assert (seen["status"], seen["text"]) == ("interrupted", "Once upon")
    assert seen["error"]["code"] == "interrupted"
    assert seen["finished_at"] is not None
    message = AIMessage.objects.get(role="assistant")
    assert (message.content, message.status, message.turn) == ("Once upon", "interrupted", turn)
    row = AIUsage.objects.get()
    assert (row.outcome, row.usage_source, row.error_code) == ("interrupted", "estimated", "interrupted")
    assert row.prompt_tokens > 0
    assert row.completion_tokens > 0
    assert row.estimated_cost
    conversation = AIConversation.objects.get()
    assert conversation.total_tokens == row.total_tokens
    assert conversation.total_cost == row.estimated_cost
    # Once is enough.
    assert door.get(f"/ai/turns/{turn.pk}/").json == seen
    assert AIMessage.objects.count() == 2
    assert AIConversation.objects.get().total_tokens == row.total_tokens


def test_it_is_ended_by_the_next_question_as_well(
    door: Door, fake: FakeOpenAI, user: Any, dialect: str
) -> None:
    turn = dead_turn(user)
    answer = door.ask("Go on", conversation_id=str(turn.conversation_id))
    assert answer.status == 200
    turn.refresh_from_db()
    assert (turn.status, turn.active_conversation) == ("interrupted", None)
    assert fake.calls[0].texts == ["Tell me a tale.", "Once upon", "Go on"]
    assert list(AIMessage.objects.order_by("sequence").values_list("sequence", "status")) == [
        (1, "complete"),
        (2, "interrupted"),
        (3, "complete"),
        (4, "complete"),
    ]


def test_a_turn_that_died_before_a_word(door: Door, fake: FakeOpenAI, user: Any) -> None:
    turn = dead_turn(user, text="")
    assert door.get(f"/ai/turns/{turn.pk}/").json["status"] == "interrupted"
    assert AIMessage.objects.count() == 1
    row = AIUsage.objects.get()
    assert (row.outcome, row.usage_source, row.completion_tokens) == ("interrupted", "estimated", 0)
    assert door.ask("Hello?", conversation_id=str(turn.conversation_id)).status == 200


def test_a_turn_that_never_began_to_live(door: Door, fake: FakeOpenAI, user: Any) -> None:
    """Without a lease nobody counts as dead."""
    turn = dead_turn(user, status="queued", lease_expires_at=None)
    assert door.get(f"/ai/turns/{turn.pk}/").json["status"] == "queued"
    answer = door.ask("Hello?", conversation_id=str(turn.conversation_id))
    assert (answer.status, answer.error["turn_id"]) == (409, str(turn.pk))


def test_a_dead_turn_of_somebody_else_is_not_ended(other_door: Door, user: Any) -> None:
    turn = dead_turn(user)
    assert other_door.get(f"/ai/turns/{turn.pk}/").status == 404
    assert AITurn.objects.get().status == "running"


def test_the_events_of_an_earlier_turn_end_as_it_ended(door: Door, user: Any) -> None:
    """A repeat with its key is told what became of a turn whose process died."""
    from django_chatgpt.services.chat import Ask

    ask = Ask(user=user, text="Tell me a tale.")
    turn = dead_turn(user, idempotency_key="k", request_fingerprint=ask.fingerprint)
    answer = door.ask("Tell me a tale.", key="k", stream=True)
    assert answer.turn_id == str(turn.pk)
    assert [event["type"] for event in answer.events] == ["start", "content", "error", "done"]
    assert answer.error["code"] == "interrupted"
    whole = door.ask("Tell me a tale.", key="k")
    assert (whole.status, whole.error["code"]) == (503, "interrupted")
