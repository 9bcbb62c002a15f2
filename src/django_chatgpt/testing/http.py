"""As much of HTTP/1.1 as a client of OpenAI speaks, on asyncio: keep-alive, chunked bodies, nothing else."""

import asyncio
import itertools
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import TypeAlias, cast

_numbers = itertools.count(1)
_MAX_HEAD = 64 * 1024


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """A request as it came: lower-case header names, the body whole."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes
    connection: int

    @property
    def path(self) -> str:
        return self.target.partition("?")[0]


class BadRequest(Exception):
    """Bytes that are not HTTP."""


Handler: TypeAlias = Callable[[HttpRequest, "Reply"], Awaitable[None]]


class Reply:
    """The answer to one request: either `whole`, or `start`, any number of `write`, and `finish` or `cut`.

    `on_status` and `on_end` are called before the bytes go out that tell the client, so that whoever has the
    answer finds it on record.
    """

    def __init__(self, connection: "Connection") -> None:
        self._connection = connection
        self.on_status: Callable[[int], None] = lambda status: None
        self.on_end: Callable[[], None] = lambda: None
        self.done = False

    @property
    def client_gone(self) -> bool:
        return self._connection.client_gone

    def whole(self, status: int, headers: Mapping[str, str], body: bytes, *, upto: int | None = None) -> None:
        """Send everything; with `upto` only so many bytes of the body, though all are announced."""
        head = _head(status, {**headers, "content-length": str(len(body))})
        self.on_status(status)
        self.on_end()
        self._connection.send(head + body[:upto])
        self.done = upto is None

    def start(self, status: int, headers: Mapping[str, str]) -> None:
        """Send the headers of a body that comes in pieces."""
        head = _head(status, {**headers, "transfer-encoding": "chunked"})
        self.on_status(status)
        self._connection.send(head)

    async def write(self, data: bytes) -> None:
        """Send a piece as a chunk of its own, waiting while the client does not read."""
        self._connection.send(b"%x\r\n%b\r\n" % (len(data), data))
        await self._connection.writable()

    def finish(self, data: bytes = b"") -> None:
        """Send a last piece, if any, and the end of the body."""
        self.on_end()
        last = b"%x\r\n%b\r\n" % (len(data), data) if data else b""
        self._connection.send(last + b"0\r\n\r\n")
        self.done = True

    def cut(self) -> None:
        """Close the connection in the middle, after what was written has gone out."""
        self.on_end()
        self._connection.close()
        self.done = True


class Connection(asyncio.Protocol):
    """One TCP connection: reads requests, has them handled one after the other, notices when the client
    leaves.
    """

    def __init__(self, handler: Handler, open_connections: "set[Connection]") -> None:
        self.number = next(_numbers)
        self.client_gone = False
        self._handler = handler
        self._open = open_connections
        self._buffer = bytearray()
        self._task: asyncio.Task[None] | None = None
        self._drained = asyncio.Event()
        self._drained.set()
        self._closing = False
        self._continued = False

    @property
    def busy(self) -> bool:
        return self._task is not None

    def send(self, data: bytes) -> None:
        self._transport.write(data)

    async def writable(self) -> None:
        if not self._drained.is_set():
            await self._drained.wait()

    def close(self) -> None:
        """Close once what was written has been sent; an open request is not told."""
        self._closing = True
        self._transport.close()

    def abort(self) -> None:
        """Drop the connection and whatever was still to be sent."""
        self._closing = True
        if self._task is not None:
            self._task.cancel()
        self._transport.abort()

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._open.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._open.discard(self)
        self._leave()

    def eof_received(self) -> None:
        self._leave()

    def pause_writing(self) -> None:
        self._drained.clear()

    def resume_writing(self) -> None:
        self._drained.set()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if self._task is None:
            self._next()

    def _leave(self) -> None:
        if not self._closing:
            self.client_gone = True
            if self._task is not None:
                self._task.cancel()
        self._drained.set()

    def _next(self) -> None:
        try:
            request = self._parse()
        except (BadRequest, ValueError):
            self.send(_head(400, {"content-length": "0", "connection": "close"}))
            self.close()
            return
        if request is not None:
            self._task = asyncio.get_running_loop().create_task(self._handle(request))

    async def _handle(self, request: HttpRequest) -> None:
        reply = Reply(self)
        try:
            await self._handler(request, reply)
        except asyncio.CancelledError:
            pass  # the client left, or the server is being stopped
        finally:
            self._task = None
            if not reply.done or request.headers.get("connection", "").lower() == "close":
                self.close()
        if self._buffer and not self._transport.is_closing():
            self._next()

    def _parse(self) -> HttpRequest | None:
        """The next whole request in the buffer; None while some of it is still to come."""
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            if len(self._buffer) > _MAX_HEAD:
                raise BadRequest
            return None
        first, *lines = bytes(self._buffer[:end]).decode("latin-1").split("\r\n")
        words = first.split(" ")
        if len(words) != 3 or not words[2].startswith("HTTP/1."):
            raise BadRequest
        headers = {
            name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)
        }
        if headers.get("expect", "").lower() == "100-continue" and not self._continued:
            self._continued = True
            self.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        found = self._body(end + 4, headers)
        if found is None:
            return None
        body, used = found
        del self._buffer[:used]
        self._continued = False
        return HttpRequest(words[0], words[1], headers, body, self.number)

    def _body(self, start: int, headers: dict[str, str]) -> tuple[bytes, int] | None:
        """The body and where it ends in the buffer."""
        if headers.get("transfer-encoding", "").lower() != "chunked":
            end = start + int(headers.get("content-length", "0"))
            return (bytes(self._buffer[start:end]), end) if len(self._buffer) >= end else None
        body = bytearray()
        while (line := self._buffer.find(b"\r\n", start)) >= 0:
            size = int(bytes(self._buffer[start:line]).partition(b";")[0], 16)
            start = line + 2 + size + 2
            if len(self._buffer) < start:
                return None
            if size == 0:
                return bytes(body), start
            body += self._buffer[line + 2 : line + 2 + size]
        return None


def _head(status: int, headers: Mapping[str, str]) -> bytes:
    try:
        reason = HTTPStatus(status).phrase
    except ValueError:
        reason = "Unknown"
    lines = [f"HTTP/1.1 {status} {reason}", *(f"{name}: {value}" for name, value in headers.items())]
    return "\r\n".join((*lines, "", "")).encode("latin-1")
