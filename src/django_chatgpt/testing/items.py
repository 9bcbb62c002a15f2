"""What the input items of a response must look like: kinds, contents, reasoning in its place, calls with
outputs.
"""

from collections.abc import Callable, Mapping
from typing import Any

from django_chatgpt.testing.errors import Refusal, invalid, listed, missing, unknown, wrong_type, wrong_value
from django_chatgpt.testing.responses import seal

_ITEMS: dict[str, frozenset[str]] = {
    "message": frozenset({"type", "id", "role", "content", "status", "phase"}),
    "function_call": frozenset(
        {"type", "id", "call_id", "name", "arguments", "status", "namespace", "caller", "async"}
    ),
    "function_call_output": frozenset(
        {"type", "id", "call_id", "output", "status", "name", "namespace", "caller"}
    ),
    "reasoning": frozenset({"type", "id", "summary", "content", "encrypted_content", "status"}),
}
_PREFIXES = {"message": "msg", "function_call": "fc", "reasoning": "rs"}
_INPUT_PARTS = ["input_text", "input_image", "input_file"]
_OUTPUT_PARTS = ["output_text", "refusal"]


def check_input(value: object, stored: bool) -> list[dict[str, Any]]:
    """The input items of a response; `stored` is what the request says about keeping them, which the fake
    never does.
    """
    if value in (None, "", []):
        message = 'One of "input" or "previous_response_id" or "prompt" or "conversation" must be provided.'
        raise invalid(message, "input", "missing_required_parameter")
    if isinstance(value, str):
        return [{"role": "user", "content": value}]
    items = listed("input", value, "a string or an array of objects")
    for index, item in enumerate(items):
        place = f"input[{index}]"
        if not isinstance(item, dict):
            raise wrong_type(place, "an object", item)
        kind = item.get("type", "message")
        if kind == "item_reference" or (kind == "reasoning" and item.get("encrypted_content") is None):
            raise _not_stored(str(item.get("id")), stored)
        if kind in _ITEMS:
            if strange := sorted(set(item) - _ITEMS[kind]):
                raise unknown(f"{place}.{strange[0]}")
            _check_id(item, kind, place)
            _CHECKS[kind](item, place)
    _check_reasoning(items)
    _check_pairs(items)
    return items


def _check_message(item: Mapping[str, Any], place: str) -> None:
    role = item.get("role")
    roles = ["assistant", "system", "developer", "user"]
    if role is None:
        raise missing(f"{place}.role")
    if role not in roles:
        raise wrong_value(f"{place}.role", role, roles)
    if "content" not in item:
        raise missing(f"{place}.content")
    if isinstance(item["content"], str):
        return
    allowed = _OUTPUT_PARTS if role == "assistant" else _INPUT_PARTS
    if not isinstance(item["content"], list):
        raise wrong_type(f"{place}.content", "a string or an array of objects", item["content"])
    for index, part in enumerate(item["content"]):
        where = f"{place}.content[{index}]"
        if not isinstance(part, dict):
            raise wrong_type(where, "an object", part)
        if part.get("type") not in allowed:
            raise wrong_value(where, part.get("type"), allowed)


def _check_call(item: Mapping[str, Any], place: str) -> None:
    for name in ("call_id", "name", "arguments"):
        _check_string(item, name, place)


def _check_output(item: Mapping[str, Any], place: str) -> None:
    _check_string(item, "call_id", place)
    if item.get("output") is None:
        raise missing(f"{place}.output")
    if not isinstance(item["output"], str | list):
        raise wrong_type(f"{place}.output", "a string or an array of objects", item["output"])


def _check_thought(item: Mapping[str, Any], place: str) -> None:
    if not isinstance(item.get("summary"), list):
        raise missing(f"{place}.summary")
    if item["encrypted_content"] != seal(str(item.get("id"))):
        message = (
            f"The encrypted content for item {item.get('id')} could not be verified. "
            "Reason: Encrypted content could not be decrypted or parsed."
        )
        raise invalid(message, None, "invalid_encrypted_content")


_CHECKS: dict[str, Callable[[Mapping[str, Any], str], None]] = {
    "message": _check_message,
    "function_call": _check_call,
    "function_call_output": _check_output,
    "reasoning": _check_thought,
}


def _check_string(item: Mapping[str, Any], name: str, place: str) -> None:
    value = item.get(name)
    if value is None:
        raise missing(f"{place}.{name}")
    if not isinstance(value, str):
        raise wrong_type(f"{place}.{name}", "a string", value)


def _check_id(item: Mapping[str, Any], kind: str, place: str) -> None:
    prefix, id_ = _PREFIXES.get(kind), item.get("id")
    if prefix is not None and id_ is not None and not str(id_).startswith(prefix):
        message = f"Invalid '{place}.id': '{id_}'. Expected an ID that begins with '{prefix}'."
        raise invalid(message, f"{place}.id", "invalid_value")


def _check_reasoning(items: list[dict[str, Any]]) -> None:
    """A reasoning item comes right before what came of it: a message of the assistant, a call, more
    reasoning.
    """
    for item, following in zip(items, [*items[1:], None], strict=True):
        if item.get("type") != "reasoning":
            continue
        is_output = following is not None and (
            following.get("role") == "assistant" or following.get("type") in ("function_call", "reasoning")
        )
        if not is_output:
            name = f"Item '{item.get('id')}' of type 'reasoning'"
            raise invalid(f"{name} was provided without its required following item.", "input")


def _check_pairs(items: list[dict[str, Any]]) -> None:
    """Every call has its output after it, and every output its call before it, once each."""
    called: set[str] = set()
    answered: set[str] = set()
    for item in items:
        if item.get("type") == "function_call":
            called.add(item["call_id"])
        elif item.get("type") == "function_call_output":
            if item["call_id"] not in called or item["call_id"] in answered:
                raise invalid(
                    f"No tool call found for function call output with call_id {item['call_id']}.", "input"
                )
            answered.add(item["call_id"])
    for item in items:
        if item.get("type") == "function_call" and item["call_id"] not in answered:
            raise invalid(f"No tool output found for function call {item['call_id']}.", "input")


def _not_stored(id_: str, stored: bool) -> Refusal:
    why = "" if stored else " Items are not persisted when `store` is set to false."
    return invalid(f"Item with id '{id_}' not found.{why}", "input", None, 404)
