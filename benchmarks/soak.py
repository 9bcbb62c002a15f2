"""Minutes of everything at once, with people who leave and people who cancel: what is left when it is over?

    python -m benchmarks.soak [--minutes 10] [--people 24] [--postgres NAME] [--seed N]

So many people ask one uvicorn worker, one thing after the other, chosen by chance: streams read to their end,
left in the middle or cancelled, whole replies, functions, embeddings, and WebSockets where
`django-chatgpt[channels]` is installed. Then all of it has to be over: no running turn, no reservation, no
connection to the model, the ledger as the model counted, and memory that has not gone on growing. Exits with
an error where that does not hold.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import random
import re
import statistics
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from benchmarks.books import close
from benchmarks.chat import free_port, prepare, process, site
from benchmarks.load import Connection, Target
from benchmarks.streams import Worker, text_frame, upgrade, with_sockets

TURN = re.compile(rb'"turn_id":"([0-9a-f-]+)"')
#: How much more memory the last quarter may take than the second: the first fills what is kept for reuse.
GROWTH = 1.15
SAMPLE_SECONDS = 2.0
DONE, COMPLETE = b'"type":"done"', b'"type":"message_complete"'


class Person:
    """Somebody who asks one thing after the other."""

    def __init__(self, port: int, headers: dict[str, str], chance: random.Random, done: Counter[str]) -> None:
        self.port, self.headers, self.chance, self.done = port, headers, chance, done
        self.acts = [self.read, self.read, self.leave, self.cancel, self.whole, self.function, self.embed]
        if with_sockets():
            self.acts += [self.socket, self.socket]

    def target(self, path: str) -> Target:
        return Target(self.port, path, self.headers)

    async def live(self, until: float) -> None:
        while time.monotonic() < until:
            act = self.chance.choice(self.acts)
            await asyncio.wait_for(act(), 90)
            self.done[act.__name__] += 1

    def question(self, kind: str = "paced") -> dict[str, Any]:
        """A stream of one to four seconds, or of so many words at once."""
        number = self.chance.randint(20, 80)
        wanted = f"paced-20x{number}" if kind == "paced" else f"{kind}-{number}"
        return {"message": f"{wanted}: what do you think?", "model": "bench"}

    async def ask(self, path: str, body: dict[str, Any]) -> bytes:
        connection = Connection(self.target(path))
        try:
            return (await connection.ask(body)).body
        finally:
            connection.close()

    async def read(self) -> None:
        body = await self.ask("/ai/chat/", self.question() | {"stream": True})
        assert DONE in body, body[-300:]

    async def whole(self) -> None:
        body = await self.ask("/ai/chat/", self.question("burst"))
        assert b'"finish_reason":"stop"' in body, body[-300:]

    async def function(self) -> None:
        body = await self.ask("/ai/chat/", self.question("call") | {"stream": self.chance.random() < 0.5})
        assert b"word" in body, body[-300:]

    async def embed(self) -> None:
        texts = [f"text {self.chance.random()}" for _ in range(self.chance.randint(1, 5))]
        body = await self.ask("/ai/embeddings/", {"texts": texts, "model": "bench"})
        assert b'"count":%d' % len(texts) in body, body[-300:]

    async def leave(self) -> None:
        async with self.stream() as (reader, _):
            await self.wait_in(reader)

    async def cancel(self) -> None:
        async with self.stream() as (reader, turn_id):
            if await self.wait_in(reader):
                return
            await self.ask(f"/ai/turns/{turn_id}/cancel/", {})
            rest = await asyncio.wait_for(reader.readuntil(DONE), 10)
            assert b'"reason":' in rest, rest[-300:]

    @contextlib.asynccontextmanager
    async def stream(self) -> Any:
        """An open stream after its first event, and its turn."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port, limit=1 << 24)
        try:
            writer.write(self.target("/ai/chat/").request(self.question() | {"stream": True}))
            head = await reader.readuntil(b'"type":"start"')
            assert head.startswith(b"HTTP/1.1 200"), head[:300]
            found = TURN.search(await reader.readuntil(b"\n\n"))
            assert found
            yield reader, found[1].decode()
        finally:
            writer.close()

    async def wait_in(self, reader: asyncio.StreamReader, end: bytes = DONE) -> bool:
        """Look on for up to two seconds; whether the end came meanwhile."""
        seen = b""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self.chance.uniform(0, 2)):
                while end not in seen:
                    seen += await reader.read(65536)
        return end in seen

    async def socket(self) -> None:
        """Ask over a WebSocket; read to the end, cancel, or leave in the middle."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port, limit=1 << 24)
        try:
            writer.write(upgrade(self.target("/ws/ai/chat/")))
            await reader.readuntil(b"connection_established")
            writer.write(text_frame({"type": "chat_message"} | self.question()))
            await reader.readuntil(b"processing_start")
            found = TURN.search(await reader.readuntil(b"content_chunk"))
            assert found
            way = self.chance.choice(("read", "cancel", "leave"))
            over = way != "read" and await self.wait_in(reader, COMPLETE)
            if way == "cancel" and not over:
                writer.write(text_frame({"type": "cancel", "turn_id": found[1].decode()}))
            if way != "leave" and not over:
                await reader.readuntil(COMPLETE)
        finally:
            writer.close()


async def soak(people: list[Person], worker: Worker, seconds: float) -> list[int]:
    """Let them live. The worker's memory meanwhile, in KiB."""
    until = time.monotonic() + seconds
    memory: list[int] = []

    async def sample() -> None:
        while True:
            memory.append(worker.memory_kib())
            await asyncio.sleep(SAMPLE_SECONDS)

    sampling = asyncio.create_task(sample())
    try:
        async with asyncio.TaskGroup() as group:
            for person in people:
                group.create_task(person.live(until))
    finally:
        sampling.cancel()
    return memory


def growth(memory: list[int]) -> float:
    """The last quarter's memory against the second's."""
    quarter = max(1, len(memory) // 4)
    return statistics.mean(memory[-quarter:]) / statistics.mean(memory[quarter : 2 * quarter] or memory)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--people", type=int, default=24)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--postgres", metavar="NAME", help="a database on this machine instead of SQLite")
    args = parser.parse_args()
    chance, done = random.Random(args.seed), Counter[str]()
    model_port, port = free_port(), free_port()
    with tempfile.TemporaryDirectory() as folder:
        database = os.path.realpath(Path(folder) / "bench.sqlite3")
        env = {"BENCH_UPSTREAM": f"http://127.0.0.1:{model_port}/v1", "BENCH_DATABASE": database}
        env |= {"BENCH_BUDGETS": "1", "BENCH_CHANNELS": "1", "BENCH_FUNCTIONS": "1"}
        env |= {"BENCH_POSTGRES": args.postgres} if args.postgres else {}
        made = prepare(env)
        cookies = f"sessionid={made['session']}; csrftoken={made['csrf']}"
        headers = {"cookie": cookies, "x-csrftoken": made["csrf"]}
        with (
            process("-m", "benchmarks.pacer", "--port", str(model_port), env=env, port=model_port),
            process(*site(port), env=env, port=port) as server,
        ):
            worker = Worker(server, model_port, database, args.postgres)
            people = [Person(port, headers, chance, done) for _ in range(args.people)]
            memory = asyncio.run(soak(people, worker, args.minutes * 60))
            wrong = close(env, model_port, 90)
            connections = worker.database_connections()
    grown = growth(memory)
    print(f"seed {args.seed}; {sum(done.values())} things done: {dict(done)}; not measured: ", end="")
    print("none" if with_sockets() else "WebSockets, django-chatgpt[channels] is not installed")
    print(
        f"memory {memory[0]} KiB at first, {memory[-1]} at last, x {grown:.3f}; {connections} to the database"
    )
    if grown > GROWTH:
        wrong.append(f"memory has grown x {grown:.2f}")
    if wrong:
        raise SystemExit("; ".join(wrong[:20]))
    print("nothing is left open, and the ledger says what the model counted")


if __name__ == "__main__":
    main()
