"""The sockets on real servers, as a browser sees them."""

from __future__ import annotations

import pytest

from django_chatgpt.testing import Answer, FakeOpenAI, Gate
from tests.servers.conftest import Browse, Serve, Start, Tables
from tests.servers.processes import Browser, Kind

pytest.importorskip("channels")
pytest.importorskip("websockets")

from websockets.exceptions import ConnectionClosed, InvalidStatus

from tests.servers.sockets import open_socket

PIECES = [f"{number} " for number in range(8)]


@pytest.fixture(params=["uvicorn", "daphne"])
def kind(request: pytest.FixtureRequest) -> Kind:
    kind: Kind = request.param
    return kind


def test_nobody_is_told_so(kind: Kind, serve: Serve) -> None:
    """By a code that a browser sees."""
    stranger = Browser(serve(kind))
    for path in ("/ws/ai/chat/", "/ws/ai/monitoring/"):
        with open_socket(stranger, path) as socket, pytest.raises(ConnectionClosed) as closed:
            socket.read()
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 4001
    stranger.close()


def test_a_page_of_another_site(kind: Kind, serve: Serve, browse: Browse) -> None:
    browser = browse(serve(kind))
    with pytest.raises(InvalidStatus) as refused, open_socket(browser, origin="http://localhost:1"):
        pass
    assert refused.value.response.status_code == 403


def test_over_quota(kind: Kind, serve: Serve, browse: Browse) -> None:
    budget = {"scope": "user", "period": "day", "limit": "0"}
    browser = browse(serve(kind, OPENAI_BUDGETS=[budget]))
    with open_socket(browser) as socket, pytest.raises(ConnectionClosed) as closed:
        socket.read()
    serve(kind, OPENAI_BUDGETS=[])
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 4029
    if kind == "uvicorn":  # daphne sends no reasons
        assert closed.value.rcvd.reason.startswith("quota_exceeded; retry after ")


def test_an_answer_streams_and_a_ping_is_answered(
    kind: Kind, serve: Serve, browse: Browse, fake_openai: FakeOpenAI, gate: Gate, tables: Tables
) -> None:
    fake_openai.script(Answer(chunks=["Once ", "upon ", "a time"], stall_after=2, stall=gate))
    with open_socket(browse(serve(kind))) as socket:
        assert socket.read() == {"type": "connection_established"}
        socket.send("chat_message", message="Tell me a tale")
        socket.read_text("Once upon ")
        assert fake_openai.calls[0].finished is None
        socket.send("ping", ref="p")
        assert socket.read() == {"type": "pong", "ref": "p"}
        socket.connection.send(b"\x00")
        assert set(socket.read()["error"]["fields"]) == {"frame"}
        gate.open()
        assert socket.read_to("message_complete")["reason"] == "stop"
        assert socket.text == "Once upon a time"
    assert tables.turn(socket.events[0]["turn_id"])["status"] == "completed"


def test_taken_up_again(
    kind: Kind, serve: Serve, browse: Browse, fake_openai: FakeOpenAI, gate: Gate
) -> None:
    """One socket breaks off at every event that it gets; another listens all the time."""
    fake_openai.script(Answer(chunks=PIECES, delay=0.02, stall_after=len(PIECES) - 1, stall=gate))
    browser = browse(serve(kind))
    with open_socket(browser) as whole:
        whole.read()
        whole.send("chat_message", message="Count")
        turn_id = whole.read_to("processing_start")["turn_id"]
        joined: list[dict[str, object]] = []
        while not joined or joined[-1]["type"] != "message_complete":
            with open_socket(browser) as torn:
                torn.read()
                after = joined[-1]["id"] if joined else 0
                torn.send("resume", turn_id=turn_id, after=after)
                joined.append(torn.read())
            if len(joined) >= len(PIECES) // 2:
                gate.open()
        whole.read_to("message_complete")
    assert joined == whole.events


def test_begun_here_and_stopped_there(
    serve: Serve, browse: Browse, fake_openai: FakeOpenAI, gate: Gate, tables: Tables
) -> None:
    """Over HTTP in one process, over sockets in two others."""
    fake_openai.script(Answer(chunks=["Half ", "an answer"], stall_after=1, stall=gate))
    with (
        browse(serve("gunicorn")).stream() as stream,
        open_socket(browse(serve("uvicorn"))) as listener,
        open_socket(browse(serve("daphne"))) as stopper,
    ):
        stream.read_to("Half ")
        listener.send("resume", turn_id=stream.turn_id)
        listener.read_text("Half ")
        stopper.send("cancel", turn_id=stream.turn_id)
        for socket in (stopper, listener):
            assert socket.read_to("message_complete")["reason"] == "cancelled"
        stream.read_all()
    assert tables.turn(stream.turn_id)["status"] == "cancelled"
    assert [frame["id"] for frame in listener.events] == [1, 2, 3]


def test_leaving_with_cancel(
    kind: Kind, serve: Serve, browse: Browse, fake_openai: FakeOpenAI, gate: Gate, tables: Tables
) -> None:
    fake_openai.script(Answer(chunks=["Half ", "an answer"], stall_after=1, stall=gate))
    with open_socket(browse(serve(kind, OPENAI_ON_DISCONNECT="cancel"))) as socket:
        socket.send("chat_message", message="Hi")
        socket.read_text("Half ")
    fake_openai.wait_for(1, disconnected=True)


@pytest.mark.parametrize("mode", ["continue", "cancel"])
def test_a_server_that_is_told_to_end(
    kind: Kind,
    mode: str,
    start: Start,
    browse: Browse,
    fake_openai: FakeOpenAI,
    gate: Gate,
    tables: Tables,
) -> None:
    """It closes its sockets at once, and the answer is ended with what there was before it has gone."""
    where = {"OPENAI_BASE_URL": fake_openai.base_url, "OPENAI_API_KEY": fake_openai.api_key}
    server = start(kind, OPENAI_ON_DISCONNECT=mode, OPENAI_TURN_LEASE=600, **where)
    fake_openai.script(Answer(chunks=["Half ", "an answer"], stall_after=1, stall=gate))
    with open_socket(browse(server)) as socket:
        socket.send("chat_message", message="Hi")
        start_of = socket.read_to("processing_start")
        socket.read_text("Half ")
        server.terminate()
        with pytest.raises(ConnectionClosed):
            socket.read_to("message_complete")
    server.process.wait(30)
    assert tables.turn(start_of["turn_id"])["status"] == "interrupted", server.said()
    assert tables.messages(start_of["conversation_id"])[-1] == ("assistant", "Half ", "interrupted")


@pytest.mark.redis
def test_what_happens_in_another_process(
    start: Start, database: object, fake_openai: FakeOpenAI, browse: Browse
) -> None:
    """Staff see a turn of one server at the other, through Redis."""
    pytest.importorskip("channels_redis")
    layers = {
        "default": {
            "BACKEND": "channels_redis.core.RedisChannelLayer",
            "CONFIG": {"hosts": ["redis://127.0.0.1:6379/9"], "prefix": "django-chatgpt-servers"},
        }
    }
    where = {"OPENAI_BASE_URL": fake_openai.base_url, "OPENAI_API_KEY": fake_openai.api_key}
    first = start("uvicorn", CHANNEL_LAYERS=layers, **where)
    second = start("gunicorn", CHANNEL_LAYERS=layers, **where)
    fake_openai.reply("Hello")
    with open_socket(browse(first), "/ws/ai/monitoring/") as monitor:
        monitor.read()
        monitor.send("get_system_stats")
        assert monitor.read()["type"] == "system_stats"
        answer = browse(second).ask("Hi")
        assert answer.status_code == 200, second.said()
        ended = monitor.read_to("monitoring_event")
        while ended["event"] != "turn_ended":
            ended = monitor.read_to("monitoring_event")
    assert ended["data"]["turn_id"] == answer.json()["turn_id"]
