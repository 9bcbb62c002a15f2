"""A server is killed in the middle of an answer: what was said is kept, and the conversation goes on."""

from __future__ import annotations

import httpx2
import pytest

from django_chatgpt.testing import Answer, FakeOpenAI, Gate
from tests.servers.conftest import Browse, Serve, Tables
from tests.servers.processes import Kind, until

PIECES = ["Once ", "upon ", "a ", "time"]
HEARD = "Once upon "


@pytest.mark.parametrize(("kind", "survivor"), [("uvicorn", "gunicorn"), ("gunicorn", "daphne")])
def test_kill_9_in_the_middle_of_a_stream(
    kind: Kind,
    survivor: Kind,
    serve: Serve,
    browse: Browse,
    fake_openai: FakeOpenAI,
    gate: Gate,
    tables: Tables,
) -> None:
    victim = serve(kind, OPENAI_TURN_LEASE=12)
    fake_openai.script(Answer(chunks=PIECES, stall_after=2, stall=gate))
    other = browse(serve(survivor))
    with browse(victim).stream("Tell me a tale", key=f"kill-{kind}") as stream:
        stream.read_to(HEARD)
        turn_id, conversation_id = stream.turn_id, stream.conversation_id
        until(lambda: tables.turn(turn_id)["partial_text"] == HEARD, "the checkpoint")
        victim.kill()
        with pytest.raises(httpx2.HTTPError):
            stream.read_all()
    fake_openai.wait_for(1, disconnected=True)
    # As it was left.
    turn = tables.turn(turn_id)
    assert (turn["status"], turn["partial_text"]) == ("running", HEARD)
    assert tables.messages(conversation_id) == [("user", "Tell me a tale", "complete")]
    assert [row["outcome"] for row in tables.attempts(turn_id)] == ["running"]
    busy = other.ask("Go on", conversation_id=conversation_id)
    assert (busy.status_code, busy.json()["error"]["turn_id"]) == (409, turn_id)
    # The lease runs out, and whoever comes next ends it: one who looks, or one who asks.
    fake_openai.script("Still here")
    if kind == "uvicorn":
        until(lambda: other.turn(turn_id)["status"] == "interrupted", "the end of the lease")

    def ask() -> httpx2.Response | None:
        answer = other.ask("Go on", conversation_id=conversation_id)
        return answer if answer.status_code != 409 else None

    answer = until(ask, "the end of the lease")
    assert answer.status_code == 200, other.server.said()
    turn = tables.turn(turn_id)
    assert (turn["status"], turn["active_conversation"], turn["error_code"]) == (
        "interrupted",
        None,
        "interrupted",
    )
    (attempt,) = tables.attempts(turn_id)
    assert (attempt["outcome"], attempt["usage_source"]) == ("interrupted", "estimated")
    assert attempt["prompt_tokens"] > 0
    assert attempt["completion_tokens"] > 0
    assert attempt["estimated_cost"] is not None
    assert tables.messages(conversation_id) == [
        ("user", "Tell me a tale", "complete"),
        ("assistant", HEARD, "interrupted"),
        ("user", "Go on", "complete"),
        ("assistant", "Still here", "complete"),
    ]
    assert fake_openai.calls[-1].texts == ["Tell me a tale", HEARD, "Go on"]
    # The key still names that turn; nothing is asked again.
    again = other.ask("Tell me a tale", key=f"kill-{kind}")
    assert (again.status_code, again.json()["error"]["code"]) == (503, "interrupted")
    assert len(fake_openai.calls) == 2
