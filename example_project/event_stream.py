"""Reading text/event-stream, for clients of the chat API."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any


@dataclass
class EventReader:
    r"""Turns the bytes of an event stream into events, wherever the network cut them.

    Lines end in \n, \r\n or \r and in nothing else: a U+2028 within the JSON stays where it is. Comments,
    which servers send to keep a connection alive, are dropped. `last_id` is the `id` of the last event read.
    """

    last_id: str = ""
    _pending: bytes = b""
    _data: list[bytes] = field(default_factory=list)

    def feed(self, received: bytes) -> Iterator[dict[str, Any]]:
        """The events that `received` completes. Raises json.JSONDecodeError when an event is no JSON."""
        self._pending += received
        while (line := self._next_line()) is not None:
            if not line:
                if self._data:
                    event: dict[str, Any] = json.loads(b"\n".join(self._data))
                    self._data.clear()
                    yield event
                continue
            name, _, value = line.partition(b":")
            value = value.removeprefix(b" ")
            if name == b"data":
                self._data.append(value)
            elif name == b"id":
                self.last_id = value.decode()

    def finish(self) -> Iterator[dict[str, Any]]:
        r"""What is left when the stream has ended: an event whose blank line was a lone \r, else nothing."""
        if self._pending.endswith(b"\r"):
            yield from self.feed(b"\n")

    def _next_line(self) -> bytes | None:
        ends = [at for at in (self._pending.find(b"\n"), self._pending.find(b"\r")) if at >= 0]
        if not ends:
            return None
        end = min(ends)
        after = end + 1
        if self._pending[end:after] == b"\r":
            if after == len(self._pending):
                return None  # the other half of a \r\n may be on its way
            after += self._pending[after : after + 1] == b"\n"
        line, self._pending = self._pending[:end], self._pending[after:]
        return line


def read_events(chunks: Iterable[bytes]) -> Iterator[dict[str, Any]]:
    """The events of a whole stream of byte chunks; one that the stream does not finish is not yielded."""
    reader = EventReader()
    for chunk in chunks:
        yield from reader.feed(chunk)
    yield from reader.finish()
