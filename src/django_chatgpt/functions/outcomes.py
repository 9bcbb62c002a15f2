"""How a call ended: what the model is told, what the site gets, and which error that would be."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any, Final

from django_chatgpt.core.messages import FunctionCall, FunctionResult
from django_chatgpt.exceptions import (
    AIServiceError,
    InvalidRequestError,
    NotFoundError,
    PermissionDeniedError,
    ToolFailedError,
)
from django_chatgpt.functions.results import Result, capped, storable

#: Why a call was answered without a result.
ERROR_CODES: Final = (
    "unknown_function",
    "permission_denied",
    "function_inactive",
    "invalid_arguments",
    "approval_required",
    "function_timeout",
    "function_failed",
    "result_unserializable",
)

SHOWN_NAMES: Final = 20


@dataclass(frozen=True, slots=True)
class Outcome:
    """`result` is for the model. `returned` is the whole result, None where there is none.

    `problems` maps each refused argument to what is wrong with it.
    """

    result: FunctionResult
    returned: Result | None = None
    problems: Mapping[str, str] = field(default_factory=dict)

    @property
    def value(self) -> Any:
        """What the function returned, as JSON would have it; None where it failed."""
        return None if self.returned is None else self.returned.value

    @property
    def error(self) -> AIServiceError | None:
        """The error of a call that failed."""
        code, text = self.result.error_code, self.result.output
        match code:
            case "":
                return None
            case "unknown_function":
                return NotFoundError(text, code=code)
            case "permission_denied" | "function_inactive" | "approval_required":
                return PermissionDeniedError(text, code=code)
            case "invalid_arguments":
                fields = {place or "arguments": problem for place, problem in self.problems.items()}
                return InvalidRequestError(text, fields=fields, code=code)
            case _:
                return ToolFailedError(text, code=code)


def returned(call: FunctionCall, result: Result, started: float) -> Outcome:
    """The outcome of a function that ran well; `started` is on the monotonic clock."""
    shown = FunctionResult(call=call, output=result.for_model, duration_ms=elapsed_ms(started))
    return Outcome(shown, result)


def failed(
    call: FunctionCall,
    code: str,
    text: str,
    *,
    started: float | None = None,
    problems: Mapping[str, str] | None = None,
) -> Outcome:
    """The outcome of a call that gave no result."""
    result = FunctionResult(
        call=call,
        output=capped(storable(text)),
        status="failed",
        error_code=code,
        duration_ms=0 if started is None else elapsed_ms(started),
    )
    return Outcome(result, problems=problems or {})


def unknown(call: FunctionCall, names: Collection[str]) -> Outcome:
    """The outcome of a call of nothing; `names` are the functions that this user may call."""
    asked = call.name[:64]
    near = _nearest(asked, names)
    if near is not None:
        advice = f"Did you mean {near}?"
    elif names:
        advice = f"There is: {', '.join(sorted(names)[:SHOWN_NAMES])}."
    else:
        advice = "There are no functions."
    return failed(call, "unknown_function", f"There is no function {asked}. {advice}")


def elapsed_ms(started: float) -> int:
    return round((time.monotonic() - started) * 1000)


def _nearest(name: str, names: Collection[str]) -> str | None:
    """The name that is meant, if any is like it. Models add `functions.` and change case and dashes."""

    def plain(text: str) -> str:
        return text.rpartition(".")[2].lower().replace("-", "_")

    by_plain = {plain(each): each for each in names}
    near = get_close_matches(plain(name), by_plain, n=1)
    return by_plain[near[0]] if near else None
