"""What the provider says in these tests, and what becomes of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from django_chatgpt.testing import Answer, Call, Gate, Usage
from django_chatgpt.testing.steps import Step

HEARD = "Half "


def look(word: str) -> str:
    """Look something up."""
    return f"{word} means nothing"


def fail(word: str) -> str:
    """Fail."""
    raise ValueError("secret")


def pay(amount: int) -> str:
    """Pay somebody."""
    return f"paid {amount}"


@dataclass
class Script:
    """A turn: `steps` are made anew for each door. `gate`: where it says no more, and is cancelled."""

    name: str
    make: Callable[[Gate], list[Step]]
    approved: bool = False
    cancelled: bool = False
    gate: Gate = field(default_factory=Gate)

    def steps(self) -> list[Step]:
        self.gate = Gate()
        return self.make(self.gate)


def _calls(_: Gate) -> list[Step]:
    return [
        Answer(
            "One moment.",
            calls=[
                Call("look", {"word": "a"}, id="call_look"),
                Call("fail", {"word": "b"}, id="call_fail"),
            ],
            usage=Usage(10, 5),
        ),
        Answer("Zeit\n", calls=[Call("pay", {"amount": 5}, id="call_pay")], usage=Usage(20, 6, cached=4)),
        Answer("It is done.", usage=Usage(30, 7, reasoning=2)),
    ]


def _breaks_off(_: Gate) -> list[Step]:
    return [Answer(chunks=[HEARD, "an answer"], error_after=1)]


def _stops(gate: Gate) -> list[Step]:
    return [Answer(chunks=[HEARD, "an answer"], stall_after=1, stall=gate)]


SCRIPTS = [
    Script("calls", _calls, approved=True),
    Script("error", _breaks_off),
    Script("cancelled", _stops, cancelled=True),
]
