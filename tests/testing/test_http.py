"""The server spoken to with bare sockets."""

import asyncio
import socket
import time
from collections.abc import Iterator

import pytest

from django_chatgpt.testing import Answer, FakeOpenAI, Gate, Request
from django_chatgpt.testing.server import LoopbackServer

BODY = b'{"model":"gpt-6-luna","messages":[{"role":"user","content":"Hi"}]}'
HEAD = b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer k\r\n"
WHOLE = HEAD + b"Content-Length: %d\r\n\r\n" % len(BODY) + BODY


@pytest.fixture
def client(fake: FakeOpenAI) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", int(fake.url.rpartition(":")[2])), timeout=5) as client:
        yield client


def read(client: socket.socket, until: bytes) -> bytes:
    """Everything up to some bytes, or to the end."""
    data = b""
    while until not in data and (more := client.recv(65536)):
        data += more
    return data


def test_a_request_in_single_bytes(fake: FakeOpenAI, client: socket.socket) -> None:
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for byte in WHOLE:
        client.sendall(bytes([byte]))
    assert b"You said: Hi" in read(client, b'"usage"')
    assert len(fake.requests) == 1


@pytest.mark.parametrize(
    "parts",
    [
        [HEAD[:30], HEAD[30:] + b"Content-Length: %d\r\n\r\n" % len(BODY), BODY[:9], BODY[9:]],
        [
            HEAD + b"Transfer-Encoding: chunked\r\n\r\n",
            b"a;x",
            b"=y\r\n" + BODY[:4],
            BODY[4:10] + b"\r\n",
            b"%X\r\n" % (len(BODY) - 10) + BODY[10:] + b"\r\n0\r\n",
            b"\r\n",
        ],
    ],
    ids=["announced", "chunked"],
)
def test_a_request_in_parts(client: socket.socket, parts: list[bytes]) -> None:
    for part in parts:
        client.sendall(part)
        time.sleep(0.05)
    assert b"You said: Hi" in read(client, b'"usage"')


def test_two_requests_at_once_are_answered_in_order(fake: FakeOpenAI, client: socket.socket) -> None:
    fake.script("first", "second")
    client.sendall(WHOLE * 2)
    answered = b""
    while answered.count(b'"usage"') < 2:
        answered += client.recv(65536)
    assert 0 < answered.index(b"first") < answered.index(b"second")
    assert fake.requests[0].connection == fake.requests[1].connection


def test_a_request_while_the_one_before_is_answered(fake: FakeOpenAI, client: socket.socket) -> None:
    gate = Gate()
    fake.script(Answer("first", stall_after=1, stall=gate), "second")
    client.sendall(WHOLE)
    assert gate.reached.wait(5)
    client.sendall(WHOLE)
    time.sleep(0.05)
    assert len(fake.requests) == 1
    gate.open()
    assert b"first" in read(client, b"second")


def test_waiting_to_be_told_to_continue(client: socket.socket) -> None:
    client.sendall(HEAD + b"Expect: 100-continue\r\nContent-Length: %d\r\n\r\n" % len(BODY))
    assert read(client, b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
    client.sendall(BODY)
    assert read(client, b"\r\n\r\n").startswith(b"HTTP/1.1 200 OK\r\n")


def test_closing_when_asked_to(fake: FakeOpenAI, client: socket.socket) -> None:
    client.sendall(WHOLE.replace(b"Host: x", b"Connection: close"))
    assert b"You said: Hi" in read(client, b"never")
    assert fake.requests[0].status == 200


@pytest.mark.parametrize(
    "garbage",
    [
        b"hello\r\n\r\n",
        b"GET / SPDY/3\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: x\r\n\r\n",
        b"x" * 70_000,
        HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
    ],
)
def test_what_is_not_http(fake: FakeOpenAI, client: socket.socket, garbage: bytes) -> None:
    client.sendall(garbage)
    assert read(client, b"never").startswith(b"HTTP/1.1 400 Bad Request\r\n")
    fake.assert_nothing_asked()


def test_leaving_in_the_middle_of_a_request(fake: FakeOpenAI, client: socket.socket) -> None:
    client.sendall(WHOLE[:-5])
    client.shutdown(socket.SHUT_WR)
    assert client.recv(1) == b""
    fake.assert_nothing_asked()


def test_start_and_stop() -> None:
    fake = FakeOpenAI()
    fake.stop()
    fake.start()
    with pytest.raises(RuntimeError, match="already running"):
        fake.start()
    port = int(fake.url.rpartition(":")[2])
    fake.stop()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port))
    with FakeOpenAI(port=port) as again:
        assert again.base_url == f"http://127.0.0.1:{port}/v1"
        with pytest.raises(OSError, match="in use"):
            FakeOpenAI(port=port).start()


def test_stopping_lets_go_of_clients(fake: FakeOpenAI, client: socket.socket) -> None:
    fake.reply("Hello", wait=60)
    client.sendall(WHOLE)
    fake.wait_for()
    fake.stop()
    assert client.recv(1) == b""
    assert fake.wait_for(finished=True)[0].disconnected is False
    assert fake.open_connections == 0


def test_stopping_ends_what_a_responder_began(fake: FakeOpenAI, client: socket.socket) -> None:
    begun: list[asyncio.Task[None]] = []

    async def responder(request: Request) -> str:
        begun.append(asyncio.create_task(asyncio.sleep(60)))
        return "Hello"

    fake.respond_with(responder)
    client.sendall(WHOLE)
    assert b"Hello" in read(client, b'"usage"')
    fake.stop()
    assert begun[0].cancelled()


def test_a_header_that_cannot_be_sent(fake: FakeOpenAI, client: socket.socket) -> None:
    fake.reply("Hello", headers={"x-price": "5 €"})
    client.sendall(WHOLE)
    assert b"500 Internal Server Error" in read(client, b"the fake failed")
    with pytest.raises(UnicodeEncodeError):
        fake.raise_errors()
    fake.reset()


def test_a_gate_may_outlive_its_server() -> None:
    gate = Gate()
    with FakeOpenAI() as fake:
        fake.reply("Hello", stall_after=0, stall=gate)
        with socket.create_connection(("127.0.0.1", int(fake.url.rpartition(":")[2]))) as client:
            client.sendall(WHOLE)
            assert gate.reached.wait(5)
    gate.open()


def test_a_server_that_does_not_run_has_nothing_to_drop() -> None:
    async def handler(request: object, reply: object) -> None:
        raise AssertionError

    server = LoopbackServer(handler)
    server.drop_busy()
    assert not server.running
