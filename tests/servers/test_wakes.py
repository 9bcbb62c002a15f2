"""Who follows a turn of another process is woken by way of Redis, and gets along without it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from django_chatgpt.testing import Answer, FakeOpenAI, Gate
from tests.redis_server import OwnRedis
from tests.servers.conftest import Browse, Serve, Tables
from tests.servers.processes import Kind, Stream

pytestmark = pytest.mark.redis

PAIRS: list[tuple[Kind, Kind]] = [("uvicorn", "gunicorn"), ("gunicorn", "uvicorn")]
PIECES = ["Once ", "upon ", "a ", "time"]
NEVER = 3600


@pytest.fixture(scope="module")
def redis_of_ours(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OwnRedis]:
    server = OwnRedis(Path(tmp_path_factory.mktemp("redis"))).start()
    yield server
    server.stop()


@pytest.mark.parametrize(("first", "second"), PAIRS)
def test_woken_where_nobody_polls(
    first: Kind,
    second: Kind,
    redis_of_ours: OwnRedis,
    serve: Serve,
    browse: Browse,
    fake_openai: FakeOpenAI,
    gate: Gate,
) -> None:
    fake_openai.script(Answer(chunks=PIECES, stall_after=1, stall=gate))
    other = browse(serve(second, OPENAI_WAKE_URL=redis_of_ours.url, LOOK_SECONDS=NEVER))
    with browse(serve(first, OPENAI_WAKE_URL=redis_of_ours.url)).stream() as stream:
        stream.read_to("Once ")
        with other.client.stream("GET", f"/ai/turns/{stream.turn_id}/events/") as response:
            followed = Stream(response)
            followed.read_to("Once ")
            gate.open()
            followed.read_all()
        stream.read_all()
    assert followed.text == stream.text == "Once upon a time"
    assert followed.seen[-2:] == stream.seen[-2:]


@pytest.mark.parametrize(("first", "second"), PAIRS)
def test_stopped_in_the_middle_and_back(
    first: Kind,
    second: Kind,
    redis_of_ours: OwnRedis,
    serve: Serve,
    browse: Browse,
    fake_openai: FakeOpenAI,
    tables: Tables,
) -> None:
    """The stream goes on from the log."""
    other = browse(serve(second, OPENAI_WAKE_URL=redis_of_ours.url))
    asking = browse(serve(first, OPENAI_WAKE_URL=redis_of_ours.url))
    for stops in (True, False):
        gates = Gate()
        fake_openai.script(Answer(chunks=PIECES, stall_after=2, stall=gates))
        try:
            with asking.stream() as stream:
                stream.read_to("Once upon ")
                with other.client.stream("GET", f"/ai/turns/{stream.turn_id}/events/") as response:
                    followed = Stream(response)
                    followed.read_to("Once upon ")
                    if stops:
                        redis_of_ours.stop()
                    else:
                        redis_of_ours.start()
                    gates.open()
                    followed.read_all()
                stream.read_all()
        finally:
            gates.open()
        assert followed.text == stream.text == "Once upon a time"
        assert tables.turn(stream.turn_id)["status"] == "completed"
