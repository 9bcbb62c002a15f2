"""Answers as HTML, for those who ask for it with `?render=html`: beside the text, block by block."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Any, Final
from uuid import UUID

from django.http import HttpRequest

from django_chatgpt.core.events import CallRequested, Content, Discarded, Failed, Finished, TurnEvent
from django_chatgpt.exceptions import InvalidRequestError
from django_chatgpt.services.markdown import Blocks

#: Seconds that a stream waits at least before it renders again.
PAUSE: Final = 0.1
#: How many times as long as it took to render it waits, so that it never takes more than a part of the time.
EASE: Final = 10
#: Characters of which the rendering is left to a thread.
LONG: Final = 1000

Html = dict[str, Any]
Shown = tuple[TurnEvent, Html | None]


def wants_html(request: HttpRequest) -> bool:
    """Whether answers are wanted as HTML, too. Raises InvalidRequestError."""
    wanted = request.GET.get("render")
    if wanted not in (None, "html"):
        raise InvalidRequestError(fields={"render": "must be html."})
    return wanted == "html"


class Rendering:
    """The HTML of one stream. `after`: events up to that number are taken in and not shown.

    The blocks are those of what was said since the last call, which is a message of its own. Who comes back
    is given all of them first: what had been shown is not known here.
    """

    def __init__(self, after: int = 0) -> None:
        self.after = after
        self.turn_id: UUID | None = None
        self._blocks = Blocks()
        self._waiting: list[str] = []
        self._due = 0.0

    def take(self, events: Sequence[TurnEvent], *, all_due: bool = True) -> list[Shown]:
        """The events to be shown, each with the HTML that goes with it; of text only where that is due."""
        shown: list[Shown] = []
        spoken: int | None = None
        for event in events:
            self.turn_id = event.turn_id
            visible = event.seq > self.after
            html = None
            match event:
                case Content(content=text):
                    self._waiting.append(text)
                    spoken = len(shown) if visible else None
                case CallRequested() | Finished() | Failed():
                    html, spoken = self.flush() if visible else None, None
                    if isinstance(event, CallRequested):
                        self._restart()
                case Discarded():
                    self._restart()
                    spoken = None
            if visible:
                shown.append((event, html))
        if spoken is not None and (all_due or time.monotonic() >= self._due):
            shown[spoken] = (shown[spoken][0], self.flush())
        return shown

    def flush(self) -> Html | None:
        """What has been said and not shown as HTML yet."""
        if not self._waiting:
            return None
        began = time.monotonic()
        first, blocks = self._blocks.feed("".join(self._waiting))
        self._waiting = []
        ended = time.monotonic()
        self._due = ended + max(PAUSE, EASE * (ended - began))
        return {"from": first, "blocks": blocks}

    async def atake(self, events: Sequence[TurnEvent]) -> list[Shown]:
        """Like `take`, in a thread where it may take its time."""
        said = sum(len(event.content) for event in events if isinstance(event, Content))
        if said + self._blocks.unsettled > LONG:
            return await asyncio.to_thread(self.take, events)
        return self.take(events)

    async def rest(self) -> None:
        """Wait until the next piece is due; what comes meanwhile is rendered with it."""
        await asyncio.sleep(max(0.0, self._due - time.monotonic()))

    def _restart(self) -> None:
        self._blocks, self._waiting = Blocks(), []
