"""Messages: their order, and what a transcript needs."""

from decimal import Decimal

import pytest
from django.db import IntegrityError, transaction

from django_chatgpt.models import AIMessage
from tests.models import rows

pytestmark = pytest.mark.django_db

CALLS = [
    {
        "id": "call_1",
        "type": "function",
        "function": {"name": "get_weather", "arguments": '{"city": "Paris"}'},
    },
    {"id": "call_2", "type": "function", "function": {"name": "get_weather", "arguments": '{"city": '}},
]


def test_a_conversation_numbers_its_messages() -> None:
    talk = rows.conversation()
    rows.message(talk, 1)
    with pytest.raises(IntegrityError), transaction.atomic():
        rows.message(talk, 1)
    rows.message(talk, 2)
    rows.message(rows.conversation(), 1)


def test_messages_come_in_the_order_of_their_numbers() -> None:
    talk = rows.conversation()
    other = rows.conversation()
    for sequence in (3, 1, 2, 10):
        rows.message(talk, sequence)
        rows.message(other, sequence)
    assert [message.sequence for message in talk.messages.all()] == [1, 2, 3, 10]
    (prefetched,) = type(talk).objects.filter(pk=talk.pk).prefetch_related("messages")
    assert [message.sequence for message in prefetched.messages.all()] == [1, 2, 3, 10]
    everything = [(message.conversation_id, message.sequence) for message in AIMessage.objects.all()]
    assert everything == sorted(everything)


def test_calls_come_back_as_the_model_wrote_them() -> None:
    row = rows.message(rows.conversation(), role="assistant", content="", tool_calls=CALLS)
    row.refresh_from_db()
    assert row.tool_calls == CALLS
    assert row.function_call is None


def test_old_data_can_be_read() -> None:
    row = rows.message(
        rows.conversation(), role="function", function_call={"name": "old", "arguments": "{}"}, content="12"
    )
    row.full_clean()
    row.refresh_from_db()
    assert row.role == AIMessage.Role.FUNCTION
    assert row.function_call == {"name": "old", "arguments": "{}"}


def test_unknown_is_not_zero() -> None:
    row = rows.message(rows.conversation())
    row.refresh_from_db()
    assert (row.token_count, row.estimated_cost, row.response_time_ms) == (None, None, None)
    row.estimated_cost = Decimal("0.000000100000")
    row.save()
    row.refresh_from_db()
    assert row.estimated_cost == Decimal("0.0000001")


def test_a_message_outlives_its_turn() -> None:
    talk = rows.conversation()
    turn = rows.turn(talk)
    row = rows.message(talk, turn=turn)
    assert list(turn.messages.all()) == [row]
    turn.delete()
    row.refresh_from_db()
    assert row.turn is None


def test_its_name_says_nothing_of_its_content() -> None:
    assert str(AIMessage(sequence=4, role="assistant", content="secret")) == "4. assistant"
