"""A body that is long to read: strangers don't have it read, and no event loop stands still for it."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from pydantic import BaseModel

from django_chatgpt.api import body as body_module
from django_chatgpt.api import chat as chat_module
from django_chatgpt.api import turns as turns_module
from django_chatgpt.testing import FakeOpenAI
from tests.api.conftest import ABSENT, Door

pytestmark = pytest.mark.django_db

PATHS = ["/ai/chat/", f"/ai/turns/{ABSENT}/approve/"]
UNKNOWN = json.dumps({f"field_{number}": 1 for number in range(2_000)}).encode()


@pytest.fixture
def readers(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """For every body that is read: whether that was in the thread of a running event loop."""
    read: list[bool] = []

    def parse_body(model: type[BaseModel], request: Any) -> BaseModel:
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            read.append(False)
        else:
            read.append(True)
        return body_module.parse_body(model, request)

    for module in (chat_module, turns_module):
        monkeypatch.setattr(module, "parse_body", parse_body)
    return read


@pytest.mark.parametrize("path", PATHS)
def test_a_stranger_s_is_not_read(anonymous_door: Door, readers: list[bool], path: str) -> None:
    answer = anonymous_door.send("POST", path, UNKNOWN)
    assert (answer.status, answer.error["code"]) == (401, "not_authenticated")
    assert readers == []


@pytest.mark.parametrize("path", PATHS)
def test_it_is_not_read_without_a_csrf_token(csrf_door: Door, readers: list[bool], path: str) -> None:
    answer = csrf_door.send("POST", path, UNKNOWN)
    assert (answer.status, answer.error["code"]) == (403, "csrf_failed")
    assert readers == []


@pytest.mark.parametrize("path", PATHS)
def test_it_is_read_where_no_event_loop_runs(door: Door, readers: list[bool], path: str) -> None:
    assert door.send("POST", path, UNKNOWN).status == 400
    assert readers == [False]


@pytest.mark.parametrize("path", [*PATHS, "/ai/conversations/", "/ai/functions/execute/"])
def test_mistakes_without_end_are_not_told_one_by_one(door: Door, fake: FakeOpenAI, path: str) -> None:
    answer = door.send("POST", path, UNKNOWN)
    assert answer.status == 400
    assert answer.error["fields"] == {"body": "has more than 20 mistakes."}
    assert len(answer.body) < 300
    fake.assert_nothing_asked()


def test_as_many_as_are_told_are_all_told(door: Door) -> None:
    body = {"message": "Hi"} | {f"field_{number}": 1 for number in range(20)}
    answer = door.send("POST", "/ai/chat/", body)
    assert len(answer.error["fields"]) == 20
