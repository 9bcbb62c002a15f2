"""A client that costs little: raw requests over kept connections, so that the server is what is measured."""

from __future__ import annotations

import asyncio
import re
import time
from dataclasses import dataclass, field

from pydantic_core import to_json

LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)


@dataclass
class Target:
    """A path of the site and the headers that open it."""

    port: int
    path: str
    headers: dict[str, str] = field(default_factory=dict)

    def request(self, body: object) -> bytes:
        data = to_json(body)
        headers = {
            "host": f"127.0.0.1:{self.port}",
            "content-type": "application/json",
            "content-length": str(len(data)),
        } | self.headers
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        return f"POST {self.path} HTTP/1.1\r\n{lines}\r\n".encode() + data


@dataclass
class Reply:
    """One answer: its bytes, and seconds until the first text and the end."""

    body: bytes
    first: float
    total: float


class Connection:
    """One kept connection."""

    def __init__(self, target: Target) -> None:
        self.target = target
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def ask(self, body: object) -> Reply:
        if self._streams is None:
            self._streams = await asyncio.open_connection("127.0.0.1", self.target.port, limit=1 << 24)
        reader, writer = self._streams
        started = time.perf_counter()
        writer.write(self.target.request(body))
        head = await reader.readuntil(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 200"):
            raise RuntimeError(head.decode() + (await reader.read(4000)).decode())
        length = LENGTH.search(head)
        if length:
            data = await reader.readexactly(int(length.group(1)))
            total = time.perf_counter() - started
            return Reply(data, total, total)
        data = bytearray()
        first = 0.0
        while not data.endswith(b"0\r\n\r\n"):
            piece = await reader.read(65536)
            if not piece:
                raise RuntimeError("the server closed the connection")
            data += piece
            if not first and b'"content":' in data:
                first = time.perf_counter() - started
        return Reply(bytes(data), first, time.perf_counter() - started)

    def close(self) -> None:
        if self._streams is not None:
            self._streams[1].close()


async def many(target: Target, body: object, *, at_once: int, number: int) -> tuple[float, list[Reply]]:
    """Ask `number` times over `at_once` connections. Seconds it took, and the replies."""
    left = iter(range(number))
    replies: list[Reply] = []

    async def worker() -> None:
        connection = Connection(target)
        for _ in left:
            replies.append(await connection.ask(body))
        connection.close()

    started = time.perf_counter()
    await asyncio.gather(*(worker() for _ in range(at_once)))
    return time.perf_counter() - started, replies
