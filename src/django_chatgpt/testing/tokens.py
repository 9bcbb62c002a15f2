"""Counting and cutting text the fake's way: simple, fast, the same on every machine.

A token is four bytes of UTF-8, rounded up. That is not what tiktoken says and does not try to be: a test
that needs exact numbers scripts them with ``Usage``.
"""

import itertools
import re
from collections.abc import Iterable

PER_MESSAGE = 4
PER_REQUEST = 3

_WORD = re.compile(r"\s*\w{1,12}|\s*[^\w\s]|\s+")


def count(text: str) -> int:
    """Tokens in a text: UTF-8 bytes over four, rounded up."""
    return (len(text.encode("utf-8", "surrogatepass")) + 3) // 4


def count_prompt(texts: Iterable[str], messages: int) -> int:
    """Tokens of a whole request: its texts, plus 4 for each message or item, plus 3."""
    return PER_REQUEST + PER_MESSAGE * messages + sum(map(count, texts))


def words(text: str) -> list[str]:
    """The text in pieces of a word each, spaces leading; joined they are the text again."""
    return _WORD.findall(text)


def split(text: str, parts: int) -> list[str]:
    """The text in that many pieces of nearly equal length.

    ValueError when there are more parts than characters.
    """
    if not 0 < parts <= len(text):
        raise ValueError(f"chunks must be between 1 and the {len(text)} characters of the text, not {parts}")
    edges = [len(text) * i // parts for i in range(parts + 1)]
    return [text[a:b] for a, b in itertools.pairwise(edges)]
