"""The HTTP reference says what the interface does."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from pydantic import BaseModel

from django_chatgpt.api import api
from django_chatgpt.api.errors import STATUS
from django_chatgpt.api.schemas import ChatIn, EmbeddingsIn, SearchIn
from django_chatgpt.core import events

PAGE = (Path(__file__).parents[2] / "docs/reference/http.md").read_text()


def section(title: str) -> str:
    return PAGE.split(f"\n## {title}\n", 1)[1].split("\n## ", 1)[0]


def test_every_route_is_listed_and_no_other() -> None:
    listed = set(re.findall(r"^\| ([A-Z]+) \| `([^`]+)`", PAGE, re.MULTILINE))
    paths = api.get_openapi_schema(path_prefix="")["paths"]
    real = {(method.upper(), path.lstrip("/")) for path, methods in paths.items() for method in methods}
    assert listed == real


def test_every_field_of_a_question_is_listed_and_no_other() -> None:
    listed = re.findall(r"^\| `(\w+)`", section("POST chat/"), re.MULTILINE)
    assert listed == list(ChatIn.model_fields)


@pytest.mark.parametrize(
    ("title", "model"), [("POST embeddings/", EmbeddingsIn), ("POST embeddings/search/", SearchIn)]
)
def test_every_field_of_a_body_is_listed_and_no_other(title: str, model: type[BaseModel]) -> None:
    assert re.findall(r"^\| `(\w+)`", section(title), re.MULTILINE) == list(model.model_fields)


def test_every_error_code_is_listed_under_its_status() -> None:
    listed = {
        code: int(status)
        for status, codes in re.findall(r"^\| (\d{3}) \| (.+) \|$", section("Errors"), re.MULTILINE)
        for code in re.findall(r"`(\w+)`", codes)
    }
    assert listed == STATUS


def test_every_event_is_listed_that_this_door_shows() -> None:
    listed = re.findall(r"^\| `(\w+)`", section("Events"), re.MULTILINE)
    hidden = {events.CallStarted.type, events.CallArguments.type, events.Discarded.type}
    shown = {each.type for each in events.TurnEvent.__subclasses__()} - hidden
    assert set(listed) == shown
