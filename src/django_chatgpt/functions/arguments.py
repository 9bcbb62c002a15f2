"""What is said of arguments that a function can't take, in words that a model can act on."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from pydantic_core import ErrorDetails, to_json

if TYPE_CHECKING:
    from jsonschema.exceptions import ValidationError as SchemaViolation

SHOWN_PROBLEMS = 8
SHOWN_VALUE = 60


class ArgumentsError(Exception):
    """Arguments that were refused. `problems` maps each place, "" for the whole, to what is wrong there."""

    def __init__(self, problems: dict[str, str]) -> None:
        self.problems = problems
        super().__init__("The arguments are not valid.")

    @property
    def text(self) -> str:
        """Everything in one sentence each, at most SHOWN_PROBLEMS of them."""
        shown = [
            f"{place}: {problem}" if place else problem
            for place, problem in list(self.problems.items())[:SHOWN_PROBLEMS]
        ]
        if (more := len(self.problems) - len(shown)) > 0:
            shown.append(f"And {more} more.")
        return " ".join(shown)


def of_validation(details: Iterable[ErrorDetails], data: Any, names: Collection[str]) -> ArgumentsError:
    """What pydantic found wrong with `data`; `names` are the arguments that the function takes."""
    problems: dict[str, str] = {}
    for detail in details:
        place = _place(detail["loc"], data)
        if detail["type"] == "missing":
            problem = "is missing."
        elif detail["type"] == "extra_forbidden":
            problem = _unknown(str(detail["loc"][-1]), names if len(detail["loc"]) == 1 else ())
        else:
            said = detail["msg"].removeprefix("Value error, ").removeprefix("Assertion failed, ")
            problem = said.replace("Input should", "should", 1) + _given(detail["input"]) + "."
        problems[place] = f"{problems[place]} Or it {problem}" if place in problems else problem
    return ArgumentsError(problems)


def of_schema(violations: Iterable[SchemaViolation]) -> ArgumentsError:
    """What jsonschema found wrong."""
    problems: dict[str, str] = {}
    for violation in violations:
        problems.setdefault(_dotted(violation.absolute_path), f"{_clipped(violation.message)}.")
    return ArgumentsError(problems)


def _unknown(name: str, names: Collection[str]) -> str:
    """What is said of an argument that nobody asked for."""
    if not names:
        return "is not taken here."
    near = get_close_matches(name[:SHOWN_VALUE], names, n=1)
    meant = f" Did you mean {near[0]}?" if near else ""
    return f"is no argument of this function; it takes {', '.join(names)}.{meant}"


def _place(location: tuple[int | str, ...], data: Any) -> str:
    """The place in the arguments as they were written.

    pydantic also names the branch of a union that it tried, which means nothing to whoever wrote them.
    """
    path: list[int | str] = []
    for number, part in enumerate(location):
        known = part in data if isinstance(data, dict) else isinstance(data, list) and isinstance(part, int)
        if known:
            path.append(part)
            data = data[part]
        elif number == len(location) - 1 and isinstance(data, dict):
            path.append(part)
    return _dotted(path)


def _dotted(path: Iterable[int | str]) -> str:
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{_clipped(part)}"
    return text.removeprefix(".")


def _given(value: Any) -> str:
    """The value that was refused, where it is short enough to be worth repeating."""
    if value is None or isinstance(value, (str, bool, int, float)):
        return f", not {_clipped(to_json(value).decode())}"
    return ""


def _clipped(text: str) -> str:
    return text if len(text) <= SHOWN_VALUE else f"{text[: SHOWN_VALUE - 1]}…"
