"""A model that costs nothing: Chat Completions from prepared bytes, whole or streamed.

The name of the model says what is answered: `burst-100` is 100 chunks as fast as they go out, one write
each; `paced-20x100` is 100 chunks at 20 a second; asked whole, either is one JSON body.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re

MODEL = re.compile(rb'"model"\s*:\s*"(burst|paced)-(?:(\d+)x)?(\d+)"')
STREAMED = re.compile(rb'"stream"\s*:\s*true')
HEAD = {"id": "chatcmpl-bench", "object": "chat.completion.chunk", "created": 1790000000, "model": "bench"}
USAGE = {"prompt_tokens": 20, "completion_tokens": 100, "total_tokens": 120}


def frame(data: bytes) -> bytes:
    event = b"data: " + data + b"\n\n"
    return b"%x\r\n%s\r\n" % (len(event), event)


def chunk(delta: dict[str, str], finish: str | None = None) -> bytes:
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
    return frame(json.dumps(HEAD | {"choices": [choice], "usage": None}).encode())


FIRST = chunk({"role": "assistant", "content": ""})
WORD = chunk({"content": " word"})
LAST = (
    chunk({}, "stop")
    + frame(json.dumps(HEAD | {"choices": [], "usage": USAGE}).encode())
    + frame(b"[DONE]")
    + b"0\r\n\r\n"
)
STREAM_HEAD = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nx-request-id: req_bench\r\n"
    b"transfer-encoding: chunked\r\n\r\n"
)


def whole(words: int) -> bytes:
    message = {"role": "assistant", "content": " word" * words, "refusal": None}
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}
    body = json.dumps(HEAD | {"object": "chat.completion", "choices": [choice], "usage": USAGE}).encode()
    head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(body)
    return head + body


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            length = re.search(rb"content-length: *(\d+)", head, re.IGNORECASE)
            body = await reader.readexactly(int(length.group(1)) if length else 0)
            model = MODEL.search(body)
            kind, rate, words = model.groups() if model else (b"burst", None, b"1")
            if not STREAMED.search(body):
                writer.write(whole(int(words)))
                continue
            writer.write(STREAM_HEAD)
            writer.write(FIRST)
            for _ in range(int(words)):
                await asyncio.sleep(1 / int(rate) if kind == b"paced" and rate else 0)
                writer.write(WORD)
            writer.write(LAST)
            await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        pass
    finally:
        writer.close()


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    server = await asyncio.start_server(answer, "127.0.0.1", parser.parse_args().port, backlog=2048)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
