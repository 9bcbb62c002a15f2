"""Handing a step to the client: at its pace, with its faults, noticing when nobody listens any more."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import TypeAlias

from pydantic_core import to_json

from django_chatgpt.testing.frames import Frame, Rendering, billed, error_body
from django_chatgpt.testing.http import Reply
from django_chatgpt.testing.recorder import Request
from django_chatgpt.testing.steps import HTML, Answer, Drop, Failure, Gate, Step

Render: TypeAlias = Callable[[Answer], Rendering]
Send: TypeAlias = Callable[[Frame], Awaitable[None]]

_BREATHE = 16
_COMMENT = b": keep-alive\n\n"
_BROKEN = b'data: {"id":"chatcmpl-","object":"chat.completion.chunk","choi\n\n'


class Delivery:
    """One step on its way to one client.

    `delay`: seconds before each piece where the answer does not say. `prompt`: tokens of the request.
    """

    def __init__(self, reply: Reply, request: Request, *, delay: float = 0.0, prompt: int = 0) -> None:
        self._reply = reply
        self._request = request
        self._delay = delay
        self._prompt = prompt

    async def step(self, step: Step, render: Render | None = None) -> None:
        """Do what the step says; `render` puts an Answer into the dialect of the endpoint."""
        if step.wait:
            await asyncio.sleep(step.wait)
        match step:
            case Drop():
                self._reply.cut()
            case HTML():
                self._reply.whole(step.status, self._headers("text/html; charset=utf-8"), step.body.encode())
            case Failure():
                self.failure(step)
            case _:
                if render is None:
                    raise TypeError(f"{self._request.endpoint} takes a Failure, HTML or Drop, not an Answer")
                deliver = self._streamed if self._request.stream else self._whole
                await deliver(step, render(step))

    def json(self, status: int, body: Mapping[str, object], headers: Mapping[str, str] | None = None) -> None:
        """A JSON body, whole."""
        self._reply.whole(status, self._headers("application/json", headers), to_json(body))

    def failure(self, failure: Failure) -> None:
        """An error, in OpenAI's form unless it has a body of its own."""
        headers = dict(failure.headers)
        after = failure.retry_after
        if isinstance(after, str):
            headers.setdefault("retry-after", after)
        elif after is not None:
            headers.setdefault("retry-after", f"{after:g}")
            headers.setdefault("retry-after-ms", f"{after * 1000:.0f}")
        if failure.body is None:
            self.json(failure.status, error_body(failure), headers)
        else:
            body = failure.body.encode() if isinstance(failure.body, str) else failure.body
            self._reply.whole(failure.status, self._headers("application/json", headers), body)

    async def _streamed(self, answer: Answer, rendering: Rendering) -> None:
        *frames, last = rendering.frames()
        written = 0

        async def send(frame: Frame) -> None:
            nonlocal written
            written += 1
            data = _COMMENT + frame.data if answer.comments and frame.piece is not None else frame.data
            await self._write(data, answer.packet)

        self._reply.start(200, self._headers("text/event-stream; charset=utf-8", answer.headers))
        await self._play(answer, rendering, frames, send)
        match answer.fault:
            case None:
                await self._finish(last.data, answer.packet)
            case "cut", _:
                self._reply.cut()
            case "end_early", _:
                self._reply.finish()
            case "bad_json", _:
                self._reply.finish(_BROKEN)
            case _:
                self._reply.finish(rendering.trouble(written))

    async def _whole(self, answer: Answer, rendering: Rendering) -> None:
        async def send(frame: Frame) -> None:
            """Nothing is sent: the pieces are only timed and counted."""

        await self._play(answer, rendering, rendering.frames()[:-1], send)
        fault = answer.fault and answer.fault[0]
        status, body = rendering.failed() if fault == "error" else (200, rendering.whole())
        data = to_json(body)
        if fault in ("end_early", "bad_json"):
            data = data[: len(data) // 2]
        headers = self._headers("application/json", answer.headers)
        self._reply.whole(status, headers, data, upto=len(data) // 2 if fault == "cut" else None)

    async def _play(self, answer: Answer, rendering: Rendering, frames: list[Frame], send: Send) -> None:
        """Send the frames at the answer's pace, up to its fault, and bill what was sent, however it ended."""
        complete = False
        try:
            complete = await self._paced(answer, frames, send)
        finally:
            sent = self._request.sent
            self._request.billed = billed(answer, self._prompt, sent, complete, rendering.hidden)

    async def _paced(self, answer: Answer, frames: list[Frame], send: Send) -> bool:
        """Whether all frames were sent."""
        total = sum(frame.piece is not None for frame in frames)
        fault_at = None if answer.fault is None else min(answer.fault[1], total)
        stall_at = None if answer.stall_after is None else min(answer.stall_after, total)
        delay = self._delay if answer.delay is None else answer.delay
        sent = 0
        for position, frame in enumerate(frames):
            if frame.piece is None:
                await send(frame)
            else:
                if sent == 0 and stall_at == 0:
                    await _stall(answer)
                if sent == 0 and fault_at == 0:
                    return False
                if delay:
                    await asyncio.sleep(delay)
                await send(frame)
                self._request.sent.append(frame.piece)
                sent += 1
                if sent == stall_at:
                    await _stall(answer)
                if sent == fault_at:
                    return False
            if position % _BREATHE == 0:
                await asyncio.sleep(0)
        if total == 0 and stall_at is not None:
            await _stall(answer)
        return fault_at is None

    async def _write(self, data: bytes, packet: int | None) -> None:
        size = packet or max(len(data), 1)
        for start in range(0, len(data), size):
            await self._reply.write(data[start : start + size])
            if packet is not None:
                await asyncio.sleep(0)

    async def _finish(self, data: bytes, packet: int | None) -> None:
        """The last frame, its tail in one write with the end of the body: who leaves after it has left
        after the end.
        """
        tail = len(data) if packet is None else min(packet, len(data))
        await self._write(data[:-tail], packet)
        self._reply.finish(data[-tail:])

    def _headers(self, content_type: str, extra: Mapping[str, str] | None = None) -> dict[str, str]:
        common = {
            "content-type": content_type,
            "x-request-id": self._request.id,
            "openai-version": "2020-10-01",
            "openai-processing-ms": "1",
            "cache-control": "no-cache",
        }
        return common | {name.lower(): value for name, value in (extra or {}).items()}


async def _stall(answer: Answer) -> None:
    if isinstance(answer.stall, Gate):
        await answer.stall.passed()
    else:
        await asyncio.sleep(answer.stall)
