"""The form of a schema that providers take, judged by the rules that the shipped fake provider enforces."""

from __future__ import annotations

from copy import deepcopy
from datetime import date, datetime, timedelta
from decimal import Decimal
from enum import Enum
from typing import Annotated, Any, Literal, NamedTuple
from uuid import UUID

import pytest
from pydantic import BaseModel, ConfigDict, Field, create_model
from typing_extensions import TypedDict

from django_chatgpt.core.schema import accepts_null, is_strict, provider_form
from django_chatgpt.testing.errors import Refusal
from django_chatgpt.testing.tools import check_tools


def form_of(hint: Any, **options: Any) -> Any:
    """The form of an object with one property `x` of this type."""
    return provider_form(create_model("Model", x=(hint, Field(**options))).model_json_schema())


def property_of(hint: Any, **options: Any) -> Any:
    return form_of(hint, **options).schema["properties"]["x"]


def is_taken(schema: dict[str, Any]) -> bool:
    """Whether a provider takes it in strict mode."""
    tool = {"type": "function", "name": "f", "parameters": schema, "strict": True}
    try:
        check_tools({"tools": [tool]}, None)
    except Refusal:
        return False
    return True


def keywords(schema: Any) -> set[str]:
    """Every key used anywhere, names of properties left out."""
    if isinstance(schema, list):
        return {key for each in schema for key in keywords(each)}
    if not isinstance(schema, dict):
        return set()
    found = set(schema)
    for key, value in schema.items():
        found |= (
            {inner for each in value.values() for inner in keywords(each)}
            if key
            in (
                "properties",
                "$defs",
            )
            else keywords(value)
        )
    return found


class Unit(Enum):
    """How warm it is told."""

    CELSIUS = "celsius"
    FAHRENHEIT = "fahrenheit"


class Place(BaseModel):
    """Where it is."""

    title: str
    default: int = 3
    unit: Unit = Unit.CELSIUS


class Tree(BaseModel):
    name: str
    branches: list[Tree] = Field([], description="What grows on it.")
    parent: Tree | None = None


class Options(TypedDict, total=False):
    colour: str


class Point(NamedTuple):
    x: int
    y: int


class Open(BaseModel):
    model_config = ConfigDict(extra="allow")


class Cat(BaseModel):
    kind: Literal["cat"]


class Dog(BaseModel):
    kind: Literal["dog"]


STRICT: list[Any] = [
    str,
    int,
    float,
    bool,
    None,
    str | None,
    int | str,
    list[int],
    set[str],
    tuple[int, ...],
    Literal["a"],
    Literal["a", 1, None],
    Unit,
    Place,
    list[Place],
    Place | None,
    Tree,
    list[Tree],
    Options,
    date,
    datetime,
    timedelta,
    Decimal,
    UUID,
    Annotated[str, Field(min_length=2, max_length=5, pattern="^a")],
    Annotated[int, Field(ge=1, le=5)],
    Annotated[list[int], Field(min_length=1)],
    Annotated[Cat | Dog, Field(discriminator="kind")],
]

PLAIN: list[Any] = [
    Any,
    object,
    dict,
    dict[str, int],
    list,
    list[Any],
    list[dict[str, str]],
    tuple[int, str],
    Point,
    Open,
    dict[str, Any] | None,
]


@pytest.mark.parametrize("hint", STRICT, ids=str)
def test_is_strict_where_it_can_be(hint: Any) -> None:
    form = form_of(hint)
    assert form.strict
    assert is_taken(form.schema)
    assert is_strict(form.schema)
    assert form.schema["required"] == ["x"]
    assert not keywords(form.schema) & {"title", "default", "oneOf", "discriminator", "uniqueItems"}


@pytest.mark.parametrize("hint", PLAIN, ids=str)
def test_is_plain_where_strict_mode_has_no_such_thing(hint: Any) -> None:
    form = form_of(hint)
    assert not form.strict
    assert form.schema["type"] == "object"
    assert not is_strict(form.schema)
    assert not keywords(form.schema) & {"title", "default"}


def test_a_property_may_be_called_like_a_keyword() -> None:
    place = property_of(Place)
    assert place["properties"] == {
        "title": {"type": "string"},
        "default": {"type": "integer"},
        "unit": {"type": "string", "enum": ["celsius", "fahrenheit"], "description": "How warm it is told."},
    }
    assert place["required"] == ["title", "default", "unit"]


def test_what_is_referred_to_is_put_in_place() -> None:
    form = form_of(list[Place])
    assert not keywords(form.schema) & {"$ref", "$defs"}
    assert form.schema["properties"]["x"]["items"]["description"] == "Where it is."


def test_a_description_beside_a_reference_wins() -> None:
    assert property_of(Unit, description="The unit.")["description"] == "The unit."


def test_what_contains_itself_stays_a_reference() -> None:
    form = form_of(Tree)
    tree = form.schema["$defs"]["Tree"]
    assert form.schema["properties"]["x"] == {"$ref": "#/$defs/Tree"}
    assert tree["required"] == ["name", "branches", "parent"]
    assert tree["properties"]["branches"] == {
        "type": "array",
        "items": {"$ref": "#/$defs/Tree"},
        "description": "What grows on it.",
    }


def test_nothing_may_stand_beside_a_reference_in_strict_mode() -> None:
    assert property_of(Tree, description="An oak.") == {
        "anyOf": [{"$ref": "#/$defs/Tree"}],
        "description": "An oak.",
    }


def test_limits_that_strict_mode_does_not_know_are_told_in_words() -> None:
    hint = Annotated[str, Field(min_length=2, max_length=5, description="A code")]
    assert property_of(hint) == {
        "type": "string",
        "description": "A code (at least 2 characters, at most 5 characters)",
    }


def test_limits_stay_where_the_form_is_plain() -> None:
    model = create_model("Model", x=(Annotated[str, Field(min_length=2)], ...), y=(dict[str, int], ...))
    assert provider_form(model.model_json_schema()).schema["properties"]["x"] == {
        "type": "string",
        "minLength": 2,
    }


@pytest.mark.parametrize("pattern", [r"^(?!a)b", r"^(?=a)b", r"(?<=a)b", r"(?<!a)b"])
def test_patterns_that_look_around_are_dropped(pattern: str) -> None:
    schema = {"type": "object", "properties": {"x": {"type": "string", "pattern": pattern}}}
    assert provider_form(schema).schema["properties"]["x"] == {"type": "string"}


def test_formats_that_strict_mode_does_not_know_are_dropped() -> None:
    schema = {"type": "object", "properties": {"x": {"type": "string", "format": "uri"}}}
    assert provider_form(schema).schema["properties"]["x"] == {"type": "string"}


def test_a_choice_of_mixed_values_has_all_their_types() -> None:
    assert property_of(Literal["a", 1, None])["type"] == ["string", "integer", "null"]
    assert property_of(Literal[True])["type"] == "boolean"


def test_the_same_description_is_said_once() -> None:
    hint = Annotated[int, Field(description="How many.")] | None
    assert property_of(hint, description="How many.") == {
        "anyOf": [{"type": "integer"}, {"type": "null"}],
        "description": "How many.",
    }


def nested(depth: int) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "string"}
    for _ in range(depth):
        schema = {"type": "object", "properties": {"x": schema}}
    return schema


@pytest.mark.parametrize(
    ("schema", "strict"),
    [
        (nested(10), True),
        (nested(11), False),
        ({"type": "object", "properties": {str(n): {"type": "null"} for n in range(5000)}}, True),
        ({"type": "object", "properties": {str(n): {"type": "null"} for n in range(5001)}}, False),
        ({"type": "object", "properties": {"x": {"enum": list(range(1000))}}}, True),
        ({"type": "object", "properties": {"x": {"enum": list(range(1001))}}}, False),
        ({"type": "array", "items": {"type": "string"}}, False),
        ({"anyOf": [{"type": "object"}]}, False),
        ({"type": "object", "properties": {"x": {"type": "array", "items": True}}}, False),
    ],
    ids=["10 deep", "11 deep", "5000", "5001", "1000 values", "1001 values", "array", "choice", "any item"],
)
def test_the_bounds_of_strict_mode(schema: dict[str, Any], strict: bool) -> None:
    assert provider_form(schema).strict is strict


def test_what_was_given_is_not_changed() -> None:
    schema = create_model("Model", x=(list[Tree], ...)).model_json_schema()
    before = deepcopy(schema)
    provider_form(schema)
    assert schema == before


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "object", "properties": {"x": {"type": "string"}}},
        {"type": "object", "properties": {"x": {"type": "string"}}, "additionalProperties": False},
        {
            "type": "object",
            "properties": {"x": {"type": "string", "default": "a"}},
            "required": ["x"],
            "additionalProperties": False,
        },
    ],
)
def test_a_schema_by_hand_that_is_not_strict(schema: dict[str, Any]) -> None:
    assert not is_strict(schema)


@pytest.mark.parametrize(
    ("hint", "accepted"),
    [
        (str, False),
        (str | None, True),
        (None, True),
        (Any, True),
        (Literal["a"], False),
        (Literal[None], True),
        (Literal["a", None], True),
        (Unit, False),
        (Unit | None, True),
        (Place, False),
        (Tree | None, True),
        (Annotated[Cat | Dog, Field(discriminator="kind")], False),
    ],
    ids=str,
)
def test_whether_null_is_accepted(hint: Any, accepted: bool) -> None:
    schema = create_model("Model", x=(hint, ...)).model_json_schema()
    assert accepts_null(schema["properties"]["x"], schema.get("$defs", {})) is accepted


def test_a_list_of_types_may_have_null() -> None:
    assert accepts_null({"type": ["string", "null"]}, {})
    assert not accepts_null({"type": ["string", "integer"]}, {})
