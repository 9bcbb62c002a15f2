"""Which parameters OpenAI takes with which model: names, ranges, what reasoning models refuse."""

import re
from collections.abc import Collection, Mapping
from functools import cache
from typing import Any

from django_chatgpt.testing.errors import Refusal, invalid, unknown, wrong_type, wrong_value
from django_chatgpt.testing.tools import check_tools

_REASONING = re.compile(r"(o\d|gpt-5|gpt-6)")
_NO_NONE = re.compile(r"gpt-6[\w.]*-astra|gpt-6\.1-sol|gpt-6\.2")
_NO_CHAT_TOOLS = re.compile(r"gpt-6|gpt-5\.6")

_SAMPLING = (
    "temperature",
    "top_p",
    "presence_penalty",
    "frequency_penalty",
    "logprobs",
    "top_logprobs",
    "logit_bias",
    "stop",
)
_RANGES: dict[str, tuple[float, float]] = {
    "temperature": (0, 2),
    "top_p": (0, 1),
    "presence_penalty": (-2, 2),
    "frequency_penalty": (-2, 2),
}
_EFFORTS = ["none", "minimal", "low", "medium", "high", "xhigh", "max"]
_MOVED = {
    "messages": "input",
    "max_tokens": "max_output_tokens",
    "max_completion_tokens": "max_output_tokens",
}


def is_reasoning(model: str) -> bool:
    """o*, gpt-5* and gpt-6*, but for the *-chat-latest."""
    return _REASONING.match(model) is not None and not model.endswith("-chat-latest")


@cache
def known(dialect: str) -> frozenset[str]:
    """The parameters of a create call, as the installed SDK lists them."""
    if dialect == "chat":
        from openai.types.chat.completion_create_params import CompletionCreateParamsBase as Chat

        return frozenset(Chat.__annotations__) | {"stream"}
    from openai.types.responses.response_create_params import ResponseCreateParamsBase as Responses

    return frozenset(Responses.__annotations__) | {"stream"}


def check_model(body: Mapping[str, Any], models: Collection[str] | None) -> str:
    """The model asked for; refused when absent, or when only certain models exist."""
    model = body.get("model")
    if model in (None, ""):
        raise invalid("you must provide a model parameter")
    if not isinstance(model, str):
        raise wrong_type("model", "a string", model)
    if models is not None and model not in models:
        message = f"The model `{model}` does not exist or you do not have access to it."
        raise invalid(message, None, "model_not_found", 404)
    return model


def check_chat(body: Mapping[str, Any], model: str) -> None:
    """Everything but the messages of a chat completion."""
    if strange := sorted(set(body) - known("chat")):
        raise invalid(f"Unrecognized request argument supplied: {strange[0]}")
    effort = body.get("reasoning_effort")
    if is_reasoning(model) and _sent(body, "max_tokens"):
        raise _unsupported("max_tokens", " Use 'max_completion_tokens' instead.")
    if _sent(body, "max_tokens") and _sent(body, "max_completion_tokens"):
        raise invalid("Setting 'max_tokens' and 'max_completion_tokens' at the same time is not supported.")
    if body.get("n") not in (None, 1):
        raise invalid("This fake gives one choice: 'n' must be 1.", "n", "unsupported_value")
    for name in ("max_tokens", "max_completion_tokens"):
        _check_number(body, name, "integer", 1)
    _check_common(body, model, effort, "reasoning_effort")
    tools = check_tools(body, "function")
    if tools and _NO_CHAT_TOOLS.match(model) and effort != "none":
        raise invalid(
            f"Function tools with reasoning_effort are not supported for {model} in /v1/chat/completions. "
            "To use function tools, use /v1/responses or set reasoning_effort to 'none'.",
            "reasoning_effort",
        )


def check_responses(body: Mapping[str, Any], model: str) -> None:
    """Everything but the input of a response."""
    for old, new in _MOVED.items():
        if old in body:
            message = (
                f"Unsupported parameter: '{old}'. In the Responses API, this parameter has moved to '{new}'."
            )
            raise invalid(message, old, "unsupported_parameter")
    if strange := sorted(set(body) - known("responses")):
        raise unknown(strange[0])
    _check_number(body, "max_output_tokens", "integer", 16)
    reasoning = body.get("reasoning")
    if reasoning is not None and not isinstance(reasoning, dict):
        raise wrong_type("reasoning", "an object", reasoning)
    if reasoning and not is_reasoning(model):
        raise _unsupported("reasoning.effort")
    _check_common(body, model, (reasoning or {}).get("effort"), "reasoning.effort")
    check_tools(body, None)
    if body.get("previous_response_id") is not None:
        previous = body["previous_response_id"]
        message = f"Previous response with id '{previous}' not found."
        raise invalid(message, "previous_response_id", "previous_response_not_found")


def _check_common(body: Mapping[str, Any], model: str, effort: object, effort_name: str) -> None:
    stream = body.get("stream")
    if not (stream is None or isinstance(stream, bool)):
        raise wrong_type("stream", "a boolean", stream)
    if _sent(body, "stream_options") and stream is not True:
        raise invalid(
            "The 'stream_options' parameter is only allowed when 'stream' is enabled.", "stream_options"
        )
    if not isinstance(body.get("stream_options") or {}, dict):
        raise wrong_type("stream_options", "an object", body["stream_options"])
    for name, (low, high) in _RANGES.items():
        _check_number(body, name, "decimal", low, high)
    if effort is not None:
        if not is_reasoning(model):
            raise invalid(f"Unrecognized request argument supplied: {effort_name}")
        allowed = [name for name in _EFFORTS if name != "none"] if _NO_NONE.match(model) else _EFFORTS
        if effort not in allowed:
            raise wrong_value(effort_name, effort, allowed)
    if is_reasoning(model) and effort != "none":
        for name in _SAMPLING:
            if _sent(body, name):
                raise _unsupported(name)


def _check_number(
    body: Mapping[str, Any], name: str, kind: str, low: float, high: float | None = None
) -> None:
    value = body.get(name)
    if value is None:
        return
    if isinstance(value, bool) or not isinstance(value, int if kind == "integer" else int | float):
        raise wrong_type(name, f"{'an' if kind == 'integer' else 'a'} {kind}", value)
    if value < low:
        raise _outside(name, f"{kind} below minimum", f">= {low}", value, f"{kind}_below_min_value")
    if high is not None and value > high:
        raise _outside(name, f"{kind} above maximum", f"<= {high}", value, f"{kind}_above_max_value")


def _outside(name: str, what: str, bound: str, value: float, code: str) -> Refusal:
    message = f"Invalid '{name}': {what} value. Expected a value {bound}, but got {value} instead."
    return invalid(message, name, code)


def _sent(body: Mapping[str, Any], name: str) -> bool:
    return body.get(name) is not None


def _unsupported(name: str, advice: str = "") -> Refusal:
    message = f"Unsupported parameter: '{name}' is not supported with this model.{advice}"
    return invalid(message, name, "unsupported_parameter")
