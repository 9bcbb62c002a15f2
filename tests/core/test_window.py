"""What is left of a transcript that does not fit, over random histories."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from django_chatgpt.core.history import from_legacy, repair
from django_chatgpt.core.messages import Message
from django_chatgpt.core.window import (
    LEFT_OUT,
    LEFT_OUT_TOKENS,
    Transcript,
    Window,
    last_question,
    trim,
)
from django_chatgpt.exceptions import TokenLimitError
from django_chatgpt.services import context
from django_chatgpt.testing.messages import check_messages

SYSTEM: Any = {"role": "system", "content": "Be kind."}


def count(message: Message) -> int:
    """A token is a character."""
    calls = message.get("tool_calls", ())
    return 1 + len(message["content"]) + sum(len(call["function"]["arguments"]) for call in calls)


def call(call_id: str) -> Any:
    return {"id": call_id, "type": "function", "function": {"name": "f", "arguments": "{}"}}


TEXT = st.integers(0, 40).map("x".__mul__)
LINE = st.one_of(
    st.builds(
        lambda role, text: {"role": role, "content": text},
        st.sampled_from(["user", "user", "assistant", "system"]),
        TEXT,
    ),
    st.lists(st.sampled_from("abc"), min_size=1, max_size=3, unique=True).map(
        lambda ids: {"role": "assistant", "content": "", "tool_calls": [call(each) for each in ids]}
    ),
    st.builds(
        lambda call_id, text: {"role": "tool", "content": text, "tool_call_id": call_id},
        st.sampled_from("abcd"),
        TEXT,
    ),
    st.just({"role": "assistant", "content": "", "function_call": {"name": "f", "arguments": "{}"}}),
    TEXT.map(lambda text: {"role": "function", "content": text}),
)


@st.composite
def turns(draw: st.DrawFn) -> tuple[list[Any], int]:
    """A history, a question and what its turn has brought so far; and where the question is."""
    before = repair(from_legacy([dict(line) for line in draw(st.lists(LINE, max_size=14))]))
    question = {"role": "user", "content": draw(TEXT)}
    steps = []
    for number in range(draw(st.integers(0, 3))):
        ids = [f"{number}{each}" for each in range(draw(st.integers(1, 2)))]
        steps.append({"role": "assistant", "content": "", "tool_calls": [call(each) for each in ids]})
        steps += [{"role": "tool", "content": "r" * draw(st.integers(0, 90)), "tool_call_id": i} for i in ids]
    return [SYSTEM, *before, question, *steps], 1 + len(before)


@given(turns(), st.integers(0, 400))
def test_what_is_left_fits_and_is_whole(case: tuple[list[Any], int], room: int) -> None:
    lines, present = case
    kept, used = trim(lines, [count(line) for line in lines], room, present=present)

    check_messages([{name: line[name] for name in line if name != "items"} for line in kept])
    assert [line for line in kept if line["role"] == "system"] == [
        line for line in lines if line["role"] == "system"
    ]
    turn = kept[last_question(kept) :]
    assert turn[0] == lines[present]
    assert [line["role"] for line in turn] == [line["role"] for line in lines[present:]]

    rest = [line for line in kept[: -len(turn)] if line["role"] != "system"]
    assert not rest or len(kept) == len(lines) or rest[0]["role"] == "user"
    old = [line for line in lines[:present] if line["role"] != "system"]
    assert rest == old[len(old) - len(rest) :], "the newest stay"

    fixed = sum(count(line) for line in kept if line["role"] == "system") + sum(
        min(count(line), LEFT_OUT_TOKENS) if line["role"] == "tool" else count(line)
        for line in lines[present:]
    )
    assert used <= max(room, fixed)
    if used > room:
        assert not rest


@given(turns())
def test_what_fits_is_left_alone(case: tuple[list[Any], int]) -> None:
    lines, present = case
    counts = [count(line) for line in lines]
    assert trim(lines, counts, sum(counts), present=present) == (lines, sum(counts))


@given(turns(), st.integers(0, 400))
def test_no_exchange_goes_that_could_stay(case: tuple[list[Any], int], room: int) -> None:
    lines, present = case
    kept, _ = trim(lines, [count(line) for line in lines], room, present=present)
    gone = len(lines) - len(kept)
    if not gone:
        return
    old = [line for line in lines[:present] if line["role"] != "system"]
    last = next((n for n in reversed(range(gone)) if old[n]["role"] == "user"), 0)
    assert sum(map(count, lines)) - sum(map(count, old[:last])) > room


def test_a_history_without_a_question_at_its_end_may_go_altogether() -> None:
    lines: list[Any] = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b" * 50}]
    assert trim(lines, [count(line) for line in lines], 20) == ([], 0)


def test_results_give_way_to_a_note_the_oldest_first() -> None:
    lines: list[Any] = [
        {"role": "user", "content": "a"},
        {"role": "assistant", "content": "", "tool_calls": [call("1"), call("2")]},
        {"role": "tool", "content": "x" * 100, "tool_call_id": "1"},
        {"role": "tool", "content": "y" * 100, "tool_call_id": "2"},
    ]
    kept, used = trim(lines, [count(line) for line in lines], 180, present=0)
    assert kept == [*lines[:2], {**lines[2], "content": LEFT_OUT}, lines[3]]
    assert used == 2 + 3 + 2 + LEFT_OUT_TOKENS + 101
    assert lines[2]["content"] == "x" * 100


def test_the_note_is_no_longer_than_is_said() -> None:
    assert context.count({"role": "tool", "content": LEFT_OUT, "tool_call_id": "1"}) <= LEFT_OUT_TOKENS


class TestTranscript:
    QUESTION: Any = {"role": "user", "content": "?"}
    OLD: Any = {"role": "user", "content": "x" * 50}

    def transcript(self, room: int) -> Transcript:
        messages = [SYSTEM, self.OLD, self.QUESTION]
        return Transcript(messages, Window(room, count, sum(map(count, messages))))

    def test_nothing_is_counted_again_while_there_is_room(self) -> None:
        counted: list[Message] = []

        def counting(message: Message) -> int:
            counted.append(message)
            return count(message)

        transcript = Transcript([self.OLD, self.QUESTION], Window(1000, counting, 53))
        answer: Any = {"role": "assistant", "content": "", "tool_calls": [call("1")]}
        result: Any = {"role": "tool", "content": "r", "tool_call_id": "1"}
        transcript.add(answer, result)
        assert transcript.shown() == (self.OLD, self.QUESTION, answer, result)
        assert counted == [answer, result]

    def test_what_the_turn_adds_pushes_out_what_is_old(self) -> None:
        transcript = self.transcript(room=80)
        assert transcript.shown() == (SYSTEM, self.OLD, self.QUESTION)
        wrong: Any = {"role": "assistant", "content": "no form"}
        problem: Any = {"role": "user", "content": "Answer again."}
        transcript.add(wrong, problem)
        assert transcript.shown() == (SYSTEM, self.QUESTION, wrong, problem)
        transcript.add({"role": "assistant", "content": "y" * 10})
        assert transcript.shown()[:4] == (SYSTEM, self.QUESTION, wrong, problem)

    def test_a_turn_that_has_become_too_long_fails(self) -> None:
        transcript = self.transcript(room=80)
        transcript.add({"role": "assistant", "content": "x" * 100})
        with pytest.raises(TokenLimitError, match="is 112 tokens; the model takes 80"):
            transcript.shown()

    def test_without_a_window_everything_is_shown(self) -> None:
        transcript = Transcript([self.OLD, self.QUESTION], None)
        transcript.add(*[self.OLD] * 500)
        assert len(transcript.shown()) == 502

    def test_late_results_find_their_calls(self) -> None:
        both: Any = {"role": "assistant", "content": "", "tool_calls": [call("1"), call("2")]}
        first: Any = {"role": "tool", "content": "r", "tool_call_id": "1"}
        second: Any = {"role": "tool", "content": "r", "tool_call_id": "2"}
        transcript = Transcript([self.QUESTION, both, second], None)
        transcript.add(first)
        transcript.repair()
        assert transcript.shown() == (self.QUESTION, both, first, second)
