"""Text that a database can keep."""

from __future__ import annotations

import pytest

from django_chatgpt.core.messages import storable, storable_json


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("", ""),
        ("plain", "plain"),
        ("a\x00b", "ab"),
        ("a\ud800b", "a\ufffdb"),
        ("\udc00", "\ufffd"),
        ("end\ud83d", "end\ufffd"),
        ("\ud83d\ude00", "\U0001f600"),
        ("\U0001f600", "\U0001f600"),
        ("\ud800\x00\udc00", "\U00010000"),
    ],
    ids=ascii,
)
def test_what_no_database_takes_is_mended(given: str, kept: str) -> None:
    assert storable(given) == kept
    kept.encode()


def test_it_is_cut_after_it_is_mended() -> None:
    assert storable("a\x00bc", 2) == "ab"
    assert storable("\ud83d\ude00b", 2) == "\U0001f600b"


def test_every_text_of_a_json_value_is_mended() -> None:
    value = {"k\ud800": ["a\x00", {"b": "\udfff"}, 1, None, True]}
    assert storable_json(value) == {"k\ufffd": ["a", {"b": "\ufffd"}, 1, None, True]}
