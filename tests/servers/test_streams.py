"""Each server, as a browser sees it: signing in, a whole reply, and a stream that streams."""

from __future__ import annotations

import pytest

from django_chatgpt.testing import Answer, FakeOpenAI, Gate
from tests.servers.conftest import Browse, Serve, Tables
from tests.servers.processes import Browser, Kind
from tests.settings import base


def test_signing_in_and_a_whole_reply(kind: Kind, serve: Serve, fake_openai: FakeOpenAI) -> None:
    server = serve(kind)
    browser = Browser(server)
    assert browser.ask().status_code == 401
    browser.sign_in()
    token, browser.token = browser.token, ""
    assert browser.ask().status_code == 403
    browser.token = token
    fake_openai.assert_nothing_asked()
    fake_openai.reply("Hello there")
    answer = browser.ask("Hi")
    assert answer.status_code == 200, server.said()
    assert answer.json()["message"]["content"] == "Hello there"
    turn = browser.turn(answer.json()["turn_id"])
    assert (turn["status"], turn["text"]) == ("completed", "Hello there")
    browser.close()


def test_a_stream_streams(
    kind: Kind, serve: Serve, browse: Browse, fake_openai: FakeOpenAI, gate: Gate, tables: Tables
) -> None:
    """The first words are read while the provider still holds back the last."""
    fake_openai.script(Answer(chunks=["Once ", "upon ", "a ", "time"], stall_after=2, stall=gate))
    browser = browse(serve(kind))
    with browser.stream("Tell me a tale") as stream:
        assert stream.response.headers["content-type"] == "text/event-stream"
        stream.read_to("Once upon ")
        assert stream.types == ["start", "content"]
        (request,) = fake_openai.calls
        assert request.finished is None
        assert tables.turn(stream.turn_id)["status"] == "running"
        gate.open()
        stream.read_all()
    assert stream.text == "Once upon a time"
    assert stream.types == ["start", "content", "finish", "done"]
    assert tables.turn(stream.turn_id)["status"] == "completed"
    assert tables.messages(stream.conversation_id) == [
        ("user", "Tell me a tale", "complete"),
        ("assistant", "Once upon a time", "complete"),
    ]
    assert [row["usage_source"] for row in tables.attempts(stream.turn_id)] == ["provider"]


def test_every_piece_comes_by_itself(
    kind: Kind, serve: Serve, browse: Browse, fake_openai: FakeOpenAI
) -> None:
    """Each piece is read before the provider has sent the one after the next."""
    pieces = [f"{number} " for number in range(8)]
    fake_openai.reply(chunks=pieces, delay=0.1)
    with browse(serve(kind)).stream() as stream:
        ahead = []
        for event in stream:
            if event["type"] == "content":
                ahead.append(fake_openai.calls[0].pieces_sent - len(stream.text.split()))
    assert stream.text == "".join(pieces)
    # A busy machine may be late once or twice, and send two pieces as one; a buffer would each time.
    assert len(ahead) > len(pieces) // 2
    assert sorted(ahead)[len(ahead) // 2] <= 1, ahead


def test_two_at_once_do_not_wait_for_each_other(
    kind: Kind, serve: Serve, browse: Browse, fake_openai: FakeOpenAI, gate: Gate
) -> None:
    fake_openai.when(question="slow").answer(Answer(chunks=["One ", "two"], stall_after=1, stall=gate))
    server = serve(kind)
    with browse(server).stream("slow") as slow:
        slow.read_to("One ")
        fake_openai.reply("Quick")
        assert browse(server).ask("quick").json()["message"]["content"] == "Quick"
        busy = browse(server).ask("again", conversation_id=slow.conversation_id)
        assert (busy.status_code, busy.json()["error"]["turn_id"]) == (409, slow.turn_id)
        gate.open()
        slow.read_all()
    assert slow.text == "One two"


def test_the_same_key_at_another_server(
    serve: Serve, browse: Browse, fake_openai: FakeOpenAI, gate: Gate
) -> None:
    """Whichever process the repeat comes to, it follows the one turn."""
    fake_openai.script(Answer(chunks=["One ", "two"], stall_after=1, stall=gate))
    with browse(serve("uvicorn")).stream(key="k1") as first:
        first.read_to("One ")
        with browse(serve("gunicorn")).stream(key="k1") as second:
            second.read_to("One ")
            gate.open()
            second.read_all()
        first.read_all()
    assert second.turn_id == first.turn_id
    assert second.text == first.text == "One two"
    assert second.seen[-2] == first.seen[-2]
    assert len(fake_openai.calls) == 1


@pytest.mark.parametrize("kind", ["uvicorn", "gunicorn"])
def test_a_site_with_everything_in_the_way(
    kind: Kind, start: Serve, fake_openai: FakeOpenAI, gate: Gate
) -> None:
    """Compression, tokens and saving in the session, sign-in for all, a transaction around each request."""
    server = start(
        kind,
        OPENAI_BASE_URL=fake_openai.base_url,
        CSRF_USE_SESSIONS=True,
        SESSION_SAVE_EVERY_REQUEST=True,
        DATABASE={"ATOMIC_REQUESTS": True},
        MIDDLEWARE=[
            "django.middleware.gzip.GZipMiddleware",
            *base.MIDDLEWARE,
            "django.contrib.auth.middleware.LoginRequiredMiddleware",
        ],
    )
    fake_openai.script(Answer(chunks=["Once ", "upon "], stall_after=1, stall=gate))
    browser = Browser(server)
    assert browser.ask().status_code == 401
    browser.sign_in()
    with browser.stream() as stream:
        stream.read_to("Once ")
        assert fake_openai.calls[0].finished is None
        gate.open()
        stream.read_all()
    assert stream.text == "Once upon "
    browser.close()
