"""Answers as HTML beside their text: the same stream, and blocks that add up."""

from __future__ import annotations

import json
from collections.abc import Generator
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from django_chatgpt.api.rendering import LONG, Rendering
from django_chatgpt.api.sse import HEARTBEAT, stream_events
from django_chatgpt.core.events import CallRequested, Content, Discarded, Done, Finished, Started, TurnEvent
from django_chatgpt.core.messages import FunctionCall
from django_chatgpt.models import AIConversation, AITurn
from django_chatgpt.services.markdown import Blocks
from django_chatgpt.testing import FakeOpenAI
from tests.api.conftest import Door

pytestmark = pytest.mark.django_db

TEXT = "# One\n\nTwo **three**\n\n- four\n- five\n"


def blocks_of(text: str) -> list[str]:
    return Blocks().feed(text)[1]


def folded(events: list[dict[str, Any]]) -> list[list[str]]:
    """The blocks of each message, as a client puts them together."""
    messages: list[list[str]] = [[]]
    for event in events:
        if html := event.get("html"):
            assert html["from"] <= len(messages[-1])
            messages[-1][html["from"] :] = html["blocks"]
        if event["type"] == "function_call" and messages[-1]:
            messages.append([])
    return messages


def test_the_blocks_of_a_stream_are_those_of_the_answer(door: Door, fake: FakeOpenAI) -> None:
    fake.reply(TEXT, chunks=list(TEXT))
    answer = door.send("POST", "/ai/chat/?render=html", {"message": "Hi", "stream": True})
    assert folded(answer.events) == [blocks_of(TEXT)]
    assert "".join(event.get("content", "") for event in answer.events) == TEXT
    assert all(event["type"] in ("content", "finish") for event in answer.events if "html" in event)


def test_without_it_nothing_changes(door: Door, fake: FakeOpenAI) -> None:
    fake.reply(TEXT)
    reply = door.ask("Hi", stream=True)
    assert not any("html" in event for event in reply.events)
    place = f"/ai/conversations/{reply.events[0]['conversation_id']}/"
    conversation = door.get(place).json
    assert "turns" not in conversation
    assert not any("html" in message for message in conversation["messages"])


@pytest.mark.parametrize("path", ["/ai/chat/?render=text", "/ai/chat/?render="])
def test_another_form_there_is_not(door: Door, fake: FakeOpenAI, path: str) -> None:
    answer = door.send("POST", path, {"message": "Hi"})
    assert (answer.status, list(answer.error["fields"])) == (400, ["render"])
    fake.assert_nothing_asked()


def test_taking_a_stream_up_again_begins_with_all_blocks(door: Door, fake: FakeOpenAI) -> None:
    fake.reply(TEXT, chunks=list(TEXT))
    asked = door.ask("Hi", stream=True)
    place = f"/ai/turns/{asked.turn_id}/events/"
    every = door.get(f"{place}?render=html").events
    assert folded(every) == [blocks_of(TEXT)]
    number = len(asked.events) // 2
    rest = door.get(f"{place}?render=html&after={number}")
    assert folded(rest.events) == [blocks_of(TEXT)]
    assert [event["type"] for event in rest.events] == [
        event["type"] for event in door.get(f"{place}?after={number}").events
    ]
    assert door.get(f"{place}?render=html&after=100000").status == 204


def test_a_conversation_is_shown_with_its_turns(door: Door, fake: FakeOpenAI) -> None:
    fake.reply(TEXT)
    reply = door.ask("<b>Hi</b>")
    shown = door.get(f"/ai/conversations/{reply.json['conversation_id']}/?render=html").json
    html = [message["html"] for message in shown["messages"]]
    assert html == [None, {"from": 0, "blocks": blocks_of(TEXT)}]
    (turn,) = shown["turns"]
    assert turn["id"] == reply.json["turn_id"]
    assert (turn["status"], turn["error"], turn["waiting"], turn["sources"]) == ("completed", None, [], [])
    assert turn["tokens"] == reply.json["usage"]["total_tokens"]
    assert turn["cost"] == reply.json["cost"]


def said(text: str) -> Content:
    return Content(content=text)


def test_a_turn_whose_process_died_is_ended_before_it_is_shown(door: Door, user: Any) -> None:
    conversation = AIConversation.objects.create(user=user)
    past = timezone.now() - timedelta(hours=1)
    AITurn.objects.create(
        conversation=conversation, user=user, status="running", started_at=past, lease_expires_at=past
    )
    (turn,) = door.get(f"/ai/conversations/{conversation.pk}/?render=html").json["turns"]
    assert (turn["status"], turn["error"]["code"]) == ("interrupted", "interrupted")


def numbered(*events: TurnEvent) -> list[TurnEvent]:
    for number, event in enumerate(events, 1):
        event.seq = number
    return list(events)


def shown(rendering: Rendering, events: list[TurnEvent]) -> list[tuple[str, Any]]:
    return [(event.type, html) for event, html in rendering.take(events)]


def test_one_rendering_for_what_comes_together() -> None:
    events = numbered(Started(), said("a"), said("b"))
    html = {"from": 0, "blocks": ['<p dir="auto">ab</p>']}
    assert shown(Rendering(), events) == [("start", None), ("content", None), ("content", html)]


def test_what_is_not_due_waits_and_is_not_lost() -> None:
    rendering = Rendering()
    first, second, finish, done = numbered(said("a"), said("b"), Finished(reason="stop"), Done())
    assert rendering.take([first], all_due=False)[0][1] == {"from": 0, "blocks": ['<p dir="auto">a</p>']}
    assert rendering.take([second], all_due=False) == [(second, None)]
    html = {"from": 0, "blocks": ['<p dir="auto">ab</p>']}
    assert rendering.take([finish, done], all_due=False) == [(finish, html), (done, None)]
    assert rendering.flush() is None


def test_after_a_call_blocks_are_counted_anew() -> None:
    call = FunctionCall(id="c", name="f", arguments="{}")
    events = numbered(said("a"), CallRequested(call=call), CallRequested(call=call), said("b"))
    assert [html and html["blocks"] for _, html in Rendering().take(events)] == [
        None,
        ['<p dir="auto">a</p>'],
        None,
        ['<p dir="auto">b</p>'],
    ]


def test_what_was_discarded_is_not_shown() -> None:
    events = numbered(said("a"), Discarded(), said("b"))
    assert [html for _, html in Rendering().take(events)][-1] == {
        "from": 0,
        "blocks": ['<p dir="auto">b</p>'],
    }


@pytest.mark.parametrize("after", range(1, 5))
def test_what_was_seen_is_taken_in_and_not_shown(after: int) -> None:
    events = numbered(Started(), *(Content(content=letter) for letter in "abc"), Finished(reason="stop"))
    taken = Rendering(after).take(events)
    assert [event.seq for event, _ in taken] == list(range(after + 1, 6))
    (html,) = (html for _, html in taken if html)
    assert html == {"from": 0, "blocks": ['<p dir="auto">abc</p>']}


def test_under_wsgi_silence_shows_what_was_not_due() -> None:
    """In an event without a number: its text has been shown already."""
    started, first, second, done = numbered(Started(), said("a"), said("b"), Done())

    def events() -> Generator[TurnEvent | None, None, None]:
        yield from (started, first, second, None, None, done)

    body = b"".join(stream_events(events(), Rendering()))
    late = [event for event in body.split(b"\n\n") if event.startswith(b"data:")]
    assert [json.loads(event.removeprefix(b"data: ")) for event in late] == [
        {
            "type": "content",
            "turn_id": None,
            "content": "",
            "html": {"from": 0, "blocks": ['<p dir="auto">ab</p>']},
        }
    ]
    assert body.count(HEARTBEAT) == 2


async def test_much_is_rendered_in_a_thread() -> None:
    text = "word " * LONG
    (shown,) = await Rendering().atake(numbered(said(text)))
    assert shown[1] == {"from": 0, "blocks": blocks_of(text)}
