"""How late the pieces of many streams at once are: stored and accounted, through one uvicorn worker.

    python -m benchmarks.streams [--streams N] [--sockets N] [--seconds N] [--tuned] [--find]

A model in a process of its own sends each stream 20 pieces a second, each with the moment at which it was
due; the client, another process, takes down how much later it gets them: the lag. Counted are the seconds in
which all streams run. Streams over HTTP (SSE) come first, then as many WebSockets as `--sockets` says, where
`django-chatgpt[channels]` is installed. `--find` looks besides for the largest number of streams whose p99
lag is below 50 ms. Reported too: memory of the worker, its connections to the database and to the model, and
what is left when all is over. Exits with an error where something is left open or the ledger does not add up.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import importlib.util
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from array import array
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from benchmarks.books import close
from benchmarks.chat import cpu_seconds, free_port, prepare, process, site
from benchmarks.load import Target
from benchmarks.pacer import RATE

Door = Literal["sse", "websocket"]

AIM_MS = 50.0
#: Streams that are begun in a second, so that what beginning takes is not measured.
BEGUN_A_SECOND = 25
DUE = re.compile(rb"@(\d+)[\" ]")
#: Room for all who connect at once; and the client is too simple to answer the pings of a socket.
MANY = ("--backlog", "2048", "--ws-ping-timeout", "600")
QUESTION = "A line of a conversation, about as long as people write them when they chat with a model."


@dataclass
class Figures:
    """What one number of streams came to; times in milliseconds, memory in KiB."""

    door: Door
    streams: int
    p50_ms: float
    p99_ms: float
    worst_ms: float
    pieces: int
    cpu_cores: float
    kib_a_stream: float
    database_connections: int
    model_connections: int


class Watcher(asyncio.Protocol):
    """One stream, over either door, as cheap as can be: pieces are looked for in the bytes as they come."""

    def __init__(
        self, door: Door, target: Target, question: str, lags: array[float], dues: array[float]
    ) -> None:
        self.door, self.target, self.question = door, target, question
        self.lags, self.dues = lags, dues
        self.pieces = 0
        self.first = asyncio.get_running_loop().create_future()
        self.over = asyncio.get_running_loop().create_future()
        self.rest = b""
        self.begun = False

    def connection_made(self, transport: Any) -> None:
        self.transport: asyncio.Transport = transport
        if self.door == "sse":
            body = {"message": self.question, "model": "bench", "stream": True}
            transport.write(self.target.request(body))
            return
        transport.write(upgrade(self.target))

    def data_received(self, data: bytes) -> None:
        now = time.monotonic() * 1e6
        data = self.rest + data
        # A piece may be torn; its end comes with the next read.
        end = max(data.rfind(b"\n"), data.rfind(b"}")) + 1
        body, self.rest = data[:end], data[end:]
        if not self.begun and b"\r\n\r\n" in body:
            self.begun = True
            if not body.startswith((b"HTTP/1.1 200", b"HTTP/1.1 101")):
                self.fail(RuntimeError(body[:500].decode(errors="replace")))
                return
            if self.door == "websocket":
                self.transport.write(
                    text_frame({"type": "chat_message", "message": self.question, "model": "bench"})
                )
        for due in DUE.findall(body):
            self.pieces += 1
            self.dues.append(float(due))
            self.lags.append(now - float(due))
        if self.pieces and not self.first.done():
            self.first.set_result(None)
        if b'"type":"error"' in body:
            self.fail(RuntimeError(body[-500:].decode(errors="replace")))
        elif b'"type":"done"' in body or b'"type":"message_complete"' in body:
            self.end()

    def connection_lost(self, error: Exception | None) -> None:
        self.fail(error or RuntimeError("the server closed the connection"))

    def fail(self, error: Exception) -> None:
        for future in (self.first, self.over):
            if not future.done():
                future.set_exception(error)

    def end(self) -> None:
        if not self.over.done():
            self.over.set_result(None)
        self.transport.close()


def upgrade(target: Target) -> bytes:
    headers = {
        "host": f"127.0.0.1:{target.port}",
        "upgrade": "websocket",
        "connection": "Upgrade",
        "sec-websocket-key": base64.b64encode(os.urandom(16)).decode(),
        "sec-websocket-version": "13",
        "cookie": target.headers["cookie"],
    }
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"GET {target.path} HTTP/1.1\r\n{lines}\r\n".encode()


def text_frame(message: dict[str, Any]) -> bytes:
    """A masked text frame, with a mask that changes nothing."""
    data = json.dumps(message).encode()
    length = bytes([0x80 | len(data)]) if len(data) < 126 else b"\xfe" + len(data).to_bytes(2)
    return b"\x81" + length + b"\0\0\0\0" + data


class Worker:
    """The measured process, seen from outside."""

    def __init__(self, pid: int, model_port: int, database: str, postgres: str | None) -> None:
        self.pid, self.model_port = pid, model_port
        self.database, self.postgres = database, postgres

    def memory_kib(self) -> int:
        lines = Path(f"/proc/{self.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS:"))

    def model_connections(self) -> int:
        """Open connections to the model, by the table of the machine's sockets: state 01 is established."""
        wanted = f":{self.model_port:04X}"
        rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
        return sum(row[2].endswith(wanted) and row[3] == "01" for row in rows)

    def database_connections(self) -> int:
        """To PostgreSQL by its own count, else open files of the database."""
        if self.postgres:
            sql = f"select count(*) from pg_stat_activity where datname = '{self.postgres}'"
            done = subprocess.run(
                [
                    "psql",
                    "-h",
                    "127.0.0.1",
                    "-U",
                    os.environ.get("PGUSER", "postgres"),
                    "-Atc",
                    sql,
                    "postgres",
                ],
                check=True,
                capture_output=True,
                text=True,
            )
            return int(done.stdout)
        files = Path(f"/proc/{self.pid}/fd").iterdir()
        return sum(os.path.realpath(file) == self.database for file in files)


async def run(door: Door, target: Target, worker: Worker, streams: int, seconds: float) -> Figures:
    """Begin so many streams one after the other, let them run together, and wait until all have ended."""
    loop = asyncio.get_running_loop()
    ramp = streams / BEGUN_A_SECOND
    pieces = int((ramp * 1.5 + seconds + 2) * RATE)
    question = f"paced-{RATE}x{pieces}: {QUESTION}"
    lags, dues = array("d"), array("d")
    before = worker.memory_kib()
    watchers: list[Watcher] = []
    for _ in range(streams):
        _, watcher = await loop.create_connection(
            lambda: Watcher(door, target, question, lags, dues),
            "127.0.0.1",
            target.port,
        )
        watchers.append(watcher)
        await asyncio.sleep(1 / BEGUN_A_SECOND)
    await asyncio.gather(*(watcher.first for watcher in watchers))
    await asyncio.sleep(1)
    begin, cpu = time.monotonic(), cpu_seconds(worker.pid)
    await asyncio.sleep(seconds / 2)
    memory, to_database = worker.memory_kib() - before, worker.database_connections()
    to_model = worker.model_connections()
    await asyncio.sleep(seconds / 2)
    end, cpu = time.monotonic(), cpu_seconds(worker.pid) - cpu
    if any(watcher.over.done() for watcher in watchers):
        print("  some streams ended within the time that is measured: begin was too slow", file=sys.stderr)
    await asyncio.gather(*(watcher.over for watcher in watchers))
    wrong = [watcher.pieces for watcher in watchers if watcher.pieces != pieces]
    if wrong:
        raise SystemExit(
            f"{len(wrong)} of {streams} streams have not all of their {pieces} pieces: {wrong[:5]}"
        )
    await asyncio.sleep(1)
    due = np.frombuffer(dues)
    lag = np.frombuffer(lags)[(due >= begin * 1e6) & (due < end * 1e6)] / 1000
    p50, p99 = np.percentile(lag, [50, 99])
    return Figures(
        door=door,
        streams=streams,
        p50_ms=float(p50),
        p99_ms=float(p99),
        worst_ms=float(np.max(lag)),
        pieces=len(lag),
        cpu_cores=cpu / (end - begin),
        kib_a_stream=memory / streams,
        database_connections=to_database,
        model_connections=to_model,
    )


async def largest(door: Door, target: Target, worker: Worker, most: int, seconds: float) -> list[Figures]:
    """The largest number of streams that holds the aim, to within 25."""
    tried: list[Figures] = []
    good, bad = 0, most + 25
    while bad - good > 25:
        middle = (good + bad) // 50 * 25 or 25
        tried.append(await run(door, target, worker, middle, seconds))
        print(line(tried[-1]), flush=True)
        good, bad = (middle, bad) if tried[-1].p99_ms < AIM_MS else (good, middle)
    return tried


def line(found: Figures) -> str:
    return (
        f"{found.door:9} {found.streams:5} streams: lag p50 {found.p50_ms:.1f}, p99 {found.p99_ms:.1f}, "
        f"worst {found.worst_ms:.0f} ms; {found.cpu_cores:.2f} cores; {found.kib_a_stream:.0f} KiB a stream; "
        f"connections: database {found.database_connections}, model {found.model_connections}"
    )


def with_sockets() -> bool:
    return all(
        importlib.util.find_spec(name) for name in ("channels", "websockets", "django_chatgpt.routing")
    )


async def measure(
    args: argparse.Namespace, worker: Worker, port: int, headers: dict[str, str]
) -> list[Figures]:
    sse = Target(port, "/ai/chat/", headers)
    # The first turns import and connect.
    await run("sse", sse, worker, 10, 1)
    found = [await run("sse", sse, worker, number, args.seconds) for number in args.streams]
    for each in found:
        print(line(each), flush=True)
    if args.find:
        found += await largest("sse", sse, worker, max(args.streams), args.seconds)
    if not with_sockets():
        print("websocket: not measured, django-chatgpt[channels] is not installed")
        return found
    for number in args.sockets:
        found.append(
            await run("websocket", Target(port, "/ws/ai/chat/", headers), worker, number, args.seconds)
        )
        print(line(found[-1]), flush=True)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--streams", type=int, nargs="*", default=[500], metavar="N", help="over HTTP")
    parser.add_argument("--sockets", type=int, nargs="*", default=[400], metavar="N", help="WebSockets")
    parser.add_argument("--seconds", type=float, default=10, help="to measure, when all have begun")
    parser.add_argument("--tuned", action="store_true", help="with the lines for many streams in asgi.py")
    parser.add_argument("--find", action="store_true", help="look for the largest number that holds the aim")
    parser.add_argument("--postgres", metavar="NAME", help="a database on this machine instead of SQLite")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there")
    args = parser.parse_args()
    model_port, port = free_port(), free_port()
    with tempfile.TemporaryDirectory() as folder:
        database = os.path.realpath(Path(folder) / "bench.sqlite3")
        env = {"BENCH_UPSTREAM": f"http://127.0.0.1:{model_port}/v1", "BENCH_DATABASE": database}
        env |= {"BENCH_BUDGETS": "1", "BENCH_CHANNELS": "1"}
        env |= {"BENCH_TUNED": "1"} if args.tuned else {}
        env |= {"BENCH_POSTGRES": args.postgres} if args.postgres else {}
        made = prepare(env)
        headers = {
            "cookie": f"sessionid={made['session']}; csrftoken={made['csrf']}",
            "x-csrftoken": made["csrf"],
        }
        with (
            process("-m", "benchmarks.pacer", "--port", str(model_port), env=env, port=model_port),
            process(*site(port), *MANY, env=env, port=port) as server,
        ):
            worker = Worker(server, model_port, database, args.postgres)
            found = asyncio.run(measure(args, worker, port, headers))
            wrong = close(env, model_port)
    held = [f"{each.streams} {each.door}" for each in found if each.p99_ms < AIM_MS]
    print(f"p99 below {AIM_MS:.0f} ms: {', '.join(held) or 'none'}")
    if args.json:
        args.json.write_text(json.dumps([asdict(each) for each in found], indent=2) + "\n")
    if wrong:
        raise SystemExit("; ".join(wrong[:20]))


if __name__ == "__main__":
    main()
