"""The pages about functions: their code runs, and their tables are those of the code."""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from django.contrib.auth.models import User

from django_chatgpt import exceptions
from django_chatgpt.core.messages import FunctionCall
from django_chatgpt.functions import Caller, FunctionRegistry, contracts, results, running, threads
from django_chatgpt.functions.definition import MAX_DESCRIPTION
from django_chatgpt.functions.outcomes import ERROR_CODES, failed

DOCS = Path(__file__).parents[2] / "docs"
HOW_TO = (DOCS / "how-to" / "functions.md").read_text(encoding="utf-8")
REFERENCE = (DOCS / "reference" / "functions.md").read_text(encoding="utf-8")


def rows(heading: str) -> list[list[str]]:
    """The cells of the first table below a heading."""
    below = REFERENCE.split(f"\n{heading}\n")[1]
    table = re.split(r"^(?:\| --- )+\|\n", below, flags=re.MULTILINE)[1].split("\n\n")[0]
    lines = [line.strip("|") for line in table.strip().splitlines()]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)] for line in lines]


@pytest.mark.django_db
def test_the_code_of_the_how_to_runs(registry: FunctionRegistry, user: User) -> None:
    given: dict[str, Any] = {"request": SimpleNamespace(user=user)}
    for number, code in enumerate(re.findall(r"^```python\n(.*?)^```$", HOW_TO, re.MULTILINE | re.DOTALL)):
        exec(compile(code, f"functions.md, snippet {number + 1}", "exec"), given)
    assert registry.problems == []
    assert len(registry.functions) == 11
    found = registry.execute_function("newest_users", {"limit": 3}, user=user)
    assert [each["username"] for each in found] == ["ada"]
    order = {"items": [{"sku": "1"}], "on": "2026-11-22"}
    assert registry.execute_function("order", order) == "1 ordered for Sunday."
    assert registry.execute_function("find_city", {"code": "75001"}) == "Paris"
    with pytest.raises(exceptions.ToolFailedError, match="six digits"):
        registry.execute_function("order_status", {"number": 1})
    for refused in ("all_groups", "restart", "deactivate"):
        with pytest.raises(exceptions.AIServiceError):
            registry.execute_function(refused, user=user)


def test_the_options() -> None:
    options = [name for name in inspect.signature(FunctionRegistry.register).parameters if name != "self"][1:]
    assert [row[0].strip("`") for row in rows("## ai_function")] == options


def test_the_fields_of_a_caller() -> None:
    named = [name for row in rows("## Caller") for name in re.findall(r"`(\w+)`", row[0])]
    assert named == list(Caller.__dataclass_fields__)


def test_the_codes_and_their_errors() -> None:
    table = [(code.strip("`"), error.strip("`")) for code, _, error in rows("## Refusals")]
    call = FunctionCall(id="c", name="f")
    assert table == [(code, type(failed(call, code, "x").error).__name__) for code in ERROR_CODES]


def test_the_methods_of_the_registry() -> None:
    named = [row[0].strip("`").partition("(")[0] for row in rows("## function_registry")]
    methods = {
        name for name, value in vars(FunctionRegistry).items() if inspect.isfunction(value) and name[0] != "_"
    }
    assert set(named) == methods


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (MAX_DESCRIPTION, "at most {} characters"),
        (results.MAX_RESULT_CHARS, "More than {} characters are cut"),
        (results.MAX_ROWS + 1, "at most {} rows"),
        (contracts.MAX_ARGUMENT_BYTES, "more than {} bytes"),
        (running.WIDTH, "at most {} at a time"),
        (threads.MAX_THREADS, "at most {}, with the context"),
    ],
)
def test_the_numbers(number: int, words: str) -> None:
    assert words.format(f"{number:,}") in " ".join(REFERENCE.split())


@pytest.mark.parametrize("page", ["how-to/functions.md", "reference/functions.md", "explanation/trust.md"])
def test_links_lead_somewhere(page: str) -> None:
    path = DOCS / page
    for target, anchor in re.findall(r"\]\(([\w./-]+\.md)(?:#([\w-]+))?\)", path.read_text(encoding="utf-8")):
        text = (path.parent / target).read_text(encoding="utf-8")
        headings = {
            heading.lower().replace(" ", "-") for heading in re.findall(r"^#+ (.+)$", text, re.MULTILINE)
        }
        assert not anchor or anchor in headings
