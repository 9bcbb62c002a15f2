"""How much a stored turn costs against a relay on the bare SDK that stores nothing, as ratios of one run.

    python -m benchmarks.chat [--postgres NAME] [--quick] [--json FILE]

One uvicorn process serves both, behind the same sign-in and CSRF check; the upstream and the client are
processes of their own. Four figures:
turns per second of streams of 100 chunks, CPU per chunk at 20 chunks a second, time added to the first
text, and whole replies with 2, 20 and 200 messages of history. The two are asked in turns, a round each, and
a third view that does nothing but answer shows what server, Django and sign-in take by themselves.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

from benchmarks.load import Connection, Target, many

TICKS = os.sysconf("SC_CLK_TCK")
HISTORIES = (2, 20, 200)
ROUNDS = 3
LINE = "A line of a conversation, about as long as people write them when they chat with a model."


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


@contextlib.contextmanager
def process(*command: str, env: dict[str, str], port: int) -> Iterator[int]:
    running = subprocess.Popen([sys.executable, *command], env=os.environ | env)
    try:
        until = time.monotonic() + 60
        while not _listens(port):
            if running.poll() is not None or time.monotonic() > until:
                raise SystemExit(f"{' '.join(command)} does not answer")
            time.sleep(0.05)
        yield running.pid
    finally:
        running.terminate()
        running.wait()


def _listens(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 0.1):
        return True
    return False


def site(port: int) -> tuple[str, ...]:
    """How the site is served, by one worker."""
    return ("-m", "uvicorn", "benchmarks.site:application", "--port", str(port), "--log-level", "error")


def prepare(env: dict[str, str]) -> dict[str, Any]:
    """Migrate, and make a user, a session and conversations with a history. Their keys."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.fixtures", *map(str, HISTORIES)],
        env=os.environ | env,
        check=True,
        capture_output=True,
        text=True,
    )
    made: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return made


class Bench:
    def __init__(self, port: int, server: int, made: dict[str, Any], quick: bool) -> None:
        self.server = server
        self.made = made
        self.scale = 0.2 if quick else 1.0
        cookies = f"sessionid={made['session']}; csrftoken={made['csrf']}"
        headers = {"cookie": cookies, "x-csrftoken": made["csrf"]}
        self.ours = Target(port, "/ai/chat/", headers)
        self.relay = Target(port, "/relay/", headers)
        self.empty = Target(port, "/empty/", headers)

    def body(self, target: Target, model: str, *, stream: bool, history: int = 1) -> dict[str, Any]:
        if target is not self.ours:
            roles = ("user", "assistant")
            messages = [{"role": roles[n % 2], "content": LINE} for n in range(history)]
            return {
                "model": model,
                "stream": stream,
                "messages": [*messages, {"role": "user", "content": LINE}],
            }
        body: dict[str, Any] = {"message": LINE, "model": model, "stream": stream}
        if history > 1:
            body["conversation_id"] = self.made["conversations"][str(history)]
        return body

    async def turns_per_second(self, target: Target) -> float:
        body = self.body(target, "burst-100", stream=True)
        await many(target, body, at_once=16, number=16)
        number = int(600 / ROUNDS * self.scale)
        seconds, replies = await many(target, body, at_once=16, number=number)
        assert all(reply.body.count(b"word") >= 100 for reply in replies)
        return number / seconds

    async def cpu_per_chunk(self, target: Target) -> float:
        """Microseconds of the server's CPU for each chunk of 50 paced streams."""
        chunks = int(200 * max(self.scale, 0.3))
        body = self.body(target, f"paced-20x{chunks}", stream=True)
        before = cpu_seconds(self.server)
        await many(target, body, at_once=50, number=50)
        return (cpu_seconds(self.server) - before) / (50 * chunks) * 1e6

    async def first_text(self, target: Target) -> float:
        """Milliseconds until the first text, one stream at a time; the median."""
        connection = Connection(target)
        body = self.body(target, "burst-1", stream=True)
        firsts = [(await connection.ask(body)).first for _ in range(int(300 / ROUNDS * self.scale))]
        connection.close()
        return statistics.median(firsts[len(firsts) // 4 :]) * 1000

    async def whole(self, target: Target, history: int) -> float:
        """Milliseconds for a whole reply of one chunk, one at a time; the median.

        Each turn adds two messages to our history, so few are asked and the relay's history is our mean.
        """
        number = 7
        connection = Connection(target)
        asked = history if target is self.ours else history + number * ROUNDS
        totals = [
            (await connection.ask(self.body(target, "burst-20", stream=False, history=asked))).total
            for _ in range(number)
        ]
        connection.close()
        return statistics.median(totals[1:]) * 1000


async def in_turns(figure: Callable[[Target], Awaitable[float]], *targets: Target) -> list[float]:
    """The median of a few rounds for each target; whatever else the machine does meets all of them."""
    rounds = [[await figure(target) for target in targets] for _ in range(ROUNDS)]
    return [statistics.median(each) for each in zip(*rounds, strict=True)]


async def measure(bench: Bench, upstream: int) -> dict[str, Any]:
    direct = Target(upstream, "/v1/chat/completions")
    both, all_three = (bench.relay, bench.ours), (bench.relay, bench.ours, bench.empty)
    turns = await in_turns(bench.turns_per_second, *both)
    cpu = [await bench.cpu_per_chunk(target) for target in both]
    firsts = await in_turns(bench.first_text, *all_three, direct)
    wholes = {n: await in_turns(lambda target: bench.whole(target, n), *all_three) for n in HISTORIES}  # noqa: B023
    names = ("relay", "ours", "empty")
    figures: dict[str, Any] = {name: {"first_text_ms": firsts[at]} for at, name in enumerate(names)}
    for at, name in enumerate(names):
        figures[name]["whole_ms"] = {history: each[at] for history, each in wholes.items()}
    for at, name in enumerate(names[:2]):
        figures[name] |= {"turns_per_second": turns[at], "cpu_per_chunk_us": cpu[at]}
    return figures | {"first_text_direct_ms": firsts[3]}


def report(figures: dict[str, Any]) -> str:
    ours, relay, empty = figures["ours"], figures["relay"], figures["empty"]
    rows: list[tuple[str, float, float, float | None, str]] = [
        ("turns/s, streams of 100 chunks", relay["turns_per_second"], ours["turns_per_second"], None, ">= 4"),
        ("CPU per chunk at 20/s, us", relay["cpu_per_chunk_us"], ours["cpu_per_chunk_us"], None, "<= 0.3"),
    ]
    limits = {2: "<= 1.0", 20: "<= 0.4", 200: "<= 0.1"}
    rows += [
        (f"whole reply, history {n}, ms", *(each["whole_ms"][n] for each in (relay, ours, empty)), limits[n])
        for n in HISTORIES
    ]
    lines = [f"{'':34}{'bare SDK':>10}{'ours':>10}{'ratio':>8}   {'aim':8}{'empty view':>12}"]
    lines += [
        f"{name:34}{a:10.2f}{b:10.2f}{b / a:8.2f}   {aim:8}" + (f"{c:12.2f}" if c is not None else "")
        for name, a, b, c, aim in rows
    ]
    added = [each["first_text_ms"] - figures["first_text_direct_ms"] for each in (relay, ours, empty)]
    name = "added time to first text, ms"
    lines.append(f"{name:34}{added[0]:10.2f}{added[1]:10.2f}{'':8}   {'<= 5':8}{added[2]:12.2f}")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--postgres", metavar="NAME", help="a database on this machine instead of SQLite")
    parser.add_argument("--quick", action="store_true", help="a fifth of the work")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there")
    args = parser.parse_args()
    upstream, port = free_port(), free_port()
    with tempfile.TemporaryDirectory() as folder:
        env = {
            "BENCH_UPSTREAM": f"http://127.0.0.1:{upstream}/v1",
            "BENCH_DATABASE": str(Path(folder) / "bench.sqlite3"),
        }
        if args.postgres:
            env["BENCH_POSTGRES"] = args.postgres
        made = prepare(env)
        with (
            process("-m", "benchmarks.upstream", "--port", str(upstream), env=env, port=upstream),
            process(*site(port), env=env, port=port) as server,
        ):
            urllib.request.urlopen(f"http://127.0.0.1:{port}/ai/openapi.json").read()
            figures = asyncio.run(measure(Bench(port, server, made, args.quick), upstream))
    print(report(figures))
    if args.json:
        args.json.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
