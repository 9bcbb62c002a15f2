"""What a turn looks like while it runs: rendered Markdown on a terminal, plain text anywhere else."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from rich.console import Console, ConsoleOptions, RenderResult
from rich.live import Live
from rich.markdown import Markdown
from rich.segment import Segment
from rich.spinner import Spinner

from django_chatgpt.core.messages import FunctionCall, FunctionResult
from django_chatgpt.management.terminal.markdown import Blocks
from django_chatgpt.management.terminal.text import one_line, printable

#: Writes a line beside the answer.
Note = Callable[[str], None]

REFRESHES = 12  # a second


class Screen(Protocol):
    """Somewhere that a turn is shown. `begin` and `end` stand around each stretch of it."""

    def begin(self) -> None: ...
    def text(self, new: str) -> None: ...
    def call(self, call: FunctionCall, *, waits: bool) -> None: ...
    def result(self, result: FunctionResult) -> None: ...
    def end(self) -> None: ...


class Silent:
    """Shows nothing: for what is printed whole, at the end."""

    def begin(self) -> None:
        """Nothing."""

    def text(self, new: str) -> None:
        """Nothing."""

    def call(self, call: FunctionCall, *, waits: bool) -> None:
        """Nothing."""

    def result(self, result: FunctionResult) -> None:
        """Nothing."""

    def end(self) -> None:
        """Nothing."""


class Plain:
    """The text alone, as it comes; calls are notes. On a terminal, without what that would obey."""

    def __init__(self, stream: Any, note: Note, *, is_terminal: bool) -> None:
        self._stream = stream
        self._note = note
        self._clean = printable if is_terminal else str
        self._last = "\n"

    def begin(self) -> None:
        """Nothing is prepared."""

    def text(self, new: str) -> None:
        new = self._clean(new)
        if new:
            self._last = new[-1]
            self._stream.write(new)
            self._stream.flush()

    def call(self, call: FunctionCall, *, waits: bool) -> None:
        self.end()
        self._note(call_line(call, waits=waits))

    def result(self, result: FunctionResult) -> None:
        self._note(result_line(result))

    def end(self) -> None:
        if self._last != "\n":
            self._last = "\n"
            self._stream.write("\n")
            self._stream.flush()


class Rendered:
    """Markdown on a terminal: finished blocks stay, the one that grows is drawn anew below them."""

    def __init__(self, stream: Any, *, colour: bool = True) -> None:
        self._console = Console(file=stream, highlight=False, no_color=None if colour else True)
        self._blocks = Blocks()
        self._live: Live | None = None
        self._shown = False

    def begin(self) -> None:
        self._shown = False
        self._live = Live(
            Spinner("dots"),
            console=self._console,
            refresh_per_second=REFRESHES,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._live.start(refresh=True)

    def text(self, new: str) -> None:
        self._keep(self._blocks.add(printable(new)))
        if self._live is not None:
            self._live.update(_Tail(self._blocks.rest))

    def call(self, call: FunctionCall, *, waits: bool) -> None:
        self._keep(self._blocks.close())
        self._say(call_line(call, waits=waits))

    def result(self, result: FunctionResult) -> None:
        self._say(result_line(result))

    def end(self) -> None:
        live, self._live = self._live, None
        if live is not None:
            live.stop()
        self._keep(self._blocks.close())

    def _keep(self, text: str) -> None:
        if text.strip():
            if self._shown:
                self._console.print()
            self._shown = True
            self._console.print(_rendered(text))

    def _say(self, line: str) -> None:
        if self._live is not None:
            self._live.update(Spinner("dots"))
        self._console.print(line, style="dim", markup=False)


class _Tail:
    """The end of a text that has not ended, as much as the terminal is high."""

    def __init__(self, text: str) -> None:
        self._text = text

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        lines = console.render_lines(_rendered(self._text), options, pad=False)
        for line in lines[-max(console.height - 2, 1) :]:
            yield from line
            yield Segment.line()


def _rendered(text: str) -> Markdown:
    # A link shows where it leads: what is said of it is the model's.
    return Markdown(text, hyperlinks=False)


def call_line(call: FunctionCall, *, waits: bool) -> str:
    """A call in one line."""
    line = f"-> {one_line(call.name)}({one_line(call.arguments)})"
    return f"{line} waits for approval" if waits else line


def result_line(result: FunctionResult) -> str:
    """What a function has answered, in one line."""
    failed = "" if result.status == "completed" else "failed: "
    return f"<- {failed}{one_line(result.output)}"
