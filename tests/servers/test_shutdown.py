"""A server is asked to end in the middle of an answer: no turn runs for ever."""

from __future__ import annotations

import pytest

from django_chatgpt.testing import Answer, FakeOpenAI, Gate
from tests.servers.conftest import Browse, Serve, Tables
from tests.servers.processes import Kind, until

PIECES = ["Once ", "upon ", "a ", "time"]


@pytest.mark.parametrize("kind", ["uvicorn", "gunicorn"])
def test_the_answer_is_finished_first(
    kind: Kind, serve: Serve, browse: Browse, fake_openai: FakeOpenAI, gate: Gate, tables: Tables
) -> None:
    """Both wait for the responses they are giving."""
    server = serve(kind)
    fake_openai.script(Answer(chunks=PIECES, stall_after=1, stall=gate))
    with browse(server).stream() as stream:
        stream.read_to("Once ")
        server.terminate()
        gate.open()
        stream.read_all()
    assert stream.text == "Once upon a time"
    assert tables.turn(stream.turn_id)["status"] == "completed"
    server.process.wait(20)


@pytest.mark.parametrize("listening", [True, False])
def test_a_server_that_does_not_wait(
    listening: bool,
    start: Serve,
    serve: Serve,
    browse: Browse,
    fake_openai: FakeOpenAI,
    gate: Gate,
    tables: Tables,
) -> None:
    """Its turn ends as interrupted, with what there was, at the latest when the lease has run out."""
    server = start(
        "uvicorn",
        "--timeout-graceful-shutdown",
        "1",
        OPENAI_BASE_URL=fake_openai.base_url,
        OPENAI_MAX_RETRIES=0,
        OPENAI_TURN_LEASE=2,
    )
    other = browse(serve("gunicorn"))
    fake_openai.script(Answer(chunks=PIECES, stall_after=1, stall=gate))
    with browse(server).stream("Tell me a tale") as stream:
        stream.read_to("Once ")
        until(lambda: tables.turn(stream.turn_id)["partial_text"], "the checkpoint")
        if listening:
            server.terminate()
            server.process.wait(20)
    if not listening:
        server.terminate()
        server.process.wait(20)
    fake_openai.wait_for(1, disconnected=True)
    until(lambda: other.turn(stream.turn_id)["status"] == "interrupted", "the end of the turn")
    assert tables.messages(stream.conversation_id)[-1] == ("assistant", "Once ", "interrupted")
    (attempt,) = tables.attempts(stream.turn_id)
    assert (attempt["outcome"], attempt["usage_source"]) == ("interrupted", "estimated")
    fake_openai.reply("Still here")
    assert other.ask("Go on", conversation_id=stream.conversation_id).status_code == 200
