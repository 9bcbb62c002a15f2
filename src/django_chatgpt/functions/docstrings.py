"""What a docstring says of a function and of each of its parameters."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from docstring_parser import parse


@dataclass(frozen=True, slots=True)
class Described:
    """`text` is the docstring without its sections; `parameters` maps names to one line each."""

    text: str = ""
    parameters: dict[str, str] = field(default_factory=dict)


def described(function: Callable[..., Any]) -> Described:
    """Read a docstring in Google's, NumPy's or Sphinx's style; one in none of them is all text."""
    docstring = inspect.getdoc(function) if inspect.isroutine(function) else inspect.getdoc(type(function))
    if not docstring:
        return Described()
    try:
        parsed = parse(docstring)
    except Exception:  # some malformed ones make it fail with an IndexError
        return Described(docstring)
    parameters = {
        name.strip().lstrip("*"): " ".join(each.description.split())
        for each in parsed.params
        if each.description
        for name in each.arg_name.split(",")
    }
    return Described(parsed.description or "", parameters)
