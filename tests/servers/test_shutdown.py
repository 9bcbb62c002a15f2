"""A server is asked to end in the middle of an answer: no turn runs for ever."""

from __future__ import annotations

from contextlib import suppress
from importlib.util import find_spec
from signal import SIGTERM

import httpx2
import pytest

from django_chatgpt.testing import Answer, FakeOpenAI, Gate
from tests.servers.conftest import Browse, Serve, Start, Tables
from tests.servers.processes import Kind, until

PIECES = ["Once ", "upon ", "a ", "time"]
SOON = ("--timeout-graceful-shutdown", "1")


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


def needs(module: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(find_spec(module) is None, reason=f"{module} is not installed")


ALONE = (False, "continue")
LISTENING = (True, "continue")
ASYNCIO = (*SOON, "--loop", "asyncio")


@pytest.mark.parametrize(
    ("kind", "arguments", "listening", "on_disconnect", "code"),
    [
        pytest.param("uvicorn", ASYNCIO, *LISTENING, -SIGTERM, id="uvicorn-listening"),
        pytest.param("uvicorn", ASYNCIO, *ALONE, -SIGTERM, id="uvicorn-alone"),
        pytest.param("uvicorn", ASYNCIO, True, "cancel", -SIGTERM, id="uvicorn-cut-off"),
        pytest.param(
            "uvicorn", (*SOON, "--loop", "uvloop"), *LISTENING, -SIGTERM, id="uvloop", marks=needs("uvloop")
        ),
        pytest.param("uvicorn", (*SOON, "--workers", "2"), *ALONE, 0, id="uvicorn-workers"),
        pytest.param("daphne", (), *LISTENING, 0, id="daphne-listening"),
        pytest.param("daphne", (), *ALONE, 0, id="daphne-alone"),
        pytest.param("daphne", (), True, "cancel", 0, id="daphne-cut-off"),
        pytest.param("gunicorn", ("--graceful-timeout", "12"), *LISTENING, 0, id="gunicorn-listening"),
        pytest.param("gunicorn", ("--graceful-timeout", "12"), *ALONE, 0, id="gunicorn-alone"),
        pytest.param(
            "uvicorn-gunicorn", (), *LISTENING, 0, id="uvicorn-gunicorn", marks=needs("uvicorn.workers")
        ),
    ],
)
def test_a_server_that_does_not_wait_for_ever(
    kind: Kind,
    arguments: tuple[str, ...],
    listening: bool,
    on_disconnect: str,
    code: int,
    start: Start,
    serve: Serve,
    browse: Browse,
    fake_openai: FakeOpenAI,
    gate: Gate,
    tables: Tables,
) -> None:
    """Before it has gone its turn is ended as interrupted, with what there was. Nobody waits for a lease."""
    server = start(
        kind,
        *arguments,
        OPENAI_BASE_URL=fake_openai.base_url,
        OPENAI_MAX_RETRIES=0,
        OPENAI_ON_DISCONNECT=on_disconnect,
        OPENAI_TURN_LEASE=600,
    )
    fake_openai.script(Answer(chunks=PIECES, stall_after=1, stall=gate))
    with browse(server).stream("Tell me a tale") as stream:
        stream.read_to("Once ")
        if listening:
            server.terminate()
            with suppress(httpx2.HTTPError):
                stream.read_all()
            assert server.process.wait(30) == code, server.said()
    if not listening:
        server.terminate()
        assert server.process.wait(30) == code, server.said()
    assert tables.turn(stream.turn_id)["status"] == "interrupted", server.said()
    assert tables.messages(stream.conversation_id)[-1] == ("assistant", "Once ", "interrupted")
    (attempt,) = tables.attempts(stream.turn_id)
    assert (attempt["outcome"], attempt["usage_source"]) == ("interrupted", "estimated")
    fake_openai.reply("Still here")
    other = browse(serve("gunicorn"))
    assert other.ask("Go on", conversation_id=stream.conversation_id).status_code == 200


def test_a_database_that_is_locked_keeps_no_server(
    start: Start,
    serve: Serve,
    browse: Browse,
    fake_openai: FakeOpenAI,
    gate: Gate,
    tables: Tables,
) -> None:
    """What could not be stored in a few seconds is left to whoever comes when the lease is over."""
    server = start(
        "uvicorn", *SOON, OPENAI_BASE_URL=fake_openai.base_url, OPENAI_MAX_RETRIES=0, OPENAI_TURN_LEASE=2
    )
    other = browse(serve("gunicorn"))
    fake_openai.script(Answer(chunks=PIECES, stall_after=1, stall=gate))
    with browse(server).stream("Tell me a tale") as stream:
        stream.read_to("Once ")
        until(lambda: tables.turn(stream.turn_id)["partial_text"], "the checkpoint")
    with tables.locked():
        server.terminate()
        assert server.process.wait(30) == -SIGTERM
    assert tables.turn(stream.turn_id)["status"] == "running"
    until(lambda: other.turn(stream.turn_id)["status"] == "interrupted", "the end of the turn")
    assert tables.messages(stream.conversation_id)[-1] == ("assistant", "Once ", "interrupted")
