"""What is shown of an answer while it comes."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from django_chatgpt.core.messages import FunctionCall, FunctionResult
from django_chatgpt.management.terminal.markdown import Blocks
from django_chatgpt.management.terminal.screens import Plain, Rendered, Silent, _Tail
from django_chatgpt.management.terminal.text import one_line, printable

TEXT = "# Title\n\nA text\nof two lines.\n\n- one\n- two\n\n```python\n\nx = 1\n\n```\n\n| a |\n| - |\n\n2."
CALL = FunctionCall(id="c", name="add", arguments='{"a": 1}')


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
def test_blocks_are_whole_and_nothing_is_lost(size: int) -> None:
    blocks, done = Blocks(), []
    for at in range(0, len(TEXT), size):
        if finished := blocks.add(TEXT[at : at + size]):
            done.append(finished)
    done.append(blocks.close())
    assert "".join(done) == TEXT
    assert blocks.close() == ""
    assert all(part.count("```") in (0, 2) for part in done)
    assert all(part.count("- one") == part.count("- two") for part in done)


def test_nothing_that_a_terminal_obeys_is_left() -> None:
    assert printable("a\x1b[31mb\x07\x9b1m\r\u202ec\td\n") == "a[31mb1mc\td\n"
    assert one_line("a\n b" + " x" * 300).endswith(" ...")
    assert one_line("x" * 300) == "x" * 196 + " ..."
    assert one_line("") == ""


class Screened(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_rendered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    stream = Screened()
    screen = Rendered(stream, colour=False)
    screen.begin()
    for letter in TEXT:
        screen.text(letter)
    screen.call(CALL, waits=True)
    screen.result(FunctionResult(call=CALL, output="no", status="failed"))
    screen.text("After [a link](https://example.org/x).")
    screen.end()
    shown = stream.getvalue()
    assert '-> add({"a": 1}) waits for approval' in shown
    assert "<- failed: no" in shown
    assert "https://example.org/x" in shown
    assert "\x1b]8" not in shown
    screen.end()


def test_of_what_is_longer_than_the_terminal_the_end_is_shown() -> None:
    console = Console(file=io.StringIO(), height=6, width=40)
    text = "\n".join(f"- {number}" for number in range(50))
    shown = [segment.text for segment in console.render(_Tail(text)) if segment.text.strip()]
    assert shown[-1].strip() == "49"
    assert len("".join(shown).split()) <= 10


def test_plain() -> None:
    stream, notes = io.StringIO(), list[str]()
    screen = Plain(stream, notes.append, is_terminal=True)
    screen.begin()
    screen.text("a\x1b[1m")
    screen.text("\x1b")
    screen.call(CALL, waits=False)
    screen.result(FunctionResult(call=CALL, output="1"))
    screen.text("b")
    screen.end()
    screen.end()
    assert stream.getvalue() == "a[1m\nb\n"
    assert notes == ['-> add({"a": 1})', "<- 1"]
    exact = io.StringIO()
    Plain(exact, notes.append, is_terminal=False).text("\x1b[1m")
    assert exact.getvalue() == "\x1b[1m"


def test_silent() -> None:
    screen = Silent()
    screen.begin()
    screen.text("x")
    screen.call(CALL, waits=False)
    screen.result(FunctionResult(call=CALL, output="1"))
    screen.end()
