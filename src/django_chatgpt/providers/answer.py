"""An answer while it arrives: bytes in, deltas out, the same for both colours and both dialects."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Protocol

from django_chatgpt.core.request import Delta
from django_chatgpt.exceptions import AIServiceError, ProviderProtocolError
from django_chatgpt.providers.sse import MAX_EVENT_BYTES, EventSplitter, ServerEvent

_NOTHING: Final = Delta()


class Parser(Protocol):
    """Understands one dialect. `failure` is set when the answer broke off; what came before it counts."""

    done: bool
    failure: AIServiceError | None

    def feed(self, events: Sequence[ServerEvent]) -> Delta:
        """Merge the events of one read."""

    def whole(self, body: bytes) -> Delta:
        """Read an answer that came in one piece, from a server that doesn't stream."""

    def ending(self) -> AIServiceError | None:
        """What is wrong with a stream that ends here; None if this is its proper end."""


class Answer:
    """Turns what was read into deltas and knows when and how the answer is over."""

    __slots__ = ("_body", "_failure", "_parser", "_request_id", "_size", "_splitter", "_whole", "over")

    def __init__(self, parser: Parser, *, whole: bool, request_id: str) -> None:
        self._parser = parser
        self._splitter = EventSplitter()
        self._whole = whole
        self._body: list[bytes] = []
        self._size = 0
        self._failure: AIServiceError | None = None
        self._request_id = request_id
        self.over = False

    def take(
        self, data: bytes, *, ended: bool = False, failure: AIServiceError | None = None
    ) -> Delta | None:
        """Answer everything that `data` brought; None when the answer has properly ended.

        `ended` says that no more bytes will come, `failure` why. Raises what went wrong, but only after all
        that had arrived before it was delivered.
        """
        if not self.over:
            delta = self._collect(data, ended, failure) if self._whole else self._parse(data, ended, failure)
            if self._request_id:
                delta.request_id, self._request_id = self._request_id, ""
                return delta
            if not self.over or delta != _NOTHING:
                return delta
        # A traceback shows what its frames hold, and nothing of the provider's may be shown.
        data = b""
        if self._failure is not None:
            raise self._failure
        return None

    @property
    def complete(self) -> bool:
        """Whether it is over and nothing is wrong with it."""
        return self.over and self._failure is None

    def _parse(self, data: bytes, ended: bool, failure: AIServiceError | None) -> Delta:
        parser, splitter = self._parser, self._splitter
        events = splitter.feed(data)
        if ended and failure is None:
            events += splitter.flush()
        delta = parser.feed(events) if events else Delta()
        if parser.failure is not None:
            self._end(parser.failure)
        elif parser.done:
            self._end(None)
        elif splitter.overflown:
            self._end(ProviderProtocolError())
        elif ended:
            self._end(failure or parser.ending())
        return delta

    def _collect(self, data: bytes, ended: bool, failure: AIServiceError | None) -> Delta:
        """Keep the body of an answer in one piece until all of it is there."""
        self._body.append(data)
        self._size += len(data)
        if self._size > MAX_EVENT_BYTES:
            self._end(ProviderProtocolError())
        elif ended:
            delta = self._parser.whole(b"".join(self._body)) if failure is None else Delta()
            self._end(failure or self._parser.failure)
            return delta
        return Delta()

    def _end(self, failure: AIServiceError | None) -> None:
        self.over = True
        self._failure = failure
        self._body.clear()
