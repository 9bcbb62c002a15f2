"""Over TLS: answers arrive, and closing wakes a thread that is blocked in a read."""

import asyncio
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from django_chatgpt import providers
from django_chatgpt.exceptions import ProviderProtocolError, ProviderUnavailableError
from django_chatgpt.providers import clients
from tests.providers.conftest import Colour, listen, question, transport

CERTIFICATE = Path(__file__).parent / "loopback.pem"


class Server:
    """Sends one word over TLS, then nothing; knows when its client has gone."""

    def __init__(self) -> None:
        self.port = 0
        self.gone = threading.Event()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()))
        self._thread.start()
        self._ready.wait(5)

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(5)

    async def _serve(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(CERTIFICATE)
        server = await asyncio.start_server(self._answer, "127.0.0.1", 0, ssl=context)
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        async with server:
            await self._stop.wait()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(
            b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"
            b'data: {"choices": [{"delta": {"content": "Hello"}}]}\n\n'
        )
        with suppress(OSError):
            while await reader.read(1000):
                pass
        self.gone.set()
        writer.close()


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.stop()


@pytest.fixture
def _trusted(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The machine trusts the certificate, the way an administrator would make it."""
    monkeypatch.setenv("SSL_CERT_FILE", str(CERTIFICATE))
    clients.tls_context.cache_clear()
    yield
    clients.tls_context.cache_clear()


@pytest.mark.usefixtures("_trusted")
def test_closing_wakes_a_read_of_another_thread(server: Server) -> None:
    stream = providers.open_stream(question(f"https://localhost:{server.port}/v1"))
    heard: list[str] = []
    ends: list[Exception] = []

    def read() -> None:
        try:
            while (delta := stream.read(60)) is not None:
                heard.append(delta.text)
        except Exception as error:
            ends.append(error)

    reader = threading.Thread(target=read)
    reader.start()
    deadline = time.monotonic() + 5
    while "Hello" not in heard and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(0.1)
    started = time.monotonic()
    stream.close()
    reader.join(5)
    assert server.gone.wait(5)
    assert time.monotonic() - started < 4
    assert heard == ["Hello"]
    assert isinstance(ends[0], ProviderProtocolError)


@pytest.mark.usefixtures("_trusted")
def test_closing_is_noticed_at_once(server: Server, async_colour: Colour) -> None:
    async def main() -> None:
        async with transport(async_colour):
            stream = await providers.aopen_stream(question(f"https://localhost:{server.port}/v1"))
            while (delta := await stream.read(5)) is not None and not delta.text:
                pass
            started = time.monotonic()
            await stream.aclose()
            assert await asyncio.to_thread(server.gone.wait, 5)
            assert time.monotonic() - started < 4

    asyncio.run(main())


def test_a_certificate_nobody_vouches_for(server: Server, colour: Colour) -> None:
    heard = listen(question(f"https://localhost:{server.port}/v1"), colour)
    assert type(heard.error) is ProviderUnavailableError
