"""Events are cut out of bytes, wherever the reads end."""

import time
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from django_chatgpt.providers.sse import EventSplitter, ServerEvent

MIXED = (
    ": a comment\n\n"
    'data: {"text": "Grüße 🦊"}\n\n'
    "event: response.created\r\ndata: one\r\ndata: two\r\n\r\n"
    "\n\n\n"
    "data:no space\r\r"
    "id: 7\nretry: 10\ndata\n\n"
    "event: nothing\n\n"
    "data: [DONE]\n\n"
).encode()

EXPECTED: list[ServerEvent] = [
    (b"", '{"text": "Grüße 🦊"}'.encode()),
    (b"response.created", b"one\ntwo"),
    (b"", b"no space"),
    (b"", b""),
    (b"", b"[DONE]"),
]


def split(pieces: list[bytes], **options: int) -> list[ServerEvent]:
    splitter = EventSplitter(**options)
    return [event for piece in pieces for event in splitter.feed(piece)] + splitter.flush()


def test_a_stream_in_one_piece() -> None:
    assert split([MIXED]) == EXPECTED


def test_a_stream_byte_by_byte() -> None:
    assert split([MIXED[i : i + 1] for i in range(len(MIXED))]) == EXPECTED


@given(st.lists(st.integers(0, len(MIXED)), max_size=12), st.booleans())
def test_a_stream_cut_anywhere(cuts: list[int], marked: bool) -> None:
    whole = b"\xef\xbb\xbf" * marked + MIXED
    edges = [0, *sorted(cuts), len(whole)]
    assert split([whole[a:b] for a, b in pairwise(edges)]) == EXPECTED


@pytest.mark.parametrize("end", [b"", b"\n", b"\r", b"\r\n"])
def test_the_last_event_without_its_empty_line(end: bytes) -> None:
    assert split([b"data: a\n\ndata: [DO", b"NE]" + end]) == [(b"", b"a"), (b"", b"[DONE]")]


def test_nothing_is_made_of_nothing() -> None:
    assert split([b"", b"\xef", b"\xbb"]) == []
    assert split([b": only\n", b": comments\n\n"]) == []


def test_an_event_may_not_grow_without_end() -> None:
    splitter = EventSplitter(max_event_bytes=100)
    assert splitter.feed(b"data: 1\n\ndata: " + b"x" * 80) == [(b"", b"1")]
    assert not splitter.overflown
    assert splitter.feed(b"x" * 80) == []
    assert splitter.overflown
    assert splitter.feed(b"\n\ndata: 2\n\n") == []
    assert splitter.flush() == []


def test_events_before_the_one_too_long_still_count() -> None:
    splitter = EventSplitter(max_event_bytes=10)
    assert splitter.feed(b"data: 1\n\ndata: " + b"x" * 80) == [(b"", b"1")]
    assert splitter.overflown


def test_work_is_linear_in_the_bytes() -> None:
    """16 MB in reads of 1 KB: kept in one buffer that grows, it would be copied 8 GB."""
    splitter = EventSplitter()
    piece = b"x" * 1024
    splitter.feed(b"data: ")
    started = time.process_time()
    for _ in range(15_000):
        splitter.feed(piece)
    assert len(splitter.feed(b"\n\n")[0][1]) == 15_000 * 1024
    assert time.process_time() - started < 5
