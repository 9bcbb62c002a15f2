"""A JSON schema in the form that a provider takes: strict where it can be, plain where it can't.

Strict mode makes the model follow the schema to the letter, but knows only a part of JSON Schema: closed
objects whose properties are all required, no free dictionaries, no defaults. What pydantic writes is brought
into that form here. Everything is checked again when the arguments come in, so a limit that strict mode does
not know may be told in words.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass
from typing import Any, Final

Schema = dict[str, Any]

MAX_DEPTH: Final = 10
MAX_PROPERTIES: Final = 5000
MAX_ENUM_VALUES: Final = 1000

_ONE: Final = ("items", "additionalProperties", "not", "if", "then", "else", "contains", "propertyNames")
_LIST: Final = ("anyOf", "oneOf", "allOf", "prefixItems")
_MAP: Final = ("properties", "$defs", "definitions", "patternProperties", "dependentSchemas")

_NOISE: Final = frozenset({"title", "default", "discriminator", "$schema", "$id", "$comment"})
_KEPT: Final = frozenset(
    [
        "type",
        "properties",
        "required",
        "items",
        "anyOf",
        "enum",
        "const",
        "description",
        "$ref",
        "$defs",
        "pattern",
        "format",
        "minimum",
        "maximum",
        "exclusiveMinimum",
        "exclusiveMaximum",
        "multipleOf",
        "minItems",
        "maxItems",
    ]
)
_NOT_STRICT: Final = frozenset(
    [
        "allOf",
        "oneOf",
        "not",
        "if",
        "then",
        "else",
        "prefixItems",
        "contains",
        "patternProperties",
        "propertyNames",
        "minProperties",
        "maxProperties",
        "dependentRequired",
        "dependentSchemas",
        "unevaluatedProperties",
        "unevaluatedItems",
        "definitions",
    ]
)
_FORMATS: Final = frozenset(
    ["date-time", "time", "date", "duration", "email", "hostname", "ipv4", "ipv6", "uuid"]
)
_TOLD: Final = {"minLength": "at least {} characters", "maxLength": "at most {} characters"}
_LOOKAROUND: Final = re.compile(r"\(\?<?[=!]")
_TYPES: Final = {
    str: "string",
    bool: "boolean",
    int: "integer",
    float: "number",
    type(None): "null",
    list: "array",
    dict: "object",
}


@dataclass(frozen=True, slots=True)
class Form:
    """A schema ready to be sent, and whether the provider may be told to follow it strictly."""

    schema: Schema
    strict: bool


class _NotStrictError(Exception):
    """Strict mode has no way to say this."""


def provider_form(schema: Mapping[str, Any]) -> Form:
    """The form of a schema that pydantic made: references inlined, no titles, no defaults."""
    plain = _tidy(_inline(deepcopy(dict(schema))))
    try:
        return Form(_to_strict(plain), True)
    except _NotStrictError:
        return Form(plain, False)


def is_strict(schema: Mapping[str, Any]) -> bool:
    """Whether strict mode takes a schema that somebody wrote by hand exactly as it stands."""
    try:
        return _to_strict(dict(schema)) == schema
    except _NotStrictError:
        return False


def accepts_null(schema: Mapping[str, Any], definitions: Mapping[str, Any]) -> bool:
    """Whether null is a value that the schema allows; `definitions` are the ones its references name."""
    if "$ref" in schema:
        return accepts_null(definitions[_name_of(schema["$ref"])], definitions)
    for key in ("anyOf", "oneOf"):
        if key in schema:
            return any(accepts_null(each, definitions) for each in schema[key])
    if "const" in schema:
        return schema["const"] is None
    if "enum" in schema:
        return None in schema["enum"]
    kind = schema.get("type")
    return kind is None or kind == "null" or (isinstance(kind, list) and "null" in kind)


def _each(schema: Schema, change: Callable[[Any], Any]) -> Schema:
    """A copy whose inner schemas are changed. The names of properties are no keywords and stay."""
    changed = dict(schema)
    for key, value in schema.items():
        if key in _ONE and isinstance(value, dict):
            changed[key] = change(value)
        elif key in _LIST and isinstance(value, list):
            changed[key] = [change(each) for each in value]
        elif key in _MAP and isinstance(value, dict):
            changed[key] = {name: change(each) for name, each in value.items()}
    return changed


def _name_of(reference: str) -> str:
    return reference.rpartition("/")[2].replace("~1", "/").replace("~0", "~")


def _inline(root: Schema) -> Schema:
    """Put every definition where it is referred to; those that contain themselves stay definitions."""
    definitions: dict[str, Schema] = root.pop("$defs", {})
    named = {name: _references(definition) for name, definition in definitions.items()}
    recursive = {name for name in definitions if name in _reached(named[name], named)}

    def replace(schema: Schema) -> Schema:
        reference = schema.get("$ref")
        if reference is None:
            return _each(schema, replace)
        beside = {key: value for key, value in schema.items() if key != "$ref"}
        name = _name_of(reference)
        if name not in recursive:
            return {**replace(definitions[name]), **beside}
        # Strict mode refuses anything beside a reference.
        return {"anyOf": [{"$ref": reference}], **beside} if beside else schema

    inlined = replace(root)
    if recursive:
        inlined["$defs"] = {name: replace(definitions[name]) for name in definitions if name in recursive}
    return inlined


def _references(schema: object) -> set[str]:
    """The names that are referred to anywhere in a schema."""
    if isinstance(schema, list):
        return {name for each in schema for name in _references(each)}
    if not isinstance(schema, dict):
        return set()
    found = {name for value in schema.values() for name in _references(value)}
    if isinstance(schema.get("$ref"), str):
        found.add(_name_of(schema["$ref"]))
    return found


def _reached(names: set[str], named: Mapping[str, set[str]]) -> set[str]:
    reached: set[str] = set()
    waiting = set(names)
    while waiting:
        name = waiting.pop()
        if name not in reached:
            reached.add(name)
            waiting |= named.get(name, set())
    return reached


def _tidy(schema: Schema) -> Schema:
    """Drop what no provider wants, and what makes some fail."""
    kept = {key: value for key, value in schema.items() if key not in _NOISE}
    if "oneOf" in kept and "anyOf" not in kept:
        kept["anyOf"] = kept.pop("oneOf")
    if isinstance(kept.get("pattern"), str) and _LOOKAROUND.search(kept["pattern"]):
        del kept["pattern"]
    tidied = _each(kept, _tidy)
    for branch in tidied.get("anyOf", ()):
        if branch.get("description") is not None and branch["description"] == tidied.get("description"):
            del branch["description"]
    return tidied


def _to_strict(root: Schema) -> Schema:
    """The same schema under the rules of strict mode. Raises _NotStrictError where there is no such form."""
    if root.get("type") != "object":
        raise _NotStrictError
    sizes = {"properties": 0, "enum": 0}

    def convert(schema: Any, depth: int) -> Schema:
        if not isinstance(schema, dict) or not _NOT_STRICT.isdisjoint(schema) or depth > MAX_DEPTH:
            raise _NotStrictError
        strict = {key: value for key, value in schema.items() if key in _KEPT}
        if strict.get("format") not in _FORMATS:
            strict.pop("format", None)
        told = [words.format(schema[key]) for key, words in _TOLD.items() if key in schema]
        if told:
            strict["description"] = f"{schema.get('description', '')} ({', '.join(told)})".strip()
        if "enum" in strict:
            sizes["enum"] += len(strict["enum"])
        if "anyOf" in strict:
            strict.pop("type", None)
            strict["anyOf"] = [convert(each, depth) for each in strict["anyOf"]]
        elif "$ref" not in strict and "type" not in strict:
            strict["type"] = _type_of(strict)
        kinds = strict.get("type")
        kinds = kinds if isinstance(kinds, list) else [kinds]
        if "object" in kinds:
            if schema.get("additionalProperties", False) is not False:
                raise _NotStrictError
            properties = strict.get("properties", {})
            sizes["properties"] += len(properties)
            strict["properties"] = {name: convert(each, depth + 1) for name, each in properties.items()}
            strict["required"] = list(properties)
            strict["additionalProperties"] = False
        if "array" in kinds:
            strict["items"] = convert(schema.get("items"), depth + 1)
        if "$defs" in strict:
            strict["$defs"] = {name: convert(each, 1) for name, each in strict["$defs"].items()}
        return strict

    converted = convert(root, 0)
    if sizes["properties"] > MAX_PROPERTIES or sizes["enum"] > MAX_ENUM_VALUES:
        raise _NotStrictError
    return converted


def _type_of(schema: Schema) -> str | list[str]:
    """The type that goes with the values of a choice."""
    if "const" not in schema and "enum" not in schema:
        raise _NotStrictError
    values = [schema["const"]] if "const" in schema else schema["enum"]
    names = list(dict.fromkeys(_TYPES[type(value)] for value in values))
    return names[0] if len(names) == 1 else names
