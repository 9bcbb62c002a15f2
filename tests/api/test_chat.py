"""POST chat/: the exact shapes of a whole reply and of a stream."""

from __future__ import annotations

import json
from typing import Any
from uuid import UUID

import pytest
from django.test.utils import override_settings

from django_chatgpt.models import AIConfiguration, AIConversation, AIMessage, AITurn, AIUsage
from django_chatgpt.testing import Call, FakeOpenAI, Usage
from tests.api.conftest import Door

pytestmark = pytest.mark.django_db


def sent_messages(fake: FakeOpenAI) -> list[tuple[str, Any]]:
    """Role and text of each message of the last request."""
    return [(message["role"], message["content"]) for message in fake.calls[-1].messages]


def test_a_whole_reply(door: Door, fake: FakeOpenAI, dialect: str) -> None:
    fake.reply("Hello there", usage=Usage(12, 3, cached=4))
    answer = door.ask("Hi")
    assert answer.status == 200
    message, turn = AIMessage.objects.get(role="assistant"), AITurn.objects.get()
    assert answer.json == {
        "id": str(message.pk),
        "conversation_id": str(turn.conversation_id),
        "turn_id": str(turn.pk),
        "message": {"role": "assistant", "content": "Hello there", "tool_calls": []},
        "model": "gpt-6-luna",
        "finish_reason": "stop",
        "usage": {
            "prompt_tokens": 12,
            "completion_tokens": 3,
            "total_tokens": 15,
            "cached_tokens": 4,
            "cache_write_tokens": 0,
            "reasoning_tokens": 0,
        },
        "cost": "0.000018",
    }
    assert turn.status == "completed"
    assert fake.calls[0].endpoint == dialect


def test_what_is_kept_of_a_reply(door: Door, fake: FakeOpenAI, user: Any) -> None:
    fake.reply("Hello there", usage=Usage(12, 3))
    door.ask("Hi, who are you?")
    conversation = AIConversation.objects.get()
    assert (conversation.user, conversation.title) == (user, "Hi, who are you?")
    assert (conversation.total_tokens, str(conversation.total_cost)) == (15, "0.000018000000")
    assert list(
        conversation.messages.order_by("sequence").values_list("sequence", "role", "content", "status")
    ) == [
        (1, "user", "Hi, who are you?", "complete"),
        (2, "assistant", "Hello there", "complete"),
    ]
    row = AIUsage.objects.get()
    assert (row.user, row.conversation, row.turn) == (user, conversation, AITurn.objects.get())
    assert (row.kind, row.model, row.outcome, row.usage_source) == (
        "chat",
        "gpt-6-luna",
        "completed",
        "provider",
    )
    assert (row.total_tokens, str(row.estimated_cost), row.price_source) == (15, "0.000018000000", "settings")
    assert row.request_id == fake.calls[0].id
    assert row.latency_ms is not None
    assert row.time_to_first_token_ms is not None
    assert row.time_to_first_token_ms <= row.latency_ms


def test_an_unknown_price_is_null_and_never_zero(door: Door, fake: FakeOpenAI) -> None:
    with override_settings(OPENAI_PRICES={}):
        assert door.ask().json["cost"] is None
        assert door.ask(stream=True).events[-2]["cost"] is None
    assert set(AIUsage.objects.values_list("estimated_cost", flat=True)) == {None}


def test_a_stream(door: Door, fake: FakeOpenAI, dialect: str) -> None:
    fake.reply(chunks=["Hel", "lo ", "there"], usage=Usage(12, 3, reasoning=1))
    answer = door.ask("Hi", stream=True)
    assert answer.status == 200
    assert answer.headers["Content-Type"] == "text/event-stream"
    assert "no-cache" in answer.headers["Cache-Control"]
    assert answer.headers["X-Accel-Buffering"] == "no"
    turn, message = AITurn.objects.get(), AIMessage.objects.get(role="assistant")
    common = {"turn_id": str(turn.pk)}
    events = answer.events
    assert [event.pop("seq") for event in events] == list(range(1, len(events) + 1))
    assert events[0] == common | {"type": "start", "conversation_id": str(turn.conversation_id)}
    contents = events[1:-2]
    assert {frozenset(event) for event in contents} == {frozenset({"type", "turn_id", "content"})}
    assert {event["type"] for event in contents} == {"content"}
    assert answer.text == "Hello there"
    assert events[-2] == common | {
        "type": "finish",
        "reason": "stop",
        "usage": {
            "prompt_tokens": 12,
            "completion_tokens": 3,
            "total_tokens": 15,
            "cached_tokens": 0,
            "cache_write_tokens": 0,
            "reasoning_tokens": 1,
        },
        "cost": "0.000018",
        "message_id": str(message.pk),
    }
    assert events[-1] == common | {"type": "done"}


def test_only_new_text_is_sent(door: Door, fake: FakeOpenAI) -> None:
    pieces = [f"{number} " for number in range(50)]
    fake.reply(chunks=pieces)
    answer = door.ask(stream=True)
    assert answer.text == "".join(pieces)


@pytest.mark.parametrize(
    "text", ["ünïcödé 🎈 \u2028 line", 'quotes " and \\ and \n\nlines: data: x', "</script>", "\x7f"]
)
def test_text_that_could_break_the_stream(door: Door, fake: FakeOpenAI, text: str) -> None:
    fake.reply(chunks=[text])
    assert door.ask(text, stream=True).text == text
    assert sent_messages(fake)[-1] == ("user", text)
    assert AIMessage.objects.get(role="assistant").content == text


def test_every_event_is_json_on_one_line(door: Door, fake: FakeOpenAI) -> None:
    fake.reply(chunks=["a\r\nb", "\n", "\r"])
    answer = door.ask(stream=True)
    lines = [line for line in answer.body.decode().split("\n") if line.startswith("data: ")]
    assert len(lines) == len(answer.events)
    assert all(json.loads(line.removeprefix("data: ")) for line in lines)


def test_messages_of_role_user_are_one_question(door: Door, fake: FakeOpenAI) -> None:
    fake.reply("Yes")
    said = [{"role": "user", "content": "One."}, {"role": "user", "content": "Two?"}]
    answer = door.send("POST", "/ai/chat/", {"messages": said})
    assert answer.status == 200
    assert sent_messages(fake) == [("user", "One.\n\nTwo?")]


def test_a_conversation_goes_on(door: Door, fake: FakeOpenAI, dialect: str) -> None:
    fake.script("One", "Two")
    first = door.ask("First?")
    second = door.ask("Second?", conversation_id=first.conversation_id)
    assert second.conversation_id == first.conversation_id
    assert second.turn_id != first.turn_id
    assert fake.calls[-1].texts == ["First?", "One", "Second?"]
    assert AIConversation.objects.get().title == "First?"


def test_what_is_asked_for_is_sent(door: Door, fake: FakeOpenAI) -> None:
    door.ask("Hi", model="gpt-5.4-mini", temperature=0.5, max_tokens=77)
    body = fake.calls[0].body
    assert body["model"] == "gpt-5.4-mini"
    assert body["max_completion_tokens"] == 77
    assert body["stream"] is True
    assert body["stream_options"] == {"include_usage": True}
    options = AITurn.objects.get().options
    assert (options["model"], options["temperature"], options["max_tokens"]) == ("gpt-5.4-mini", 0.5, 77)


def test_nothing_that_was_not_asked_for_is_sent(door: Door, fake: FakeOpenAI) -> None:
    with override_settings(OPENAI_MAX_TOKENS=None):
        door.ask("Hi")
    assert set(fake.calls[0].body) == {"model", "messages", "stream", "stream_options"}


def test_a_configuration(door: Door, fake: FakeOpenAI) -> None:
    configuration = AIConfiguration.objects.create(
        name="Pirate", model="gpt-5.4-mini", max_tokens=55, system_prompt="Talk like a pirate."
    )
    first = door.ask("Hi", configuration_id=str(configuration.pk))
    assert fake.calls[0].model == "gpt-5.4-mini"
    assert fake.calls[0].body["max_completion_tokens"] == 55
    assert fake.calls[0].texts == ["Talk like a pirate.", "Hi"]
    # The conversation keeps it.
    door.ask("And now?", conversation_id=first.conversation_id)
    assert fake.calls[1].model == "gpt-5.4-mini"
    assert fake.calls[1].texts[0] == "Talk like a pirate."


def test_a_configuration_that_is_not_active_is_not_there(door: Door, fake: FakeOpenAI) -> None:
    configuration = AIConfiguration.objects.create(name="Old", model="gpt-5.4-mini", is_active=False)
    answer = door.ask("Hi", configuration_id=str(configuration.pk))
    assert answer.status == 404
    assert "configuration_id" in answer.error["message"]
    fake.assert_nothing_asked()
    assert not AIConversation.objects.exists()


def test_a_call_nobody_offered_is_no_answer(door: Door, fake: FakeOpenAI) -> None:
    """Without functions a model that calls one has said nothing; the turn still ends."""
    fake.reply("Let me see.", calls=[Call("get_weather", {"city": "Paris"})])
    answer = door.ask(stream=True)
    assert answer.events[-1]["type"] == "done"
    assert answer.text == "Let me see."
    assert AITurn.objects.get().status == "completed"
    fake.reply("Fine.")
    assert door.ask("Go on", conversation_id=answer.conversation_id).status == 200


def test_a_reply_that_was_cut_by_its_limit(door: Door, fake: FakeOpenAI, dialect: str) -> None:
    fake.reply("Once upon a", finish="length")
    answer = door.ask(max_tokens=16)
    assert (answer.json["finish_reason"], answer.text) == ("length", "Once upon a")


def test_an_answer_without_a_word(door: Door, fake: FakeOpenAI, dialect: str) -> None:
    fake.reply("")
    answer = door.ask()
    assert answer.status == 200
    assert answer.text == ""
    fake.reply("Sorry?")
    assert door.ask("Hello?", conversation_id=answer.conversation_id).text == "Sorry?"


def test_ids_are_uuids(door: Door, fake: FakeOpenAI) -> None:
    reply = door.ask().json
    for name in ("id", "conversation_id", "turn_id"):
        assert UUID(reply[name]).version == 7
