"""A shop's conversations and ledger, to be looked at in the admin."""

from __future__ import annotations

import json
import random
from datetime import timedelta
from decimal import Decimal
from typing import Any

from django.contrib.auth.models import User
from django.utils import timezone

from django_chatgpt.models import AIAlert, AIConversation, AIFunction, AIFunctionCall, AITurn, AIUsage
from tests.models import rows

MODELS = [
    ("gpt-6-luna", "0.0004", 50),
    ("gpt-6-sol", "0.004", 15),
    ("gpt-6-astra", "0.02", 4),
    ("at-home", "", 3),
]


def called(call_id: str, name: str, **arguments: Any) -> dict[str, Any]:
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": json.dumps(arguments)}}


def talk(user: User) -> AIFunctionCall:
    """A conversation with calls, a failure, and one call that waits for a person."""
    now = timezone.now()
    conversation = rows.conversation(
        user=user,
        title="What does the Krakow warehouse have of the blue lamp?",
        total_tokens=2841,
        total_cost=Decimal("0.000812"),
    )
    turn = _turn(conversation, "completed")
    number = iter(range(1, 100))

    def say(role: str, content: str, **fields: Any) -> None:
        rows.message(conversation, next(number), turn=turn, role=role, content=content, **fields)

    say("user", "What does the Krakow warehouse have of the blue lamp?", token_count=12)
    say(
        "assistant",
        "I will look that up.",
        token_count=9,
        estimated_cost=Decimal("0.00021"),
        response_time_ms=812,
        tool_calls=[called("c1", "stock_of", article="blue lamp", warehouse="Krakow")],
    )
    _call(turn, "c1", "stock_of", duration_ms=43, status="completed")
    say("tool", '{"pieces": 14, "reserved": 3}', tool_call_id="c1")
    answer = "Krakow has **14** blue lamps, three of them reserved. Shall I reserve some for you?"
    say("assistant", answer, token_count=48, estimated_cost=Decimal("0.000402"), response_time_ms=1431)
    rows.usage(
        turn=turn, user=user, total_tokens=2121, estimated_cost=Decimal("0.000612"), outcome="completed"
    )
    turn = _turn(
        conversation,
        "failed",
        error_code="provider_unavailable",
        error_message="The model can't be reached at the moment.",
    )
    say("user", "Yes, five.", token_count=5)
    say("assistant", "I am reserv", status="failed", token_count=4)
    turn = _turn(conversation, "awaiting_approval", lease_expires_at=now + timedelta(hours=20))
    say("user", "Again please: reserve five for Mrs Nowak.", token_count=11)
    wanted = {"article": "blue lamp", "pieces": 5, "customer": "Mrs Nowak"}
    say("assistant", "", tool_calls=[called("c2", "reserve", **wanted)], token_count=30)
    return _call(
        turn,
        "c2",
        "reserve",
        status="awaiting_approval",
        arguments=json.dumps(wanted),
        expires_at=now + timedelta(hours=20),
    )


def ledger(users: list[User]) -> None:
    """Ten weeks of use."""
    chance = random.Random(7)
    now = timezone.now()
    made = []
    for days in range(70):
        for _ in range(chance.randint(3, 12)):
            model, price, _weight = chance.choices(MODELS, [weight for *_, weight in MODELS])[0]
            tokens = chance.randint(200, 4000)
            made.append(
                AIUsage(
                    user=chance.choices(users, range(len(users), 0, -1))[0],
                    model=model,
                    total_tokens=tokens,
                    outcome="completed",
                    estimated_cost=Decimal(price) * tokens / 1000 if price else None,
                    timestamp=now - timedelta(days=days, minutes=chance.randint(0, 600)),
                )
            )
    AIUsage.objects.bulk_create(made)


def fittings() -> None:
    """What the other pages show."""
    for number, name in enumerate(("stock_of", "deliveries", "reserve")):
        AIFunction.objects.create(name=name, usage_count=40, success_count=40 - number, error_count=number)
    AIAlert.objects.create(title="Four fifths of the budget of the site are used", severity="warning")


def _turn(conversation: AIConversation, status: str, **fields: Any) -> AITurn:
    options = {"model": "gpt-6-luna"}
    return rows.turn(conversation, user=conversation.user, status=status, options=options, **fields)


def _call(turn: AITurn, call_id: str, name: str, **fields: Any) -> AIFunctionCall:
    return AIFunctionCall.objects.create(turn=turn, call_id=call_id, name=name, **fields)
