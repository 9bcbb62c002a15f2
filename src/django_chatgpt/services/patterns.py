"""The site's forbidden patterns, looked for in bounded time."""

from __future__ import annotations

import re
import time
import unicodedata
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Final

from django_chatgpt.conf import conf

#: Seconds that all patterns together may take for one question.
PATTERN_SECONDS: Final = 0.5

OUT_OF_TIME: Final = "the patterns took too long"

#: What takes no room on a screen, beside the category Cf: fillers, joiners, variation selectors.
INVISIBLE: Final = frozenset(
    chain(
        (0x034F, 0x115F, 0x1160, 0x17B4, 0x17B5, 0x3164, 0xFFA0),
        range(0x180B, 0x1810),
        range(0xFE00, 0xFE10),
        range(0xE0100, 0xE01F0),
    )
)

#: Marks for letters of any writing; NFKC leaves those that make no letter with the one before them.
DECORATION: Final = re.compile("[\u0300-\u036f\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe20-\ufe2f]+")


def find_forbidden(texts: Iterable[str]) -> str | None:
    """The first forbidden pattern that is found in one of the texts, None if they may pass.

    Where the time is over before, OPENAI_FILTER_FAILURE decides: OUT_OF_TIME, or None.
    """
    if not conf.content_filter or not conf.forbidden_patterns:
        return None
    until = time.monotonic() + PATTERN_SECONDS
    try:
        for text in texts:
            for form in forms(text):
                for pattern in conf.forbidden_patterns:
                    # Without the interpreter's lock, so that a slow pattern holds up nobody else.
                    if pattern.search(form, timeout=_left(until), concurrent=True):
                        return pattern.pattern
    except TimeoutError:
        return None if conf.filter_failure == "open" else OUT_OF_TIME
    return None


def forms(text: str) -> Iterator[str]:
    """A text as it was sent and, if that is another, as it looks: NFKC, without what nobody sees.

    Nor has it marks that make no letter with what they stand on: strokes through it, heaps of accents.
    """
    yield text
    if not text.isascii():
        seen = unicodedata.normalize("NFKC", "".join(filter(_is_visible, text)))
        if not seen.isascii():
            seen = DECORATION.sub("", seen)
        if seen != text:
            yield seen


def _is_visible(character: str) -> bool:
    """Whether it is neither of format (zero width, soft hyphen, direction) nor a filler."""
    return unicodedata.category(character) != "Cf" and ord(character) not in INVISIBLE


def _left(until: float) -> float:
    left = until - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left
