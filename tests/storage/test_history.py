"""What is read back of a conversation, on each database."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from django_chatgpt.core.messages import Message
from django_chatgpt.core.window import Window
from django_chatgpt.models import AIConversation, AIMessage
from django_chatgpt.storage import history
from django_chatgpt.storage.history import History

pytestmark = pytest.mark.django_db

CALL = {"id": "c", "type": "function", "function": {"name": "f", "arguments": '{"x": "é"}'}}


def say(conversation: AIConversation, *lines: dict[str, Any]) -> None:
    for number, line in enumerate(lines):
        AIMessage.objects.create(conversation=conversation, sequence=number + 1, **line)


def count(message: Message) -> int:
    """A token is a character, and one for each message."""
    calls = message.get("tool_calls", ())
    return 1 + len(message["content"]) + sum(len(call["function"]["arguments"]) for call in calls)


def load(conversation: AIConversation, room: int = 10_000, **options: Any) -> History:
    return history.load_history(conversation.pk, Window(room, count), **options)


def chat(length: int, *, counted: int | None = 9) -> AIConversation:
    """A conversation of so many questions and answers, each of ten tokens."""
    conversation = AIConversation.objects.create()
    AIMessage.objects.bulk_create(
        AIMessage(
            conversation=conversation,
            sequence=number,
            role=("assistant", "user")[number % 2],
            content=f"{number:09}",
            token_count=counted,
        )
        for number in range(1, 2 * length + 1)
    )
    return conversation


def texts(found: History) -> list[int]:
    return [int(message["content"]) for message in found.messages]


def test_everything_a_provider_needs_and_nothing_that_was_refused() -> None:
    conversation = AIConversation.objects.create()
    items = [{"type": "reasoning", "encrypted_content": "…"}]
    say(
        conversation,
        {"role": "user", "content": "a"},
        {"role": "user", "content": "never sent", "status": "refused"},
        {"role": "assistant", "tool_calls": [CALL], "metadata": {"model": "m", "items": items}},
        {"role": "tool", "content": "r", "tool_call_id": "c", "metadata": {"note": 'has "items" in it'}},
        {"role": "assistant", "content": "b", "metadata": {"model": "m"}},
    )
    found = load(conversation)
    assert found.last == 5
    assert found.messages == [
        {"role": "user", "content": "a"},
        {"role": "assistant", "content": "", "tool_calls": [CALL], "items": items},
        {"role": "tool", "content": "r", "tool_call_id": "c"},
        {"role": "assistant", "content": "b"},
    ]


def test_old_data_is_read() -> None:
    conversation = AIConversation.objects.create()
    say(
        conversation,
        {"role": "user", "content": "a"},
        {"role": "assistant", "function_call": {"name": "f", "arguments": "{}"}},
        {"role": "function", "content": "r"},
    )
    messages = load(conversation).messages
    assert [message["role"] for message in messages] == ["user", "assistant", "tool", "assistant"]
    assert messages[1]["tool_calls"][0]["id"] == messages[2]["tool_call_id"]


def test_nothing_was_said() -> None:
    assert load(AIConversation.objects.create()) == History([], 0, 0)


@pytest.mark.parametrize("length", [1, 100])
def test_it_is_one_query(length: int) -> None:
    conversation = chat(length)
    with CaptureQueriesContext(connection) as queries:
        found = load(conversation)
    assert (len(found.messages), found.used, found.last, len(queries)) == (
        2 * length,
        20 * length,
        2 * length,
        1,
    )


def test_the_newest_exchanges_that_fit_are_read() -> None:
    conversation = chat(100)
    found = load(conversation, room=55)
    assert (texts(found), found.used, found.last) == ([197, 198, 199, 200], 40, 200)
    part = history.load_history(conversation.pk, Window(55, count, used=20))
    assert (texts(part), part.used) == ([199, 200], 40)
    assert load(conversation, room=5) == History([], 0, 200, dropped=200)


@pytest.mark.parametrize(
    ("room", "dropped"), [(10_000, 0), (400, 40), (399, 42), (100, 70), (0, 80)], ids=str
)
def test_it_says_what_was_left_out(room: int, dropped: int) -> None:
    """The number of the last message, by exchanges of twenty tokens."""
    assert load(chat(40), room=room).dropped == dropped


def test_no_more_is_read_than_fits_and_one_query_looks_for_the_first_lines() -> None:
    conversation = chat(100)
    with CaptureQueriesContext(connection) as queries:
        assert len(load(conversation, room=100).messages) == 10
    newest, first = [query["sql"] for query in queries]
    assert f"LIMIT {history.FEWEST_ROWS}" in newest
    assert '"sequence" <' in first.replace("`", '"')


def test_a_history_beyond_the_first_query_is_read_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history, "MOST_ROWS", 16)
    conversation = chat(120)
    with CaptureQueriesContext(connection) as queries:
        found = load(conversation)
    assert texts(found) == list(range(1, 241))
    assert len(queries) == 3, "16, 64 and 256 rows"


def test_the_system_message_a_conversation_begins_with_stays() -> None:
    conversation = chat(100)
    AIMessage.objects.filter(conversation=conversation, sequence=1).update(role="system", token_count=9)
    found = load(conversation, room=65)
    assert (texts(found), found.used) == ([1, 197, 198, 199, 200], 50)
    assert found.messages[0]["role"] == "system"


def test_the_turn_that_runs_is_read_whole() -> None:
    conversation = AIConversation.objects.create()
    say(
        conversation,
        {"role": "user", "content": "old", "token_count": 3},
        {"role": "user", "content": "now", "token_count": 3},
        {"role": "assistant", "tool_calls": [CALL], "token_count": 10},
        {"role": "tool", "content": "r" * 500, "tool_call_id": "c", "token_count": 500},
        {"role": "assistant", "tool_calls": [{**CALL, "id": "d"}], "token_count": 10},
    )
    found = load(conversation, room=600, in_turn=True)
    assert [message["content"] for message in found.messages] == ["old", "now", "", "r" * 500, ""]
    found = load(conversation, room=100, in_turn=True)
    assert [message["role"] for message in found.messages] == ["user", "assistant", "tool", "assistant"]
    assert found.messages[0]["content"] == "now"
    assert load(conversation, room=20, in_turn=True).used > 20


class TestWhatNobodyHasCounted:
    def test_it_is_counted_once(self) -> None:
        conversation = chat(60, counted=None)
        counted: list[Message] = []

        def counting(message: Message) -> int:
            counted.append(message)
            return count(message)

        for queries, calls in ((2, 121), (1, 1)):
            counted.clear()
            with CaptureQueriesContext(connection) as captured:
                found = history.load_history(conversation.pk, Window(10_000, counting))
            assert (len(captured), len(counted), found.used) == (queries, calls, 1200)
        assert set(AIMessage.objects.values_list("token_count", flat=True)) == {9}

    def test_so_many_at_a_time_are_written_the_newest_first(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(history, "WRITTEN_BACK", 50)
        conversation = chat(40, counted=None)
        left = []
        for _ in range(3):
            load(conversation)
            nulls = AIMessage.objects.filter(token_count=None).order_by("sequence")
            left.append(list(nulls.values_list("sequence", flat=True)))
        assert left == [list(range(1, 31)), [], []]

    def test_calls_count_too_those_of_old_data_as_well(self) -> None:
        conversation = AIConversation.objects.create()
        say(
            conversation,
            {"role": "assistant", "tool_calls": [CALL]},
            {"role": "assistant", "function_call": {"name": "f", "arguments": "{}"}},
        )
        load(conversation)
        first, second = AIMessage.objects.order_by("sequence").values_list("token_count", flat=True)
        assert first == len(CALL["function"]["arguments"])
        assert second >= len('{"name":"f","arguments":"{}"}')

    def test_only_this_conversation_is_written(self) -> None:
        chat(2, counted=None)
        load(chat(2, counted=None))
        assert AIMessage.objects.filter(token_count=None).count() == 4
