"""Text that others have written, as a terminal may be shown it."""

from __future__ import annotations

import re

#: What a terminal obeys instead of showing: all control characters but line ends and tabs.
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
#: What turns the direction of everything behind it.
_TURNS = re.compile(r"[\u202a-\u202e\u2066-\u2069]")

SHOWN = 200


def printable(text: str) -> str:
    """The text without what would move the cursor, change colours or titles, or hide what is there."""
    return _TURNS.sub("", _CONTROLS.sub("", text))


def one_line(text: str, width: int = SHOWN) -> str:
    """The same in one line, cut where it is longer than `width` characters."""
    line = " ".join(printable(text).split())
    return line if len(line) <= width else f"{line[: width - 4]} ..."
