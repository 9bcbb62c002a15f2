"""Refusals: the 4xx that OpenAI gives before any model is asked, word for word where the words are known."""

from typing import Any

from django_chatgpt.testing.steps import Failure


class Refusal(Exception):
    """A request that is answered with this failure and never reaches the script."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.error["message"])
        self.failure = failure


def invalid(message: str, param: str | None = None, code: str | None = None, status: int = 400) -> Refusal:
    """An invalid_request_error about one parameter."""
    return Refusal(
        Failure(status, message=message, type="invalid_request_error", param=param, code=code),
    )


def missing(param: str) -> Refusal:
    return invalid(f"Missing required parameter: '{param}'.", param, "missing_required_parameter")


def wrong_type(param: str, expected: str, value: object) -> Refusal:
    return invalid(
        f"Invalid type for '{param}': expected {expected}, but got {named(value)} instead.",
        param,
        "invalid_type",
    )


def wrong_value(param: str, value: object, allowed: list[str]) -> Refusal:
    listed = ", ".join(f"'{name}'" for name in allowed[:-1])
    listed = f"{listed}, and '{allowed[-1]}'" if listed else f"'{allowed[-1]}'"
    return invalid(f"Invalid value: '{value}'. Supported values are: {listed}.", param, "invalid_value")


def empty_array(param: str) -> Refusal:
    return invalid(
        f"Invalid '{param}': empty array. Expected an array with minimum length 1, but got an empty array "
        "instead.",
        param,
        "empty_array",
    )


def unknown(param: str) -> Refusal:
    return invalid(f"Unknown parameter: '{param}'.", param, "unknown_parameter")


def named(value: object) -> str:
    """What OpenAI calls the type of a JSON value."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "a boolean"
    if isinstance(value, int):
        return "an integer"
    if isinstance(value, float):
        return "a decimal"
    if isinstance(value, str):
        return "a string"
    return "an array" if isinstance(value, list) else "an object"


def listed(param: str, value: object, expected: str = "an array of objects") -> list[Any]:
    if value is None:
        raise missing(param)
    if not isinstance(value, list):
        raise wrong_type(param, expected, value)
    if not value:
        raise empty_array(param)
    return value
