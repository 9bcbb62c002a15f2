"""A model that answers many at an exact pace, costs little, and keeps count of what it was asked.

    python -m benchmarks.pacer --port PORT

The question says what is answered: `paced-20x100` is 100 chunks at 20 a second, `burst-20` is 20 at once, and
`call-20` calls the first function it is given and then says 20 words. Each paced chunk carries the moment at
which it was due, in microseconds of the machine's monotonic clock, as `@123456789`. One clock serves all: 20
times within the distance of two chunks those whose turn it is get theirs. Embeddings are answered too. As
JSON, `GET /counts` is how much was asked so far, and `GET /asked` the tokens of each request by its id, null
where nobody waited for its end.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import json
import re
import time
from typing import Any

import numpy as np

from benchmarks.upstream import FIRST, HEAD, chunk, frame

SLOTS = 20
HEADER = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)
WANTED = re.compile(r"(burst|paced|call)-(?:(\d+)x)?(\d+)")
RATE = 20


class Pace:
    """The clock of all paced streams."""

    def __init__(self) -> None:
        self.slots: list[set[Asked]] = [set() for _ in range(SLOTS)]

    def join(self, asked: Asked) -> None:
        min(self.slots, key=len).add(asked)

    async def run(self) -> None:
        step = 1 / RATE / SLOTS
        due, at = time.monotonic(), 0
        while True:
            due, at = due + step, (at + 1) % SLOTS
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            slot = self.slots[at]
            if slot:
                word = chunk({"content": f" @{int(due * 1e6)}"})
                for asked in [asked for asked in slot if asked.word(word)]:
                    slot.discard(asked)


class Counts:
    """What was asked, and how many answers are being given now."""

    def __init__(self) -> None:
        self.begun = 0
        self.open = 0
        self.most_connections = 0
        self.connections = 0


class Asked:
    """One streamed answer."""

    def __init__(self, line: Line, words: int) -> None:
        self.line = line
        self.left = self.words = words

    def word(self, data: bytes) -> bool:
        """Send one more; True after the last, or when nobody is there any more."""
        transport = self.line.transport
        if transport.is_closing():
            return True
        transport.write(data)
        self.left -= 1
        if self.left:
            return False
        usage = {"prompt_tokens": 20, "completion_tokens": self.words, "total_tokens": 20 + self.words}
        self.line.finish(20 + self.words)
        transport.write(
            chunk({}, "stop") + frame(json.dumps(HEAD | {"choices": [], "usage": usage}).encode()) + END
        )
        return True


END = frame(b"[DONE]") + b"0\r\n\r\n"


class Line(asyncio.Protocol):
    """One connection."""

    def __init__(self, pace: Pace, counts: Counts, asked: dict[str, int | None]) -> None:
        self.pace, self.counts, self.asked = pace, counts, asked
        self.rest = b""
        self.busy = False
        self.request_id = ""

    def connection_made(self, transport: Any) -> None:
        self.transport: asyncio.Transport = transport
        self.counts.connections += 1
        self.counts.most_connections = max(self.counts.most_connections, self.counts.connections)

    def connection_lost(self, error: Exception | None) -> None:
        self.counts.connections -= 1
        if self.busy:
            self.busy = False
            self.counts.open -= 1

    def data_received(self, data: bytes) -> None:
        self.rest += data
        while (end := self.rest.find(b"\r\n\r\n")) >= 0:
            length = HEADER.search(self.rest, 0, end)
            whole = end + 4 + (int(length.group(1)) if length else 0)
            if len(self.rest) < whole:
                return
            head, body, self.rest = self.rest[:end], self.rest[end + 4 : whole], self.rest[whole:]
            self.answer(head, body)

    def answer(self, head: bytes, body: bytes) -> None:
        if head.startswith(b"GET"):
            self.write_json(self.asked if head.startswith(b"GET /asked") else vars(self.counts))
            return
        counts, asked = self.counts, json.loads(body)
        counts.begun += 1
        counts.open += 1
        self.busy = True
        self.request_id = f"req_{counts.begun}"
        self.asked[self.request_id] = None
        if b"/embeddings" in head.split(b"\r\n", 1)[0]:
            self.write_json(embeddings(asked), 5 * len(asked["input"]))
            return
        questions = [line["content"] for line in asked["messages"] if line["role"] == "user"]
        wanted = WANTED.search(questions[-1])
        kind, words = (wanted[1], int(wanted[3])) if wanted else ("burst", 1)
        if kind == "call" and asked.get("tools") and asked["messages"][-1]["role"] != "tool":
            call = {"name": asked["tools"][0]["function"]["name"], "arguments": "{}"}
            tool = {"index": 0, "id": f"call_{counts.begun}", "type": "function", "function": call}
            delta: dict[str, Any] = {"tool_calls": [tool]}
            usage = {"prompt_tokens": 20, "completion_tokens": 5, "total_tokens": 25}
            self.begin_stream()
            self.transport.write(chunk(delta) + chunk({}, "tool_calls"))
            self.transport.write(frame(json.dumps(HEAD | {"choices": [], "usage": usage}).encode()) + END)
            self.finish(25)
        elif not asked.get("stream"):
            message = {"role": "assistant", "content": " word" * words, "refusal": None}
            choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}
            usage = {"prompt_tokens": 20, "completion_tokens": words, "total_tokens": 20 + words}
            self.write_json(
                HEAD | {"object": "chat.completion", "choices": [choice], "usage": usage}, 20 + words
            )
        else:
            self.begin_stream()
            stream = Asked(self, words)
            if kind == "paced":
                self.pace.join(stream)
            else:
                while not stream.word(chunk({"content": " word"})):
                    pass

    def begin_stream(self) -> None:
        self.transport.write(
            b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nx-request-id: %s\r\n"
            b"transfer-encoding: chunked\r\n\r\n" % self.request_id.encode() + FIRST
        )

    def finish(self, tokens: int) -> None:
        self.busy = False
        self.counts.open -= 1
        self.asked[self.request_id] = tokens

    def write_json(self, answer: dict[str, Any], tokens: int | None = None) -> None:
        body = json.dumps(answer).encode()
        self.transport.write(
            b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nx-request-id: %s\r\n"
            b"content-length: %d\r\n\r\n" % (self.request_id.encode(), len(body)) + body
        )
        if tokens is not None:
            self.finish(tokens)


def embeddings(asked: dict[str, Any]) -> dict[str, Any]:
    vector = base64.b64encode(np.full(8, 8**-0.5, dtype=np.float32).tobytes()).decode()
    data = [{"object": "embedding", "index": at, "embedding": vector} for at in range(len(asked["input"]))]
    tokens = 5 * len(asked["input"])
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    return {"object": "list", "data": data, "model": asked["model"], "usage": usage}


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--port", type=int, required=True)
    port = parser.parse_args().port
    pace, counts = Pace(), Counts()
    asked: dict[str, int | None] = {}
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Line(pace, counts, asked), "127.0.0.1", port, backlog=2048)
    async with server:
        await pace.run()


if __name__ == "__main__":
    asyncio.run(main())
