"""The context window of a request: how much of what was said may be sent with a question."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from django_chatgpt.conf import conf
from django_chatgpt.core.limits import answer_room, context_window
from django_chatgpt.core.messages import Message
from django_chatgpt.core.request import ModelRequest
from django_chatgpt.core.window import Window
from django_chatgpt.exceptions import TokenLimitError
from django_chatgpt.services import tokens

# Of models whose tokenizer is another than the one that counts, so much of the window is kept free.
ALLOWANCE = 8


def longest_answer(model: str, wanted: int | None) -> int | None:
    """What is wanted, but at most half of the model's window: a server may refuse to promise more."""
    return None if wanted is None else min(wanted, context_window(model, conf.context_window) // 2)


def window_of(
    request: ModelRequest, tools: Iterable[Mapping[str, Any]], system: Sequence[Message] = ()
) -> Window:
    """What a request takes that offers `tools`; of it the system messages are used already.

    The room is the model's window less the answer, OPENAI_TOKEN_BUFFER, and the schemas of the functions
    and of the answer.
    """
    window = context_window(request.model, conf.context_window)
    room = window - answer_room(request.model, request.max_output_tokens, window)
    room -= conf.token_buffer + tokens.PER_REQUEST + tokens.count_schemas(tools)
    if request.response_schema is not None:
        room -= tokens.count_schemas([request.response_schema])
    if not tokens.has_default_encoding(request.model):
        room -= window // ALLOWANCE
    used = sum(tokens.PER_MESSAGE + tokens.count_known(message["content"]) for message in system)
    return Window(room, count, used)


def fit(request: ModelRequest, model: str, tools: Iterable[Mapping[str, Any]]) -> tuple[ModelRequest, Window]:
    """A request as another model takes it, and the window of that one."""
    most = longest_answer(model, request.max_output_tokens)
    fitted = replace(request, model=model, max_output_tokens=most)
    return fitted, window_of(fitted, tools)


def whole_window(model: str) -> Window:
    """All that a model may have been sent: its window, with nothing kept free."""
    return Window(context_window(model, conf.context_window), count)


def check_question(window: Window, question_tokens: int, model: str) -> None:
    """Refuse a question that does not even fit with nothing said before it. Raises TokenLimitError."""
    most = max(window.room - window.used - tokens.PER_MESSAGE, 0)
    if question_tokens > most:
        raise TokenLimitError(
            f"message: is {question_tokens:,} tokens long; {model} takes at most {most:,} here."
        )


def count(message: Message) -> int:
    """The tokens that a message takes in a window."""
    return tokens.PER_MESSAGE + tokens.count_content(message)
