"""What is read back of a conversation, on each database."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from django_chatgpt.models import AIConversation, AIMessage
from django_chatgpt.storage.turns import load_history

pytestmark = pytest.mark.django_db

CALL = {"id": "c", "type": "function", "function": {"name": "f", "arguments": '{"x": "é"}'}}


def say(conversation: AIConversation, *lines: dict[str, Any]) -> None:
    for number, line in enumerate(lines):
        AIMessage.objects.create(conversation=conversation, sequence=number + 1, **line)


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
    messages, last = load_history(conversation.pk)
    assert last == 5
    assert messages == [
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
    messages, _ = load_history(conversation.pk)
    assert [message["role"] for message in messages] == ["user", "assistant", "tool"]
    assert messages[1]["tool_calls"][0]["id"] == messages[2]["tool_call_id"]


def test_a_long_history_is_one_query() -> None:
    conversation = AIConversation.objects.create()
    say(conversation, *({"role": "user", "content": str(number)} for number in range(50)))
    with CaptureQueriesContext(connection) as queries:
        messages, last = load_history(conversation.pk)
    assert (len(messages), last, len(queries)) == (50, 50, 1)


def test_nothing_was_said() -> None:
    assert load_history(AIConversation.objects.create().pk) == ([], 0)
