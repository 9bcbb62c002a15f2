"""Counts that are none."""

from __future__ import annotations

import pytest

from django_chatgpt.providers.parsing import DialectParser, token_usage


@pytest.mark.parametrize("count", [float("inf"), float("-inf"), float("nan"), -1, "7", None, [7]])
def test_what_is_no_count_is_not_counted(count: object) -> None:
    assert token_usage({"prompt_tokens": count, "completion_tokens": count}) is None
    usage = token_usage({"prompt_tokens": 7, "completion_tokens": count, "total_tokens": count})
    assert usage is not None
    assert (usage.prompt_tokens, usage.completion_tokens, usage.total_tokens) == (7, 0, 7)


def test_an_infinite_count_comes_out_of_json() -> None:
    body = DialectParser()._loads(b'{"prompt_tokens": 1e999, "completion_tokens": 3.0}')
    usage = token_usage(body)
    assert usage is not None
    assert (usage.prompt_tokens, usage.completion_tokens) == (0, 3)
