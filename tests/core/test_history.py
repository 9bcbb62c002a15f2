"""Transcripts with gaps, and what a provider is shown of them."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from django_chatgpt.core.history import NO_ANSWER, UNKNOWN_RESULT, from_legacy, repair
from django_chatgpt.core.messages import Message


def call(call_id: str) -> Any:
    return {"id": call_id, "type": "function", "function": {"name": "f", "arguments": "{}"}}


def test_plain_talk_is_left_alone() -> None:
    lines: list[Message] = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
    assert repair(lines) == lines


def test_a_call_without_result_is_answered_by_one_that_says_so() -> None:
    lines: list[Message] = [
        {"role": "user", "content": "a"},
        {"role": "assistant", "content": "", "tool_calls": [call("1"), call("2")]},
        {"role": "tool", "content": "two", "tool_call_id": "2"},
        {"role": "user", "content": "b"},
    ]
    assert repair(lines) == [
        lines[0],
        lines[1],
        {"role": "tool", "content": UNKNOWN_RESULT, "tool_call_id": "1"},
        lines[2],
        {"role": "assistant", "content": NO_ANSWER},
        lines[3],
    ]


def test_a_question_that_another_one_follows_is_answered_by_a_line_that_says_so() -> None:
    asked: list[Message] = [{"role": "user", "content": each} for each in "abc"]
    hint: Message = {"role": "system", "content": "h"}
    none: Message = {"role": "assistant", "content": NO_ANSWER}
    assert repair([asked[0], hint, asked[1], asked[2]]) == [asked[0], hint, none, asked[1], none, asked[2]]
    assert repair(asked[:1]) == asked[:1], "it may be the one that is answered next"
    assert repair([hint, asked[0]], over=True) == [hint, asked[0], none]
    assert repair([hint], over=True) == [hint]


def test_a_result_that_answers_no_call_is_dropped() -> None:
    lines: list[Message] = [
        {"role": "user", "content": "a"},
        {"role": "tool", "content": "?", "tool_call_id": "1"},
    ]
    assert repair(lines) == lines[:1]


LINE = st.one_of(
    st.sampled_from(["user", "assistant"]).map(lambda role: {"role": role, "content": "x"}),
    st.lists(st.sampled_from("abc"), min_size=1, max_size=3, unique=True).map(
        lambda ids: {"role": "assistant", "content": "", "tool_calls": [call(each) for each in ids]}
    ),
    st.sampled_from("abcd").map(lambda each: {"role": "tool", "content": "r", "tool_call_id": each}),
)


@given(st.lists(LINE, max_size=12))
def test_whatever_is_stored_a_strict_provider_accepts_it(lines: list[Any]) -> None:
    repaired = repair(lines, over=True)
    waiting: list[str] = []
    asked = False
    for line in repaired:
        assert not (asked and line["role"] == "user"), "a question is followed by an answer"
        asked = asked if line["role"] == "tool" else line["role"] == "user"
        if line["role"] == "tool":
            assert line["tool_call_id"] == waiting.pop(0)
            continue
        assert not waiting, "a call is followed by its results before anything else"
        waiting = [each["id"] for each in line.get("tool_calls", ())]
    assert not waiting
    assert not asked
    assert [line for line in repaired if line["role"] != "tool" and line["content"] != NO_ANSWER] == [
        line for line in lines if line["role"] != "tool"
    ]


def test_old_function_messages_become_calls_and_results() -> None:
    rows: list[dict[str, Any]] = [
        {"role": "user", "content": "a"},
        {"role": "assistant", "content": "", "function_call": {"name": "f", "arguments": "{}"}},
        {"role": "function", "content": "r"},
    ]
    first, second, third = from_legacy(rows)
    assert first == {"role": "user", "content": "a"}
    assert second["tool_calls"][0]["function"] == {"name": "f", "arguments": "{}"}
    assert third == {"role": "tool", "content": "r", "tool_call_id": second["tool_calls"][0]["id"]}
    assert repair([first, second, third]) == [first, second, third]


def test_what_is_no_call_of_old_data_is_left_out() -> None:
    rows: list[Any] = [
        {"role": "assistant", "content": "a", "function_call": kind} for kind in ("auto", 3, ["f"], True)
    ]
    assert from_legacy(rows) == [{"role": "assistant", "content": "a"}] * 4
