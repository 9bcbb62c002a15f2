"""Markdown that comes in pieces: what is finished of it, block by block, and what may still change."""

from __future__ import annotations

from markdown_it import MarkdownIt


class Blocks:
    """Collects text; a block is finished when another has begun after it."""

    def __init__(self) -> None:
        self._parser = MarkdownIt().enable("strikethrough").enable("table")
        self.rest = ""

    def add(self, text: str) -> str:
        """Take in new text; the blocks that are finished now, "" if none is."""
        self.rest += text
        if "\n" not in text:
            return ""
        starts = [
            token.map[0]
            for token in self._parser.parse(self.rest)
            if token.level == 0 and token.map is not None
        ]
        if not starts or starts[-1] == starts[0]:
            return ""
        lines = self.rest.splitlines(keepends=True)
        done, self.rest = "".join(lines[: starts[-1]]), "".join(lines[starts[-1] :])
        return done

    def close(self) -> str:
        """What is left; nothing is, afterwards."""
        rest, self.rest = self.rest, ""
        return rest
