"""What observers and the log are told of turns, attempts and calls; and that no word of a chat is in it."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import nullcontext
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from django.contrib.auth.models import User
from pytest_django import Settings

from django_chatgpt import signals
from django_chatgpt.exceptions import AIServiceError
from django_chatgpt.functions.calls import Function
from django_chatgpt.models import AIConversation, AITurn, AIUsage
from django_chatgpt.services import AIService
from django_chatgpt.testing import Answer, Call, Failure, FakeOpenAI, Usage

if TYPE_CHECKING:
    from tests.services.conftest import Async, Sync

    Colour = Sync | Async

pytestmark = pytest.mark.django_db(transaction=True)

ASKED, SAID, RETURNED, KEY = "asked-words", "said-words", "returned-words", "sk-the-key-itself"
WEATHER = Function(
    "get_weather",
    lambda: RETURNED,
    "The weather.",
    {"type": "object", "properties": {}, "additionalProperties": False},
)


@pytest.fixture
def told() -> Iterator[list[tuple[str, dict[str, Any]]]]:
    """Every signal that was sent of turns and attempts, in order; alerts have tests of their own."""
    seen: list[tuple[str, dict[str, Any]]] = []
    receivers = {}
    for name, signal in vars(signals).items():
        if isinstance(signal, signals.Observation) and name != "alert_raised":
            receivers[signal] = partial(_hear, seen, name)
            signal.connect(receivers[signal])
    yield seen
    for signal, receiver in receivers.items():
        signal.disconnect(receiver)


def _hear(seen: list[tuple[str, dict[str, Any]]], told: str, /, sender: Any, **values: Any) -> None:
    del values["signal"]
    seen.append((told, values))


def names(told: list[tuple[str, dict[str, Any]]]) -> list[str]:
    return [name for name, _ in told]


def test_a_turn_with_a_call(
    colour: Colour, user: User, fake_openai: FakeOpenAI, told: list[tuple[str, dict[str, Any]]]
) -> None:
    fake_openai.script(
        Answer(
            calls=[Call("get_weather", {}, id="call_1"), Call("made_up", {}, id="call_2")], usage=Usage(3, 2)
        ),
        Answer(SAID, usage=Usage(7, 3)),
    )
    reply = colour.ask(AIService(user), ASKED, functions=[WEATHER])
    assert names(told) == [
        "turn_started",
        "attempt_settled",
        "function_called",
        "function_called",
        "attempt_settled",
        "turn_ended",
    ]
    whose = {"turn_id": reply.turn_id, "conversation_id": reply.conversation_id, "user_id": user.pk}
    assert all(whose.items() <= values.items() for _, values in told)
    started, ended = told[0][1], told[-1][1]
    assert (started["model"], started["resumed"]) == ("gpt-6-luna", False)
    assert (ended["status"], ended["reason"], ended["error_code"]) == ("completed", "stop", "")
    assert ended["usage"] == reply.usage
    assert ended["cost"] == reply.cost
    settled = told[4][1]
    row = AIUsage.objects.latest("id")
    assert settled["attempt_id"] == row.pk
    assert settled["usage"].prompt_tokens == row.prompt_tokens == 7
    assert settled["cost"] == row.estimated_cost
    assert settled["latency_ms"] == row.latency_ms
    assert settled["kind"] == "chat"
    calls = [(told[place][1]["name"], told[place][1]["status"]) for place in (2, 3)]
    assert calls == [("get_weather", "completed"), ("", "failed")], "a made up name is the model's text"
    assert not any(word in repr(told) for word in (ASKED, SAID, RETURNED))


def test_a_completion(
    colour: Colour, user: User, fake_openai: FakeOpenAI, told: list[tuple[str, dict[str, Any]]]
) -> None:
    fake_openai.reply(SAID)
    colour.complete(AIService(user), [{"role": "user", "content": ASKED}])
    ((name, values),) = told
    assert name == "attempt_settled"
    assert values["turn_id"] is None
    assert values["base_url"] == fake_openai.base_url


def test_what_is_told_is_stored(
    user: User, fake_openai: FakeOpenAI, told: list[tuple[str, dict[str, Any]]]
) -> None:
    seen = []

    def look(turn_id: Any, **values: Any) -> None:
        seen.append(AITurn.objects.get(pk=turn_id).status)

    signals.turn_ended.connect(look)
    fake_openai.reply(SAID)
    AIService(user).ask(ASKED)
    signals.turn_ended.disconnect(look)
    assert seen == ["completed"]


@pytest.mark.parametrize("fails", [False, True])
def test_the_log_has_every_number_and_no_word(
    colour: Colour,
    user: User,
    fake_openai: FakeOpenAI,
    settings: Settings,
    fails: bool,
    caplog: pytest.LogCaptureFixture,
) -> None:
    settings.OPENAI_API_KEY = KEY
    settings.OPENAI_MAX_RETRIES = 0
    caplog.set_level(logging.DEBUG, "django_chatgpt")
    last = Failure(500, message=SAID + KEY) if fails else Answer(SAID, usage=Usage(7, 3))
    fake_openai.script(Answer(SAID, calls=[Call("get_weather", {})], usage=Usage(3, 2)), last)
    with pytest.raises(AIServiceError) if fails else nullcontext():
        colour.ask(AIService(user), ASKED, functions=[WEATHER])
    ours = [record for record in caplog.records if record.name.startswith("django_chatgpt")]
    attempts = [vars(record) for record in ours if record.name == "django_chatgpt.attempts"]
    (turn,) = (vars(record) for record in ours if record.name == "django_chatgpt.turns")
    assert [record["outcome"] for record in attempts] == ["completed", "failed" if fails else "completed"]
    assert attempts[0]["total_tokens"] == 5
    assert attempts[0]["turn_id"] == turn["turn_id"] == AITurn.objects.get().pk
    assert turn["conversation_id"] == AIConversation.objects.get().pk
    assert turn["status"] == ("failed" if fails else "completed")
    assert turn["error_code"] == ("provider_unavailable" if fails else "")
    assert turn["total_tokens"] == (5 if fails else 15)
    assert turn["latency_ms"] >= attempts[0]["latency_ms"]
    assert turn["model"]
    everything = repr([vars(record) | {"said": record.getMessage()} for record in ours])
    assert not any(word in everything for word in (ASKED, SAID, RETURNED, KEY))


def test_a_judgement_is_an_attempt_too(
    colour: Colour,
    user: User,
    fake_openai: FakeOpenAI,
    settings: Settings,
    told: list[tuple[str, dict[str, Any]]],
) -> None:
    settings.OPENAI_MODERATION_MODEL = "omni-moderation-latest"
    fake_openai.reply(SAID)
    reply = colour.ask(AIService(user), ASKED)
    kinds = [values["kind"] for name, values in told if name == "attempt_settled"]
    assert sorted(kinds) == sorted(AIUsage.objects.values_list("kind", flat=True))
    assert "moderation" in kinds
    assert {values["turn_id"] for _, values in told} == {reply.turn_id}
    assert not any(word in repr(told) for word in (ASKED, SAID))
