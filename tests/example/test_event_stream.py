"""Events come out whole and in order, wherever the network cut the stream."""

import json
from itertools import pairwise
from typing import Any

import pytest
from event_stream import EventReader, read_events
from hypothesis import given, settings
from hypothesis import strategies as st

EVENTS = st.lists(
    st.dictionaries(st.text(max_size=5), st.text(max_size=20) | st.integers() | st.none(), max_size=3),
    max_size=5,
)


def cut(stream: bytes, places: list[int]) -> list[bytes]:
    edges = sorted({0, len(stream), *(place % (len(stream) + 1) for place in places)})
    return [stream[start:end] for start, end in pairwise(edges)]


@settings(deadline=None)
@given(EVENTS, st.sampled_from(["\n", "\r\n", "\r"]), st.lists(st.integers(min_value=0), max_size=30))
def test_any_cut_gives_the_same_events(events: list[dict[str, Any]], end: str, places: list[int]) -> None:
    stream = "".join(
        f"id: {number}{end}data: {json.dumps(event, ensure_ascii=False)}{end}{end}"
        for number, event in enumerate(events)
    )

    assert list(read_events(cut(stream.encode(), places))) == events


@settings(deadline=None)
@given(EVENTS, st.sampled_from(["\n", "\r\n", "\r"]))
def test_a_byte_at_a_time_gives_the_same_events(events: list[dict[str, Any]], end: str) -> None:
    stream = "".join(f"data:{json.dumps(event)}{end}{end}" for event in events).encode()

    assert list(read_events(stream[at : at + 1] for at in range(len(stream)))) == events


def test_comments_and_unknown_fields_are_dropped() -> None:
    stream = b': keep-alive\n\nevent: x\nretry: 10\ndata: {"a": 1}\n\n:\n\ndata: {"b": 2}\n\n'

    assert list(read_events([stream])) == [{"a": 1}, {"b": 2}]


def test_data_of_several_lines_is_one_event() -> None:
    assert list(read_events([b'data: {"a":\ndata: 1}\n\n'])) == [{"a": 1}]


@pytest.mark.parametrize("rest", [b'data: {"b": 2}', b'data: {"b": 2}\n', b"data", b": no", b"\xe2\x82"])
def test_what_the_stream_does_not_finish_is_no_event(rest: bytes) -> None:
    assert list(read_events([b'data: {"a": 1}\n\n', rest])) == [{"a": 1}]


@pytest.mark.parametrize("separator", ["\u2028", "\u2029", "\x85", "\x0b", "\x0c"])
def test_only_cr_and_lf_end_a_line(separator: str) -> None:
    stream = f'data: {{"a": "one{separator}two"}}\n\n'.encode()

    reader = EventReader()
    if separator < " ":
        with pytest.raises(json.JSONDecodeError):
            list(reader.feed(stream))
    else:
        assert list(reader.feed(stream)) == [{"a": f"one{separator}two"}]


def test_the_last_id_is_remembered_for_a_resumption() -> None:
    reader = EventReader()

    list(reader.feed(b"id: 7\ndata: {}\n\nid: 8\nda"))

    assert reader.last_id == "8"
