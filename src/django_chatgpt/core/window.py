"""What of a transcript a model is shown: as much of the newest as its window takes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from django_chatgpt.core.history import repair
from django_chatgpt.core.messages import Message
from django_chatgpt.exceptions import TokenLimitError

LEFT_OUT = '{"error": "The result was too long to be kept in view. Ask for less at once."}'
LEFT_OUT_TOKENS = 30  # no tokenizer makes more of it, nor does the estimate


@dataclass(frozen=True, slots=True)
class Window:
    """How much a model may be sent: messages of at most `room` tokens together.

    `count` is how many a message takes, `used` how many the request's messages take as it begins.
    """

    room: int
    count: Callable[[Message], int]
    used: int = 0


def trim(
    messages: Sequence[Message], counts: Sequence[int], room: int, *, present: int | None = None
) -> tuple[list[Message], int]:
    """Drop the oldest exchanges until the messages fit into `room` tokens; answers them and their tokens.

    `counts` are the tokens of each message. An exchange is a question and all that was said before the
    next, so that a call and its results go together. System messages stay, and so does the present turn,
    which begins at the index `present` (None: it is not among them). Where it alone is too long, the
    results in it give way to a note, the oldest first; that may not be enough.
    """
    used = sum(counts)
    if used <= room:
        return list(messages), used
    end = len(messages) if present is None else present
    dropped: set[int] = set()
    for index in range(end):
        if messages[index]["role"] == "user" and used <= room:
            break
        if messages[index]["role"] != "system":
            dropped.add(index)
            used -= counts[index]
    kept: list[Message] = []
    for index, message in enumerate(messages):
        if index in dropped:
            continue
        saved = counts[index] - LEFT_OUT_TOKENS
        if message["role"] == "tool" and used > room and saved > 0:
            message = {**message, "content": LEFT_OUT}
            used -= saved
        kept.append(message)
    return kept, used


def last_question(messages: Sequence[Message]) -> int:
    """Where the present turn begins: the index of the last question, that of the end if there is none."""
    found = (index for index in reversed(range(len(messages))) if messages[index]["role"] == "user")
    return next(found, len(messages))


class Transcript:
    """The messages of a running turn, of which each step is shown as many as fit.

    Nothing is counted but what the turn adds, unless that is too much.
    """

    def __init__(self, messages: Sequence[Message], window: Window | None) -> None:
        self._messages = list(messages)
        self._present = last_question(messages)
        self._window = window
        self._used = window.used if window is not None else 0

    @property
    def used(self) -> int:
        """The tokens of all messages, as far as somebody counts them."""
        return self._used

    def put(self, line: Message, place: int, *, replaces: bool) -> None:
        """Have a line stand at an index before the present turn, perhaps in the place of the one there."""
        old = self._messages[place : place + replaces]
        self._messages[place : place + replaces] = [line]
        self._present += 1 - len(old)
        if self._window is not None:
            self._used += self._window.count(line) - sum(map(self._window.count, old))

    def add(self, *messages: Message) -> None:
        self._messages.extend(messages)
        if self._window is not None:
            self._used += sum(map(self._window.count, messages))

    def repair(self) -> None:
        """Put results that were added late behind their calls, and fill what gaps there are."""
        counted = {id(message) for message in self._messages}
        self._messages = repair(self._messages)
        self._present = last_question(self._messages)
        if self._window is not None:
            filled = (message for message in self._messages if id(message) not in counted)
            self._used += sum(map(self._window.count, filled))

    def shown(self, window: Window | None = None) -> tuple[Message, ...]:
        """What the model is sent next; `window` is there if it is another model from now on.

        Raises TokenLimitError, with nothing changed, if the turn itself is too long for it.
        """
        window = window or self._window
        if window is not None and self._used > window.room:
            counts = [window.count(message) for message in self._messages]
            kept, used = trim(self._messages, counts, window.room, present=self._present)
            if used > window.room:
                raise TokenLimitError(
                    f"What has to be sent is {used:,} tokens; the model takes {window.room:,} here."
                )
            self._present -= len(self._messages) - len(kept)
            self._messages, self._used = kept, used
        self._window = window
        return tuple(self._messages)
