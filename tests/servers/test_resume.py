"""A turn of one process, followed and stopped through another."""

from __future__ import annotations

import pytest

from django_chatgpt.testing import Answer, FakeOpenAI, Gate
from tests.servers.conftest import Browse, Serve, Tables
from tests.servers.processes import Kind, Stream


@pytest.mark.parametrize(("first", "second"), [("uvicorn", "gunicorn"), ("gunicorn", "uvicorn")])
def test_followed_and_stopped_elsewhere(
    first: Kind,
    second: Kind,
    serve: Serve,
    browse: Browse,
    fake_openai: FakeOpenAI,
    gate: Gate,
    tables: Tables,
) -> None:
    """The provider never says another word: whoever listens still hears the end."""
    fake_openai.script(Answer(chunks=["Half ", "an answer"], stall_after=1, stall=gate))
    other = browse(serve(second))
    with browse(serve(first)).stream() as stream:
        stream.read_to("Half ")
        path = f"/ai/turns/{stream.turn_id}"
        with other.client.stream("GET", f"{path}/events/") as response:
            followed = Stream(response)
            followed.read_to("Half ")
            stopped = other.client.post(f"{path}/cancel/", headers=other.headers())
            assert stopped.status_code == 200, other.server.said()
            assert stopped.json()["cancel_requested"]
            followed.read_all()
        stream.read_all()
    assert followed.seen == stream.seen
    assert stream.types == ["start", "content", "finish", "done"]
    assert stream.seen[-2]["reason"] == "cancelled"
    fake_openai.wait_for(1, disconnected=True)
    assert tables.turn(stream.turn_id)["status"] == "cancelled"
    assert tables.messages(stream.conversation_id)[-1] == ("assistant", "Half ", "cancelled")
    over = other.client.get(f"{path}/events/", headers={"Last-Event-ID": "1000"})
    assert over.status_code == 204
