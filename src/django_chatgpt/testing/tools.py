"""What the tools of a request must look like, strict mode included."""

import re
from collections.abc import Mapping
from typing import Any

from django_chatgpt.testing.errors import Refusal, empty_array, invalid, missing, wrong_type

_NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")


def check_tools(body: Mapping[str, Any], nested: str | None) -> list[Any]:
    """The tools; in chat each function lies under a key of its own."""
    tools = body.get("tools")
    if tools is None:
        for name in ("tool_choice", "parallel_tool_calls"):
            if nested is not None and body.get(name) is not None:
                raise invalid(
                    f"Invalid value for '{name}': '{name}' is only allowed when 'tools' are specified.", name
                )
        return []
    if not isinstance(tools, list):
        raise wrong_type("tools", "an array of objects", tools)
    if not tools and nested is not None:
        raise empty_array("tools")
    for index, tool in enumerate(tools):
        place = f"tools[{index}]"
        if not isinstance(tool, dict):
            raise wrong_type(place, "an object", tool)
        if "type" not in tool:
            raise missing(f"{place}.type")
        if tool["type"] != "function":
            continue
        if nested is None:
            _check_function(tool, place)
        elif not isinstance(tool.get(nested), dict):
            raise missing(f"{place}.{nested}")
        else:
            _check_function(tool[nested], f"{place}.{nested}")
    return tools


def _check_function(function: Mapping[str, Any], place: str) -> None:
    name = function.get("name")
    if name is None:
        raise missing(f"{place}.name")
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise invalid(
            f"Invalid '{place}.name': string does not match pattern. Expected a string that matches the "
            "pattern '^[a-zA-Z0-9_-]+$'.",
            f"{place}.name",
            "invalid_value",
        )
    schema = function.get("parameters")
    if schema is not None and not isinstance(schema, dict):
        raise wrong_type(f"{place}.parameters", "an object", schema)
    if schema is not None and schema.get("type") != "object":
        raise _bad_schema(name, place, "schema must be a JSON Schema of 'type: \"object\"'.")
    if function.get("strict") is True:
        _check_strict(schema or {}, name, place, ())


def _check_strict(schema: object, name: str, place: str, context: tuple[str, ...]) -> None:
    """The rules of strict mode: closed objects, every property required, no defaults."""
    if not isinstance(schema, dict):
        return
    where = f"In context={context}, "
    if "default" in schema:
        raise _bad_schema(name, place, f"{where}'default' is not permitted.")
    if schema.get("type") == "object" or "properties" in schema:
        if schema.get("additionalProperties") is not False:
            message = f"{where}'additionalProperties' is required to be supplied and to be false."
            raise _bad_schema(name, place, message)
        properties = schema.get("properties") or {}
        if lacking := [key for key in properties if key not in (schema.get("required") or [])]:
            message = (
                f"{where}'required' is required to be supplied and to be an array including every key in "
                f"properties. Missing '{lacking[0]}'."
            )
            raise _bad_schema(name, place, message)
        for key, value in properties.items():
            _check_strict(value, name, place, (*context, "properties", key))
    _check_strict(schema.get("items"), name, place, (*context, "items"))
    for key in ("anyOf", "$defs"):
        inner = schema.get(key) or []
        for index, value in inner.items() if isinstance(inner, dict) else enumerate(inner):
            _check_strict(value, name, place, (*context, key, str(index)))


def _bad_schema(name: str, place: str, problem: str) -> Refusal:
    message = f"Invalid schema for function '{name}': {problem}"
    return invalid(message, f"{place}.parameters", "invalid_function_parameters")
