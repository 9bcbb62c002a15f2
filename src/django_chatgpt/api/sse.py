"""A turn as a stream of server-sent events."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator, Iterable
from contextlib import suppress
from functools import lru_cache
from itertools import chain
from typing import Any, cast
from uuid import UUID

from django.http import StreamingHttpResponse
from pydantic_core import to_json

from django_chatgpt.api.rendering import Html, Rendering, Shown
from django_chatgpt.core.events import (
    CallRequested,
    CallReturned,
    Content,
    Done,
    Failed,
    Finished,
    Started,
    TurnEvent,
)
from django_chatgpt.database import arelease, release_connections
from django_chatgpt.runtime.tasks import TurnTask
from django_chatgpt.services.chat import Prepared, run
from django_chatgpt.services.follow import Watch, afollow, follow
from django_chatgpt.services.shown import money

HEARTBEAT_SECONDS = 15.0
HEARTBEAT = b": keep-alive\n\n"
#: Where the thread of the request renders: seconds of silence after which it shows what was not due yet.
FLUSH_SECONDS = 1.0


def render_event(event: TurnEvent, html: Html | None = None) -> bytes:
    """One event as it goes over the wire; nothing for those that this door has no word for."""
    if html is None and isinstance(event, Content):
        # Nearly all events are these.
        return b'id: %d\ndata: {"type":"content","turn_id":"%s","content":%s}\n\n' % (
            event.seq,
            _name(event.turn_id),
            to_json(event.content),
        )
    body = event_body(event)
    if body is None:
        return b""
    if html is not None:
        body["html"] = html
    return b'id: %d\ndata: {"type":"%s","turn_id":"%s"%s}\n\n' % (
        event.seq,
        event.type.encode(),
        _name(event.turn_id),
        b"," + to_json(body)[1:-1] if body else b"",
    )


@lru_cache(maxsize=1024)
def _name(turn_id: UUID | None) -> bytes:
    return str(turn_id).encode()


def event_body(event: TurnEvent) -> dict[str, Any] | None:
    """What an event of each type carries beside its type and turn."""
    match event:
        case Content(content=text):
            return {"content": text}
        case Started():
            return {"conversation_id": event.conversation_id}
        case CallRequested(call=call):
            body = {"id": call.id, "name": call.name, "arguments": call.arguments}
            return body | {"requires_approval": True} if event.needs_approval else body
        case CallReturned(result=result):
            body = {"id": result.call.id, "name": result.call.name}
            body |= {"result": result.output, "status": result.status}
            return body if result.status == "completed" else body | {"code": result.error_code}
        case Finished():
            return {
                "reason": event.reason,
                "usage": event.usage.model_dump(),
                "cost": money(event.cost),
                "message_id": event.message_id,
            }
        case Failed():
            return {"error": {"code": event.code, "message": event.message}}
        case Done():
            return {}
    return None


class EventStream(StreamingHttpResponse):
    """A stream whose turn is told when it is closed, even if nobody ever read from it."""

    def __init__(self, chunks: Any, leave: Callable[[], object]) -> None:
        super().__init__(chunks, content_type="text/event-stream")
        self._leave = leave
        self._own = chunks

    def __aiter__(self) -> AsyncIterator[bytes]:
        """The chunks as they are, which are bytes: Django passes each one through two generators more.

        Unless a middleware has put something else in their place.
        """
        if self.is_async and getattr(self, "_iterator", None) is self._own:
            return cast(AsyncIterator[bytes], self._own)
        return super().__aiter__()

    def close(self) -> None:
        self._leave()
        super().close()


def stream_response(chunks: Any, leave: Callable[[], object]) -> EventStream:
    """A response that nothing on the way may hold back or change; closing it calls `leave`."""
    response = EventStream(chunks, leave)
    response["Cache-Control"] = "no-cache, no-transform"
    response["X-Accel-Buffering"] = "no"
    # GZipMiddleware would collect the events until its buffer is full; it leaves alone what has an encoding.
    response["Content-Encoding"] = "identity"
    return response


def stream_events(
    events: Generator[TurnEvent | None, None, Any], rendering: Rendering | None = None
) -> EventStream:
    """For WSGI: a heartbeat, in which a lost client shows, wherever there was no event."""
    # A generator that was never begun can't be told that it is closed.
    first = next(events)
    return stream_response(_render(first, events, rendering), events.close)


def stream_prepared(prepared: Prepared, rendering: Rendering | None = None) -> EventStream:
    """For WSGI: a turn that the thread of the request drives."""
    return stream_events(run(prepared, release=True, heartbeat=_silence(rendering)), rendering)


def _render(
    first: TurnEvent | None, events: Iterable[TurnEvent | None], rendering: Rendering | None
) -> Generator[bytes]:
    # Only now has the middleware done with the response.
    release_connections()
    for event in chain((first,), events):
        if event is None:
            rendered = HEARTBEAT + _late(rendering)
        elif rendering is None:
            rendered = render_event(event)
        else:
            rendered = _joined(rendering.take([event], all_due=False))
        if rendered:
            yield rendered


def _joined(shown: Iterable[Shown]) -> bytes:
    return b"".join([render_event(event, html) for event, html in shown])


def _late(rendering: Rendering | None) -> bytes:
    """Text that is shown already, as HTML: an event that brings nothing else has no number."""
    html = None if rendering is None else rendering.flush()
    if rendering is None or html is None:
        return b""
    body = {"type": "content", "turn_id": rendering.turn_id, "content": "", "html": html}
    return b"data: %s\n\n" % to_json(body)


def _silence(rendering: Rendering | None) -> float:
    return HEARTBEAT_SECONDS if rendering is None else FLUSH_SECONDS


def stream_watch_inline(watch: Watch, rendering: Rendering | None = None) -> EventStream:
    """For WSGI: a turn that runs elsewhere. Something goes out at once, as servers send no headers before."""
    events = follow(watch, release=True, heartbeat=_silence(rendering))
    return stream_response(_render(None, events, rendering), _nothing)


def stream_watch(watch: Watch, rendering: Rendering | None = None) -> EventStream:
    """For ASGI: a turn that runs elsewhere."""
    return stream_response(arender(afollow(watch, heartbeat=HEARTBEAT_SECONDS), rendering), _nothing)


def _nothing() -> None:
    """Whoever follows a turn from afar leaves without a trace."""


def stream_task(task: TurnTask, rendering: Rendering | None = None) -> EventStream:
    """For ASGI: everything that has happened goes in one piece."""
    loop = asyncio.get_running_loop()

    def leave() -> None:
        # Django closes a response in a thread; the loop may have ended by then, and the turn with it.
        with suppress(RuntimeError):
            loop.call_soon_threadsafe(task.leave)

    return stream_response(arender(task.events(HEARTBEAT_SECONDS), rendering), leave)


async def arender(
    batches: AsyncGenerator[list[TurnEvent]], rendering: Rendering | None = None
) -> AsyncGenerator[bytes]:
    """Batches of events as bytes; an empty batch is a heartbeat."""
    released = False
    try:
        async for batch in batches:
            if not batch:
                rendered = HEARTBEAT
            elif rendering is None:
                rendered = b"".join([render_event(event) for event in batch])
            else:
                rendered = _joined(await rendering.atake(batch))
            if rendered:
                yield rendered
            if not released:
                # Only now has the middleware done with the response.
                released = True
                await arelease()
            if rendering is not None and not (batch and isinstance(batch[-1], Done)):
                await rendering.rest()
    finally:
        await batches.aclose()
