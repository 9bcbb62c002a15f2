"""What the model sees of a function's arguments, and what it is told of those that are wrong."""

from __future__ import annotations

import datetime
import json
import uuid
from collections.abc import Callable
from contextlib import suppress
from decimal import Decimal
from enum import Enum
from functools import partial, wraps
from typing import TYPE_CHECKING, Annotated, Any, Literal, Optional

import pytest
from django.contrib.auth.models import User
from django.db import models
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, Field, field_validator

from django_chatgpt.functions import Caller, Function
from django_chatgpt.functions.arguments import ArgumentsError
from django_chatgpt.functions.contracts import MAX_ARGUMENT_BYTES
from django_chatgpt.testing.tools import check_tools

if TYPE_CHECKING:
    from collections.abc import Sequence as OnlyForTypeCheckers


class Unit(Enum):
    CELSIUS = "celsius"
    FAHRENHEIT = "fahrenheit"


class Size(models.TextChoices):
    SMALL = "s", "Small"
    LARGE = "l", "Large"


class Item(BaseModel):
    name: str = Field(description="What it is called.")
    amount: int = Field(1, ge=1)
    tags: list[str] = []


def order(
    city: str,
    items: list[Item],
    unit: Unit = Unit.CELSIUS,
    size: Size = Size.SMALL,
    speed: Literal["slow", "fast"] = "slow",
    limit: Annotated[int, Field(description="How many.", gt=0, le=50)] = 10,
    when: datetime.date | None = None,
    at: Optional[datetime.datetime] = None,  # noqa: UP045 - the older way to write it
    price: Decimal = Decimal("1.5"),
    key: uuid.UUID | None = None,
) -> str:
    """Order something.

    Args:
        city: Where to.
        limit: Not this text: the hint has its own.
        size: How large.
    """
    return city


def contract(function: Callable[..., Any], **options: Any) -> Any:
    made = Function("f", function, **options)
    assert [problem for problem in made.problems if problem.is_error] == []
    return made.contract


def read(function: Callable[..., Any], text: str, **options: Any) -> dict[str, Any]:
    values: dict[str, Any] = contract(function, **options).read(text).values
    return values


def refused(function: Callable[..., Any], text: str, **options: Any) -> dict[str, str]:
    with pytest.raises(ArgumentsError) as caught:
        read(function, text, **options)
    return caught.value.problems


def properties(function: Callable[..., Any]) -> dict[str, Any]:
    schema: dict[str, Any] = contract(function).form.schema["properties"]
    return schema


def city_and_days(city: str = "", days: int = 1) -> None: ...


def anything(**kwargs: Any) -> None: ...


CITY = contract(city_and_days)
ANYTHING = contract(anything, parameters={"type": "object"})


class TestSchema:
    def test_each_kind_of_hint(self) -> None:
        null = {"type": "null"}
        assert properties(order) == {
            "city": {"type": "string", "description": "Where to."},
            "items": {
                "type": "array",
                "items": {
                    "type": "object",
                    "properties": {
                        "name": {"type": "string", "description": "What it is called."},
                        "amount": {"type": "integer", "minimum": 1},
                        "tags": {"type": "array", "items": {"type": "string"}},
                    },
                    "required": ["name", "amount", "tags"],
                    "additionalProperties": False,
                },
            },
            "unit": {"anyOf": [{"type": "string", "enum": ["celsius", "fahrenheit"]}, null]},
            "size": {"anyOf": [{"type": "string", "enum": ["s", "l"]}, null], "description": "How large."},
            "speed": {"anyOf": [{"type": "string", "enum": ["slow", "fast"]}, null]},
            "limit": {
                "anyOf": [{"type": "integer", "exclusiveMinimum": 0, "maximum": 50}, null],
                "description": "How many.",
            },
            "when": {"anyOf": [{"type": "string", "format": "date"}, null]},
            "at": {"anyOf": [{"type": "string", "format": "date-time"}, null]},
            "price": {"anyOf": [{"type": "number"}, {"type": "string"}, null]},
            "key": {"anyOf": [{"type": "string", "format": "uuid"}, null]},
        }

    def test_is_strict_and_a_provider_takes_it_in_both_dialects(self) -> None:
        schema = Function("order", order).schema
        assert schema["strict"] is True
        assert schema["parameters"]["required"] == list(schema["parameters"]["properties"])
        check_tools({"tools": [{"type": "function", **schema}]}, None)
        check_tools({"tools": [{"type": "function", "function": schema}]}, "function")

    def test_nothing_to_give(self) -> None:
        def ping() -> None: ...

        assert contract(ping).form.schema == {
            "type": "object",
            "properties": {},
            "required": [],
            "additionalProperties": False,
        }

    @pytest.mark.parametrize("hint", [dict[str, int], Any, dict, list, tuple[int, str]], ids=str)
    def test_not_strict_where_strict_mode_can_not_say_it(self, hint: Any) -> None:
        def function(x: Any) -> None: ...

        function.__annotations__["x"] = hint
        schema = Function("f", function).schema
        assert schema["strict"] is False
        assert schema["parameters"]["required"] == ["x"]
        check_tools({"tools": [{"type": "function", **schema}]}, None)

    def test_names_that_no_field_of_a_model_may_have(self) -> None:
        def function(
            json: str, _private: int, model_config: bool, schema: str, copy: str, p0: int
        ) -> None: ...

        given = {"json": "a", "_private": 1, "model_config": True, "schema": "b", "copy": "c", "p0": 2}
        assert list(properties(function)) == list(given)
        assert read(function, json.dumps(given)) == given

    def test_a_field_as_the_default(self) -> None:
        def function(
            city: str = Field(description="Where."),
            days: int = Field(3, description="How long.", ge=1),
            tags: list[str] = Field(default_factory=lambda: ["a"]),  # noqa: B008
        ) -> None: ...

        assert properties(function)["city"] == {"type": "string", "description": "Where."}
        assert properties(function)["days"]["description"] == "How long."
        assert read(function, '{"city": "Rome"}') == {"city": "Rome", "days": 3, "tags": ["a"]}
        assert refused(function, "{}") == {"city": "is missing."}

    def test_a_choice_of_models_is_told_apart(self) -> None:
        class Cat(BaseModel):
            kind: Literal["cat"]
            lives: int

        class Dog(BaseModel):
            kind: Literal["dog"]
            barks: bool

        def adopt(pet: Any, second: Any = None) -> None: ...

        hint = Annotated[Cat | Dog, Field(discriminator="kind")]
        adopt.__annotations__ |= {"pet": hint, "second": hint}
        assert [len(each["anyOf"]) for each in properties(adopt).values()] == [2, 2]
        assert read(adopt, '{"pet": {"kind": "dog", "barks": true}}')["pet"] == Dog(kind="dog", barks=True)
        assert refused(adopt, '{"pet": {"kind": "cat"}}') == {"pet.lives": "is missing."}
        assert list(refused(adopt, '{"pet": {"kind": "fox"}}')) == ["pet"]

    def test_a_field_with_an_alias_keeps_the_name_of_the_parameter(self) -> None:
        def function(city: Annotated[str, Field(alias="town", validation_alias="place")]) -> None: ...

        assert list(properties(function)) == ["city"]
        assert read(function, '{"city": "Rome"}') == {"city": "Rome"}

    def test_a_default_that_json_can_not_say_is_no_problem(self) -> None:
        class Holder(BaseModel):
            kind: Any = object()

        def function(x: int = object(), holder: Holder | None = None) -> None: ...  # type: ignore[assignment]

        function.__annotations__["holder"] = Holder | None
        assert list(properties(function)) == ["x", "holder"]

    def test_a_wrapped_function_is_read_through_its_wrapper(self) -> None:
        def loud(function: Callable[..., Any]) -> Callable[..., Any]:
            @wraps(function)
            def wrapper(*args: Any, **kwargs: Any) -> Any:
                return function(*args, **kwargs)

            return wrapper

        assert properties(loud(order)) == properties(order)

    def test_a_partial_asks_for_what_is_left(self) -> None:
        def function(city: str, unit: Unit, days: int) -> None: ...

        left = contract(partial(function, unit=Unit.CELSIUS, days=2))
        assert left.form.schema["properties"]["city"] == {"type": "string"}
        assert left.read('{"city": "Rome"}').values == {"city": "Rome", "unit": Unit.CELSIUS, "days": 2}

    def test_an_object_that_can_be_called(self) -> None:
        class Weather:
            """Tell the weather."""

            def __call__(self, city: str, unit: Unit = Unit.CELSIUS) -> str:
                return city

        assert list(properties(Weather())) == ["city", "unit"]

    def test_a_bound_method(self) -> None:
        class Weather:
            def tell(self, city: str) -> str:
                """Tell the weather."""
                return city

        assert list(properties(Weather().tell)) == ["city"]

    def test_the_return_type_need_not_be_resolvable(self) -> None:
        def function(city: str) -> OnlyForTypeCheckers[str]:
            raise NotImplementedError

        assert list(properties(function)) == ["city"]


class TestCaller:
    @pytest.mark.parametrize(
        "hint", [Caller, Caller | None, Annotated[Caller, "x"], Annotated[Caller | None, 1]]
    )
    def test_is_not_seen_and_can_not_be_given(self, hint: Any) -> None:
        def function(city: str, who: Any) -> None: ...

        function.__annotations__["who"] = hint
        made = Function("f", function)
        assert made.callers == ("who",)
        assert list(made.schema["parameters"]["properties"]) == ["city"]
        assert refused(function, '{"city": "Rome", "who": {"user": 1}}') == {
            "who": "is no argument of this function; it takes city."
        }

    def test_can_not_be_had_within_something_else(self) -> None:
        def function(callers: list[Caller]) -> None: ...

        [problem] = [each for each in Function("f", function).problems if each.is_error]
        assert problem.check == "django_chatgpt.E105"

    def test_can_not_be_had_in_the_hand_written_schema(self) -> None:
        def function(who: Caller) -> None: ...

        made = Function("f", function, parameters={"type": "object", "properties": {"who": {}}})
        assert [each.check for each in made.problems if each.is_error] == ["django_chatgpt.E106"]


class TestReading:
    def test_values_are_what_the_hints_say(self) -> None:
        text = json.dumps(
            {
                "city": "Rome",
                "items": [{"name": "tea"}],
                "unit": "fahrenheit",
                "size": "l",
                "when": "2026-11-22",
                "at": "2026-11-22T10:00:00Z",
                "price": "9.99",
                "key": str(uuid.UUID(int=7)),
            }
        )
        assert read(order, text) == {
            "city": "Rome",
            "items": [Item(name="tea")],
            "unit": Unit.FAHRENHEIT,
            "size": Size.LARGE,
            "speed": "slow",
            "limit": 10,
            "when": datetime.date(2026, 11, 22),
            "at": datetime.datetime(2026, 11, 22, 10, tzinfo=datetime.UTC),
            "price": Decimal("9.99"),
            "key": uuid.UUID(int=7),
        }

    def test_null_is_the_default_where_null_is_no_value(self) -> None:
        def function(days: int = 3, city: str | None = "Rome", name: str = None) -> None: ...  # type: ignore[assignment]  # noqa: RUF013

        assert read(function, '{"days": null, "city": null, "name": null}') == {
            "days": 3,
            "city": None,
            "name": None,
        }

    @pytest.mark.parametrize("text", ["", "  ", "{}", "null", "\n"])
    def test_nothing_at_all(self, text: str) -> None:
        def function(days: int = 3) -> None: ...

        assert read(function, text) == {"days": 3}

    def test_unicode(self) -> None:
        def function(city: str) -> None: ...

        assert read(function, '{"city": "Zürich 東京 🦊 \\u0000"}') == {"city": "Zürich 東京 🦊 \x00"}

    @given(
        st.dictionaries(st.text(), st.none() | st.floats(allow_nan=False, allow_infinity=False) | st.text())
    )
    def test_the_canonical_form_does_not_depend_on_order_or_layout(self, value: dict[str, Any]) -> None:
        upside_down = dict(reversed(value.items()))
        first = ANYTHING.read(json.dumps(value))
        second = ANYTHING.read(json.dumps(upside_down, indent=3, ensure_ascii=False))
        assert first.canonical == second.canonical
        assert json.loads(first.canonical) == value == first.values


class TestRefusals:
    def test_every_argument_that_is_wrong_is_named(self) -> None:
        assert refused(
            order,
            '{"citty": 1, "items": [{"nam": "tea"}, {"name": "x", "amount": 0}], "unit": "kelvin", '
            '"limit": "many", "when": "tomorrow"}',
        ) == {
            "city": "is missing.",
            "items[0].name": "is missing.",
            "items[1].amount": "should be greater than or equal to 1, not 0.",
            "unit": "should be 'celsius' or 'fahrenheit', not \"kelvin\".",
            "limit": 'should be a valid integer, unable to parse string as an integer, not "many".',
            "when": 'should be a valid date or datetime, input is too short, not "tomorrow".',
            "citty": (
                "is no argument of this function; it takes city, items, unit, size, speed, limit, when, at, "
                "price, key. Did you mean city?"
            ),
        }

    @pytest.mark.parametrize(
        ("text", "problem"),
        [
            ("{", "The arguments are not valid JSON: EOF while parsing an object at line 1 column 1."),
            (
                '{"city": "Rome"',
                "The arguments are not valid JSON: EOF while parsing an object at line 1 column 15.",
            ),
            ("Rome", "The arguments are not valid JSON: expected value at line 1 column 1."),
            (
                '{"city": "Rome"} x',
                "The arguments are not valid JSON: trailing characters at line 1 column 18.",
            ),
            ('["Rome"]', "The arguments must be a JSON object."),
            ('"{}"', "The arguments must be a JSON object."),
            ("3", "The arguments must be a JSON object."),
            ('{"city": NaN}', "The arguments are not valid JSON: expected value at line 1 column 10."),
            (
                '{"city": "a", "city": "b"}',
                'The arguments are not valid JSON: Detected duplicate key "city" at line 1 column 22.',
            ),
        ],
    )
    def test_no_json_object(self, text: str, problem: str) -> None:
        def function(city: str) -> None: ...

        assert refused(function, text) == {"": problem}

    @pytest.mark.parametrize(
        "text",
        ['{"city": "\ud800"', "\x00", '{"city": "\\ud800"}', "[" * 100_000, '{"a":' * 100_000, "\ufeff{}"],
        ids=["lone surrogate", "NUL", "escaped surrogate", "deep list", "deep object", "byte order mark"],
    )
    def test_what_parsers_choke_on(self, text: str) -> None:
        def function(city: str = "") -> None: ...

        assert list(refused(function, text)) == [""]

    def test_a_megabyte(self) -> None:
        def function(city: str) -> None: ...

        fits = json.dumps({"city": "x" * (MAX_ARGUMENT_BYTES - 20)})
        assert len(read(function, fits)["city"]) == MAX_ARGUMENT_BYTES - 20
        too_long = json.dumps({"city": "x" * MAX_ARGUMENT_BYTES})
        assert refused(function, too_long) == {
            "": f"The arguments have {len(too_long)} bytes; at most 1000000 are taken."
        }

    def test_what_was_given_is_never_repeated_at_length(self) -> None:
        def function(number: int, names: dict[int, str]) -> None: ...

        long = "x" * 100_000
        problems = refused(function, json.dumps({"number": long, "names": {long: "a"}, long: 1}))
        assert len(" ".join([*problems, *problems.values()])) < 1_000

    def test_only_some_of_many_problems_are_told(self) -> None:
        def function(numbers: list[int]) -> None: ...

        with pytest.raises(ArgumentsError) as caught:
            read(function, json.dumps({"numbers": ["x"] * 1000}))
        assert len(caught.value.problems) == 1000
        assert caught.value.text.endswith(" And 992 more.")
        assert len(caught.value.text) < 1_000

    def test_every_branch_of_a_union_is_told_at_its_place(self) -> None:
        def function(number: int | list[int]) -> None: ...

        assert refused(function, '{"number": "x"}') == {
            "number": 'should be a valid integer, unable to parse string as an integer, not "x". '
            'Or it should be a valid array, not "x".'
        }

    def test_no_number_that_is_none(self) -> None:
        def function(number: float) -> None: ...

        assert refused(function, '{"number": "nan"}') == {"number": 'should be a finite number, not "nan".'}

    def test_a_validator_of_the_site_speaks_for_itself(self) -> None:
        class Even(BaseModel):
            number: int

            @field_validator("number")
            @classmethod
            def is_even(cls, number: int) -> int:
                if number % 2:
                    raise ValueError("Only even numbers can be halved")
                return number

        def halve(even: Even) -> None: ...

        halve.__annotations__["even"] = Even
        assert refused(halve, '{"even": {"number": 3}}') == {
            "even.number": "Only even numbers can be halved, not 3."
        }

    def test_an_argument_too_many_of_a_model_within(self) -> None:
        class Closed(BaseModel, extra="forbid"):
            name: str

        def function(closed: Closed) -> None: ...

        function.__annotations__["closed"] = Closed
        assert refused(function, '{"closed": {"name": "a", "nam": "b"}}') == {
            "closed.nam": "is not taken here."
        }

    @given(st.text() | st.binary().map(lambda data: data.decode("utf-8", "surrogateescape")))
    def test_any_text_is_read_or_refused(self, text: str) -> None:
        with suppress(ArgumentsError):
            assert list(CITY.read(text).values) == ["city", "days"]


HAND_WRITTEN: dict[str, Any] = {
    "type": "object",
    "properties": {
        "location": {"type": "string", "description": "City and country", "minLength": 2},
        "unit": {"type": "string", "enum": ["celsius", "fahrenheit"]},
    },
    "required": ["location"],
}


class TestSchemaByHand:
    def test_is_what_the_model_sees(self) -> None:
        def weather(location, unit="celsius"): ...  # type: ignore[no-untyped-def]

        assert contract(weather, parameters=HAND_WRITTEN).form.schema == HAND_WRITTEN
        assert not contract(weather, parameters=HAND_WRITTEN).form.strict

    def test_is_strict_if_it_is_written_so(self) -> None:
        def weather(location: str) -> None: ...

        schema = {
            "type": "object",
            "properties": {"location": {"type": "string"}},
            "required": ["location"],
            "additionalProperties": False,
        }
        assert contract(weather, parameters=schema).form.strict

    def test_is_what_arguments_are_held_to(self) -> None:
        def weather(location, unit="celsius"): ...  # type: ignore[no-untyped-def]

        assert read(weather, '{"location": "Rome"}', parameters=HAND_WRITTEN) == {
            "location": "Rome",
            "unit": "celsius",
        }
        assert refused(weather, '{"location": "x", "unit": "kelvin"}', parameters=HAND_WRITTEN) == {
            "location": "'x' is too short.",
            "unit": "'kelvin' is not one of ['celsius', 'fahrenheit'].",
        }
        assert refused(weather, "{}", parameters=HAND_WRITTEN) == {"": "'location' is a required property."}

    def test_the_hints_still_count(self) -> None:
        def plan(day: datetime.date) -> None: ...

        schema = {"type": "object", "properties": {"day": {"type": "string"}}, "required": ["day"]}
        assert read(plan, '{"day": "2026-11-22"}', parameters=schema) == {"day": datetime.date(2026, 11, 22)}
        assert list(refused(plan, '{"day": "soon"}', parameters=schema)) == ["day"]

    def test_arguments_that_the_function_does_not_take(self) -> None:
        def weather(location: str) -> None: ...

        schema = {"type": "object", "properties": {"location": {}}}
        assert list(refused(weather, '{"location": "Rome", "x": 1}', parameters=schema)) == ["x"]

    def test_a_function_that_takes_any_name(self) -> None:
        def function(**kwargs: Any) -> None: ...

        schema = {"type": "object", "properties": {"a": {"type": "integer"}}, "additionalProperties": False}
        assert read(function, '{"a": 1}', parameters=schema) == {"a": 1}
        assert refused(function, '{"b": 1}', parameters=schema) == {
            "": "Additional properties are not allowed ('b' was unexpected)."
        }

    def test_what_is_wrong_is_told_in_short(self) -> None:
        def weather(location, unit="celsius"): ...  # type: ignore[no-untyped-def]

        long = json.dumps({"location": "Rome", "unit": "x" * 10_000})
        assert len(refused(weather, long, parameters=HAND_WRITTEN)["unit"]) < 100

    def test_no_address_is_ever_fetched(self) -> None:
        def weather(location: str) -> None: ...

        schema = {"type": "object", "properties": {"location": {"$ref": "http://127.0.0.1:9/x.json"}}}
        with pytest.raises(Exception, match="Unresolvable"):
            read(weather, '{"location": "Rome"}', parameters=schema)

    def test_a_later_change_of_the_dict_changes_nothing(self) -> None:
        def weather(location: str) -> None: ...

        schema = {"type": "object", "properties": {"location": {"type": "string"}}}
        made = contract(weather, parameters=schema)
        schema.clear()
        assert list(made.form.schema["properties"]) == ["location"]


PROBLEMS: list[tuple[Callable[..., Any], str, str]] = []


def faulty(check: str, sentence: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    def add(function: Callable[..., Any]) -> Callable[..., Any]:
        PROBLEMS.append((function, check, sentence))
        return function

    return add


@faulty("E103", "takes *names.")
def star(*names: str) -> None:
    """D."""


@faulty("E103", "takes **names, so the model can't know its arguments.")
def stars(**names: str) -> None:
    """D."""


@faulty("E103", "takes city by position only.")
def by_position(city: str, /) -> None:
    """D."""


@faulty("E103", "yields its result in pieces.")
def pieces(city: str) -> Any:
    """D."""
    yield city


@faulty("E103", "yields its result in pieces.")
async def async_pieces(city: str) -> Any:
    """D."""
    yield city


@faulty("E103", "is a class.")
class Weather:
    """D."""


@faulty("E104", "has no type hint for city.")
def no_hint(city) -> None:  # type: ignore[no-untyped-def]
    """D."""


@faulty("E104", "has no type hint for self.")
def method(self, city: str) -> None:  # type: ignore[no-untyped-def]
    """D."""


@faulty(
    "E105", "has a type hint for names that can't be resolved: name 'OnlyForTypeCheckers' is not defined."
)
def unresolvable(names: OnlyForTypeCheckers[str]) -> None:
    """D."""


@faulty("E105", "has a type hint for user that JSON can't say: Unable to generate pydantic-core schema for")
def a_model(user: User) -> None:
    """D."""


@faulty("E105", "has a type hint for work that JSON can't say: Cannot generate a JsonSchema for")
def a_callable(work: Callable[[], None]) -> None:
    """D."""


@faulty("E105", "has a type hint for city that")
def no_type(city: 5) -> None:  # type: ignore[valid-type]
    """D."""


@pytest.mark.parametrize(
    ("function", "check", "sentence"), PROBLEMS, ids=lambda value: getattr(value, "__name__", "")
)
def test_a_signature_that_can_not_be_used_is_told_at_start(
    function: Callable[..., Any], check: str, sentence: str
) -> None:
    made = Function("f", function)
    [problem] = made.problems
    assert problem.check == f"django_chatgpt.{check}"
    assert problem.sentence.startswith(sentence)
    assert problem.where == f"{__name__}.{function.__qualname__}"
    assert not made.is_usable


def test_what_python_knows_no_signature_of() -> None:
    [problem] = Function("max", max, description="D.").problems
    assert problem.check == "django_chatgpt.E103"
    assert problem.sentence.startswith("has no signature that can be read: ")


@pytest.mark.parametrize(
    ("parameters", "sentence"),
    [
        ({"type": "string"}, 'are no JSON schema of an object: "type" must be "object".'),
        ({}, 'are no JSON schema of an object: "type" must be "object".'),
        ({"type": "objekt"}, 'are no JSON schema of an object: "type" must be "object".'),
        (
            {"type": "object", "properties": {"city": {"type": "text"}}},
            "are no JSON schema: 'text' is not valid under any of the given schemas.",
        ),
        ({"type": "object", "properties": []}, "are no JSON schema: [] is not of type 'object'."),
        (
            {"type": "object", "x": object},
            "are no JSON schema: Object of type type is not JSON serializable.",
        ),
        ([], 'are no JSON schema of an object: "type" must be "object".'),
        (
            {"type": "object", "properties": {"city": {}, "town": {}}},
            "name town, which the function does not take.",
        ),
        ({"type": "object"}, "leave out city, without which the function can't be called."),
    ],
)
def test_a_schema_by_hand_that_does_not_fit_is_told_at_start(parameters: Any, sentence: str) -> None:
    def weather(city: str) -> None:
        """D."""

    problems = Function("f", weather, parameters=parameters).problems
    assert [(each.check, each.sentence) for each in problems] == [
        ("django_chatgpt.E106", f"has `parameters=` that {sentence}")
    ]
