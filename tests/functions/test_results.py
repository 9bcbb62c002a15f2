from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from types import MappingProxyType
from typing import Any
from uuid import UUID

import pytest
from django.contrib.auth.models import User
from django.db import connection, models
from django.test.utils import CaptureQueriesContext
from django.utils.safestring import mark_safe
from django.utils.translation import gettext_lazy
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, SecretStr

from django_chatgpt.functions.results import (
    MAX_RESULT_CHARS,
    MAX_ROWS,
    ResultError,
    capped,
    render_result,
    storable,
)


class Weather(BaseModel):
    city: str
    warmth: Decimal
    key: SecretStr = SecretStr("x")


@dataclass
class Station:
    name: str
    since: date


class Unit(Enum):
    CELSIUS = "c"


class Size(models.TextChoices):
    SMALL = "s", "Small"


VALUES: list[tuple[Any, Any]] = [
    (None, None),
    (True, True),
    (3, 3),
    (10**30, 10**30),
    (1.5, 1.5),
    (float("nan"), "NaN"),
    (float("-inf"), "-Infinity"),
    ([1, "a", None], [1, "a", None]),
    ((1, 2), [1, 2]),
    ({1}, [1]),
    (frozenset({"a"}), ["a"]),
    ({"a": {"b": [1]}}, {"a": {"b": [1]}}),
    ({1: "a", UUID(int=1): "b"}, {"1": "a", str(UUID(int=1)): "b"}),
    (OrderedDict(a=1), {"a": 1}),
    (MappingProxyType({"a": 1}), {"a": 1}),
    ({"a": 1}.values(), [1]),
    ((n for n in (1, 2)), [1, 2]),
    (Decimal("1.10"), "1.10"),
    (date(2026, 11, 22), "2026-11-22"),
    (datetime(2026, 11, 22, 10, tzinfo=UTC), "2026-11-22T10:00:00Z"),
    (time(10, 30), "10:30:00"),
    (timedelta(hours=1), "PT1H"),
    (UUID(int=7), "00000000-0000-0000-0000-000000000007"),
    (Unit.CELSIUS, "c"),
    (Size.SMALL, "s"),
    ([Size.SMALL], ["s"]),
    (b"bytes", "bytes"),
    (Weather(city="Rome", warmth=Decimal("21.5")), {"city": "Rome", "warmth": "21.5", "key": "**********"}),
    (Station("north", date(2026, 1, 1)), {"name": "north", "since": "2026-01-01"}),
    ([Station("north", date(2026, 1, 1))], [{"name": "north", "since": "2026-01-01"}]),
    ({"text": gettext_lazy("Yes")}, {"text": "Yes"}),
]


@pytest.mark.parametrize(("value", "expected"), VALUES, ids=lambda value: type(value).__name__)
def test_each_kind_of_value(value: Any, expected: Any) -> None:
    result = render_result(value)
    assert result.is_json
    assert json.loads(result.text) == expected == result.value


@pytest.mark.parametrize("text", ["", "Sunny.", "Zürich 東京 🦊", '{"a": 1}', mark_safe("<b>")])
def test_a_text_is_taken_as_it_is(text: str) -> None:
    result = render_result(text)
    assert not result.is_json
    assert result.text == result.value == result.for_model == text


def test_a_text_that_no_database_takes() -> None:
    assert render_result("a\x00b\ud800c").text == "a\N{REPLACEMENT CHARACTER}b?c"
    assert render_result({"x": "\x00"}).text == '{"x":"\\u0000"}'


@given(st.text() | st.text(alphabet=st.characters(categories=["Cs", "Cc"])))
def test_every_text_can_be_stored(text: str) -> None:
    stored = storable(text)
    assert "\x00" not in stored
    assert stored.encode().decode() == stored
    assert len(stored) == len(text)


def looped() -> list[Any]:
    loop: list[Any] = []
    loop.append(loop)
    return loop


def deep() -> list[Any]:
    nested: list[Any] = []
    for _ in range(10_000):
        nested = [nested]
    return nested


class Broken:
    def __repr__(self) -> str:
        raise RuntimeError("no")


class Unruly(Mapping[str, Any]):
    def __getitem__(self, key: str) -> Any:
        raise RuntimeError("no")

    def __iter__(self) -> Any:
        raise RuntimeError("no")

    def __len__(self) -> int:
        return 1


@pytest.mark.parametrize(
    "value",
    [object(), Broken(), Unruly(), print, b"\xff", looped(), deep(), [object()], {"a": {1: object()}}],
    ids=lambda value: type(value).__name__,
)
def test_what_json_can_not_say(value: Any) -> None:
    with pytest.raises(ResultError):
        render_result(value)


@pytest.mark.parametrize(
    "value", [User(username="ada"), [User()], {"user": User()}], ids=["one", "list", "dict"]
)
def test_a_model_instance_is_refused(value: Any) -> None:
    with pytest.raises(ResultError, match=r"User is a model instance; return the fields that may be told"):
        render_result(value)


@pytest.mark.django_db
class TestQuerysets:
    @pytest.fixture(autouse=True)
    def _users(self, user: User, other_user: User) -> None: ...

    def test_of_values(self) -> None:
        assert render_result(User.objects.order_by("username").values("username")).value == [
            {"username": "ada"},
            {"username": "bob"},
        ]

    def test_of_values_lists(self) -> None:
        users = User.objects.order_by("username")
        assert render_result(users.values_list("username", "is_staff")).value == [
            ["ada", False],
            ["bob", False],
        ]
        assert render_result(users.values_list("username", flat=True)).value == ["ada", "bob"]
        assert render_result(users.values_list("username", named=True)).value == [["ada"], ["bob"]]

    def test_within_a_dict(self) -> None:
        assert render_result({"users": User.objects.filter(username="ada").values("username")}).value == {
            "users": [{"username": "ada"}]
        }

    def test_of_instances(self) -> None:
        with pytest.raises(ResultError, match="model instance"):
            render_result(User.objects.all())

    def test_only_as_many_rows_as_can_be_told_are_fetched(self) -> None:
        with CaptureQueriesContext(
            connection,
        ) as queries:
            render_result(User.objects.values("username"))
        assert f"LIMIT {MAX_ROWS + 1}" in queries[0]["sql"]

    def test_a_slice_stays_one(self) -> None:
        users = User.objects.order_by("username").values_list("username", flat=True)
        assert render_result(users[1:]).value == ["bob"]


class TestCap:
    def test_what_fits_is_whole(self) -> None:
        assert capped("x" * MAX_RESULT_CHARS) == "x" * MAX_RESULT_CHARS

    def test_what_is_longer_is_cut_and_the_model_is_told(self) -> None:
        assert capped("x" * (MAX_RESULT_CHARS + 1)) == "x" * MAX_RESULT_CHARS + (
            "\n[Cut: these are the first 16000 of 16001 characters. Ask for less at once.]"
        )

    def test_only_the_model_sees_it_cut(self) -> None:
        result = render_result(["x" * 50_000])
        assert len(result.for_model) < 16_200
        assert result.value == ["x" * 50_000]
