"""The listener leaves in the middle: the turn is finished, read to its end, or closed, as the site says."""

from __future__ import annotations

from typing import Any

import pytest

from django_chatgpt.testing import Answer, FakeOpenAI, Gate
from tests.servers.conftest import Browse, Serve, Tables
from tests.servers.processes import ASGI, Kind, until

PIECES = ["One ", "two ", "three ", "four"]
MANY = [f"{number} " for number in range(400)]


def ended(tables: Tables, turn_id: str) -> dict[str, Any]:
    """The turn, once it is over."""

    def look() -> dict[str, Any] | None:
        turn = tables.turn(turn_id)
        return turn if turn["status"] != "running" else None

    return until(look, "the end of the turn")


@pytest.mark.parametrize("mode", ["continue", "drain"])
def test_the_answer_is_read_to_its_end(
    kind: Kind, mode: str, serve: Serve, browse: Browse, fake_openai: FakeOpenAI, gate: Gate, tables: Tables
) -> None:
    fake_openai.script(Answer(chunks=PIECES, stall_after=1, stall=gate))
    with browse(serve(kind, OPENAI_ON_DISCONNECT=mode)).stream("Count") as stream:
        stream.read_to("One ")
    gate.open()
    turn = ended(tables, stream.turn_id)
    assert (turn["status"], turn["active_conversation"]) == ("completed", None)
    assert tables.messages(stream.conversation_id) == [
        ("user", "Count", "complete"),
        ("assistant", "One two three four", "complete"),
    ]
    (attempt,) = tables.attempts(stream.turn_id)
    assert (attempt["outcome"], attempt["usage_source"]) == ("completed", "provider")
    assert not fake_openai.calls[0].disconnected
    assert browse(serve(kind)).turn(stream.turn_id)["text"] == "One two three four"


def assert_cancelled(
    stream: Any, fake_openai: FakeOpenAI, tables: Tables, browse: Browse, server: Any, text: str
) -> None:
    (request,) = fake_openai.wait_for(1, disconnected=True, within=20)
    assert request.pieces_sent < len(MANY)
    turn = ended(tables, stream.turn_id)
    assert (turn["status"], turn["active_conversation"]) == ("cancelled", None)
    question, answer = tables.messages(stream.conversation_id)
    assert question == ("user", "Count", "complete")
    assert (answer[0], answer[2]) == ("assistant", "cancelled")
    assert answer[1].startswith(text)
    assert "".join(request.sent).startswith(answer[1])
    (attempt,) = tables.attempts(stream.turn_id)
    assert (attempt["outcome"], attempt["usage_source"]) == ("cancelled", "estimated")
    assert attempt["completion_tokens"] > 0
    seen = browse(server).turn(stream.turn_id)
    assert (seen["status"], seen["result"]["finish_reason"]) == ("cancelled", "cancelled")
    fake_openai.reply("Still here")
    on = browse(server).ask("Go on", conversation_id=stream.conversation_id)
    assert on.status_code == 200
    assert fake_openai.calls[-1].texts == ["Count", answer[1], "Go on"]


def test_the_answer_is_closed_at_once(
    kind: Kind, serve: Serve, browse: Browse, fake_openai: FakeOpenAI, tables: Tables
) -> None:
    server = serve(kind, OPENAI_ON_DISCONNECT="cancel")
    fake_openai.reply(chunks=MANY, delay=0.05)
    with browse(server).stream("Count") as stream:
        stream.read_to("0 1 ")
    assert_cancelled(stream, fake_openai, tables, browse, server, "0 1 ")


@pytest.mark.parametrize("kind", sorted(ASGI))
def test_a_silent_answer_is_closed_at_once_as_well(
    kind: Kind, serve: Serve, browse: Browse, fake_openai: FakeOpenAI, gate: Gate, tables: Tables
) -> None:
    """Without a word from the provider, only an ASGI server is told that the listener has gone."""
    server = serve(kind, OPENAI_ON_DISCONNECT="cancel")
    fake_openai.script(Answer(chunks=PIECES, stall_after=1, stall=gate))
    with browse(server).stream("Count") as stream:
        stream.read_to("One ")
    assert_cancelled(stream, fake_openai, tables, browse, server, "One ")


@pytest.mark.parametrize("kind", sorted(ASGI))
@pytest.mark.parametrize("mode", ["continue", "cancel"])
def test_leaving_before_the_provider_has_accepted(
    kind: Kind, mode: str, serve: Serve, browse: Browse, fake_openai: FakeOpenAI, gate: Gate, tables: Tables
) -> None:
    async def think(request: Any) -> str:
        await gate.passed()
        return "Done"

    fake_openai.respond_with(think)
    with browse(serve(kind, OPENAI_ON_DISCONNECT=mode)).stream("Think") as stream:
        next(iter(stream))
        fake_openai.wait_for(1)
    if mode == "cancel":
        fake_openai.wait_for(1, disconnected=True, within=20)
    gate.open()
    turn = ended(tables, stream.turn_id)
    assert turn["status"] == ("cancelled" if mode == "cancel" else "completed")
    (attempt,) = tables.attempts(stream.turn_id)
    assert attempt["usage_source"] == ("estimated" if mode == "cancel" else "provider")


@pytest.mark.parametrize("kind", sorted(ASGI))
@pytest.mark.parametrize("mode", ["continue", "cancel"])
def test_leaving_a_whole_reply(
    kind: Kind, mode: str, serve: Serve, browse: Browse, fake_openai: FakeOpenAI, gate: Gate, tables: Tables
) -> None:
    fake_openai.script(Answer(chunks=PIECES, stall_after=1, stall=gate))
    browser = browse(serve(kind, OPENAI_ON_DISCONNECT=mode))
    conversation = browser.client.post(
        "/ai/conversations/", json={}, headers={"X-CSRFToken": browser.token}
    ).json()["id"]
    with browser.ask_and_wait_for_nothing("Count", conversation_id=conversation):
        assert gate.reached.wait(20)
        busy = browser.ask("Me too", conversation_id=conversation)
        turn_id = busy.json()["error"]["turn_id"]
    if mode == "cancel":
        fake_openai.wait_for(1, disconnected=True, within=20)
    gate.open()
    assert ended(tables, turn_id)["status"] == ("cancelled" if mode == "cancel" else "completed")
    answer = tables.messages(conversation)[-1]
    assert answer[1] == ("One " if mode == "cancel" else "One two three four")


def test_a_follower_may_leave(
    serve: Serve, browse: Browse, fake_openai: FakeOpenAI, gate: Gate, tables: Tables
) -> None:
    """It was not its turn: the first listener goes on listening."""
    server = serve("uvicorn", OPENAI_ON_DISCONNECT="cancel")
    fake_openai.script(Answer(chunks=PIECES, stall_after=1, stall=gate))
    with browse(server).stream("Count", key="k2") as first:
        first.read_to("One ")
        with browse(server).stream("Count", key="k2") as second:
            second.read_to("One ")
        gate.open()
        first.read_all()
    assert first.text == "One two three four"
    assert ended(tables, first.turn_id)["status"] == "completed"
