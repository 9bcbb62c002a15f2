"""Questions asked through AIService: stored, answered, counted, whatever happens."""

from __future__ import annotations

import json
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from django.contrib.auth.models import User
from pytest_django import Settings

from django_chatgpt.core.events import CallReturned, Content, Failed, Finished, Started
from django_chatgpt.core.ids import uuid7
from django_chatgpt.exceptions import (
    AIServiceError,
    ConflictError,
    InvalidRequestError,
    NotConfiguredError,
    NotFoundError,
    PermissionDeniedError,
    ProviderProtocolError,
    ProviderRateLimitedError,
    ProviderRejectedError,
    ProviderUnavailableError,
)
from django_chatgpt.functions.calls import Function
from django_chatgpt.models import AIConfiguration, AIConversation, AIMessage, AITurn, AIUsage
from django_chatgpt.services import AIService
from django_chatgpt.testing import HTML, Answer, Call, Drop, Failure, FakeOpenAI, StrayRequest, Usage

if TYPE_CHECKING:
    from tests.services.conftest import Async, Sync

    Colour = Sync | Async

PRICES = {"gpt-6-luna": {"input": "1", "cached_input": "0.5", "output": "2"}}


def weather(city: str) -> dict[str, Any]:
    return {"city": city, "celsius": 21}


WEATHER = Function(
    "get_weather",
    weather,
    "The weather of a city.",
    {
        "type": "object",
        "properties": {"city": {"type": "string"}},
        "required": ["city"],
        "additionalProperties": False,
    },
)


def test_a_question_and_its_answer_are_stored_and_counted(
    colour: Colour, dialect: str, user: User, fake_openai: FakeOpenAI, settings: Settings
) -> None:
    settings.OPENAI_PRICES = PRICES
    fake_openai.reply("Hello there", usage=Usage(10, 5, cached=4, reasoning=1))
    reply = colour.ask(AIService(user), "Hi")
    assert reply.content == str(reply) == "Hello there"
    assert reply.finish_reason == "stop"
    assert reply.usage.total_tokens == 15
    assert reply.cost == Decimal("0.000018"), "6 + 4 / 2 in, 5 * 2 out, per million"
    turn = AITurn.objects.get()
    assert (turn.pk, turn.status, turn.active_conversation) == (reply.turn_id, "completed", None)
    assert (turn.partial_text, turn.user, turn.lease_expires_at) == ("", user, None)
    question, answer = AIMessage.objects.order_by("sequence")
    assert (question.role, question.content, question.sequence) == ("user", "Hi", 1)
    assert (answer.role, answer.content, answer.sequence) == ("assistant", "Hello there", 2)
    assert (answer.pk, answer.status, answer.estimated_cost) == (reply.message_id, "complete", reply.cost)
    row = AIUsage.objects.get()
    assert (row.outcome, row.usage_source, row.user) == ("completed", "provider", user)
    assert (row.prompt_tokens, row.completion_tokens, row.total_tokens) == (10, 5, 15)
    assert (row.cached_tokens, row.reasoning_tokens) == (4, 1)
    assert row.estimated_cost == reply.cost
    assert row.price_source == "settings"
    assert row.request_id == fake_openai.calls[0].id == answer.request_id
    assert row.latency_ms is not None
    assert row.time_to_first_token_ms is not None
    conversation = AIConversation.objects.get()
    assert (conversation.total_tokens, conversation.total_cost) == (15, reply.cost)
    assert (conversation.title, conversation.user) == ("Hi", user)


def test_the_next_question_brings_the_history(
    colour: Colour, dialect: str, user: User, fake_openai: FakeOpenAI
) -> None:
    first = colour.ask(AIService(user), "One")
    second = colour.ask(AIService(user), "Two", first.conversation_id)
    assert second.conversation_id == first.conversation_id
    assert fake_openai.calls[1].texts == ["One", first.content, "Two"]
    assert list(AIMessage.objects.order_by("sequence").values_list("sequence", flat=True)) == [1, 2, 3, 4]


def test_events_are_the_same_in_every_colour_and_dialect(
    colour: Colour, dialect: str, user: User, fake_openai: FakeOpenAI
) -> None:
    fake_openai.script(
        Answer("Let me see.", calls=[Call("get_weather", {"city": "Paris"})]), Answer("It is warm.")
    )
    events = colour.stream(AIService(user), "Paris?", functions=[WEATHER])
    kinds = [event.type for event in events if event.type not in ("content", "function_arguments")]
    assert kinds == ["start", "function_call_start", "function_call", "function_result", "finish", "done"]
    assert "".join(e.content for e in events if isinstance(e, Content)) == "Let me see.It is warm."
    assert [event.seq for event in events] == list(range(1, len(events) + 1))
    (result,) = (event.result for event in events if isinstance(event, CallReturned))
    assert json.loads(result.output) == {"city": "Paris", "celsius": 21}
    finished = next(event for event in events if isinstance(event, Finished))
    assert finished.usage.total_tokens == AIConversation.objects.get().total_tokens
    assert AIUsage.objects.filter(outcome="completed").count() == 2
    roles = list(AIMessage.objects.order_by("sequence").values_list("role", flat=True))
    assert roles == ["user", "assistant", "tool", "assistant"]


def test_a_whole_reply_after_calls_is_what_was_said_last(
    colour: Colour, dialect: str, user: User, fake_openai: FakeOpenAI
) -> None:
    fake_openai.script(
        Answer("Let me see.", calls=[Call("get_weather", {"city": "Paris"})]), Answer("It is warm.")
    )
    reply = colour.ask(AIService(user), "Paris?", functions=[WEATHER])
    assert reply.content == "It is warm."
    assert [call.name for call in reply.function_calls] == ["get_weather"]


@dataclass
class Fault:
    """How an upstream fails, and what is left: the error, the text, who counted the tokens."""

    step: Any
    error: type[AIServiceError]
    text: str = ""
    source: str = "provider"


WORDS = ["one ", "two ", "three ", "four ", "five ", "six"]
FAULTS = {
    "cut": Fault(
        Answer(chunks=WORDS, cut_after=5), ProviderProtocolError, "one two three four five ", "estimated"
    ),
    "ended early": Fault(
        Answer(chunks=WORDS, end_early_after=2), ProviderProtocolError, "one two ", "estimated"
    ),
    "broken JSON": Fault(
        Answer(chunks=WORDS, bad_json_after=2), ProviderProtocolError, "one two ", "estimated"
    ),
    "HTML": Fault(HTML(), ProviderProtocolError),
    "refused": Fault(Failure(400), ProviderRejectedError),
    "wrong key": Fault(Failure(401), ProviderRejectedError),
    "no such model": Fault(Failure(404), ProviderRejectedError),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_provider_that_fails_leaves_the_text_and_a_conversation_that_goes_on(
    colour: Colour, dialect: str, fault: str, user: User, fake_openai: FakeOpenAI
) -> None:
    expected = FAULTS[fault]
    fake_openai.script(expected.step)
    events = colour.stream(AIService(user), "Hi", model="m")
    assert isinstance(events[-2], Failed)
    assert events[-2].code == expected.error.code
    assert "".join(event.content for event in events if isinstance(event, Content)) == expected.text
    turn = AITurn.objects.get()
    assert (turn.status, turn.error_code, turn.active_conversation) == ("failed", events[-2].code, None)
    assert turn.partial_text == expected.text
    kept = AIMessage.objects.filter(role="assistant")
    assert [(message.content, message.status) for message in kept] == (
        [(expected.text, "failed")] if expected.text else []
    )
    row = AIUsage.objects.get()
    assert (row.outcome, row.usage_source) == ("failed", expected.source)
    assert bool(row.completion_tokens) == bool(expected.text)
    fake_openai.reply("Fine again")
    again = colour.ask(AIService(user), "And now?", turn.conversation_id)
    assert again.content == "Fine again"
    assert fake_openai.calls[-1].texts[0] == "Hi"


def test_ask_raises_what_the_turn_failed_with(colour: Colour, user: User, fake_openai: FakeOpenAI) -> None:
    fake_openai.script(Failure(400))
    with pytest.raises(ProviderRejectedError):
        colour.ask(AIService(user), "Hi")


def test_each_attempt_has_its_own_row(
    colour: Colour, dialect: str, user: User, fake_openai: FakeOpenAI, settings: Settings
) -> None:
    settings.OPENAI_PRICES = PRICES
    fake_openai.script(Failure(429, retry_after=0.01), Drop(), Answer("Third time lucky"))
    reply = colour.ask(AIService(user), "Hi")
    assert reply.content == "Third time lucky"
    rows = list(AIUsage.objects.order_by("id"))
    assert [(row.outcome, row.error_code, row.usage_source) for row in rows] == [
        ("failed", "provider_rate_limited", "provider"),
        ("failed", "provider_unavailable", "unknown"),
        ("completed", "", "provider"),
    ]
    assert rows[0].estimated_cost == 0, "an error is not billed"
    assert rows[1].estimated_cost is None, "nobody knows what became of that one"
    assert reply.cost is None
    assert len({row.pk for row in rows}) == len(fake_openai.calls) == 3


def test_retries_come_to_an_end(
    colour: Colour, user: User, fake_openai: FakeOpenAI, settings: Settings
) -> None:
    settings.OPENAI_MAX_RETRIES = 1
    fake_openai.script(*[Failure(503, retry_after=0.01)] * 3)
    with pytest.raises(ProviderUnavailableError):
        colour.ask(AIService(user), "Hi")
    assert len(fake_openai.calls) == AIUsage.objects.filter(outcome="failed").count() == 2


def test_a_rate_limit_says_when_to_come_back(colour: Colour, user: User, fake_openai: FakeOpenAI) -> None:
    fake_openai.script(Failure(429, retry_after=300))
    with pytest.raises(ProviderRateLimitedError) as caught:
        colour.ask(AIService(user), "Hi")
    assert caught.value.retry_after == 300
    assert len(fake_openai.calls) == 1


def test_missing_usage_is_estimated_and_marked(
    colour: Colour, dialect: str, user: User, fake_openai: FakeOpenAI
) -> None:
    fake_openai.reply("Hello there", usage=None)
    reply = colour.ask(AIService(user), "Hi")
    row = AIUsage.objects.get()
    assert (row.outcome, row.usage_source) == ("completed", "estimated")
    assert row.total_tokens == reply.usage.total_tokens > 0


def test_an_unknown_price_is_null(colour: Colour, user: User, fake_openai: FakeOpenAI) -> None:
    reply = colour.ask(AIService(user), "Hi", model="nobody-knows")
    assert reply.cost is None
    assert AIUsage.objects.get().estimated_cost is None
    assert AIConversation.objects.get().total_cost == 0


def leaving(after: int = 2) -> Answer:
    return Answer("one two three four", chunks=4, stall_after=after, stall=0.4)


def test_a_listener_who_leaves_does_not_end_the_turn(
    colour: Colour, dialect: str, user: User, fake_openai: FakeOpenAI
) -> None:
    fake_openai.script(leaving())
    colour.leave_after(AIService(user), Content, "Hi")
    turn = AITurn.objects.get()
    assert turn.status == "completed"
    assert AIMessage.objects.get(role="assistant").content == "one two three four"
    assert AIUsage.objects.get().usage_source == "provider"


def test_drain_reads_the_call_to_its_end_and_makes_no_other(
    colour: Colour, dialect: str, user: User, fake_openai: FakeOpenAI, settings: Settings
) -> None:
    settings.OPENAI_ON_DISCONNECT = "drain"
    fake_openai.script(
        Answer("Let me see", calls=[Call("get_weather", {"city": "Paris"})], stall_after=1, stall=0.3)
    )
    colour.leave_after(AIService(user), Content, "Hi", functions=[WEATHER])
    assert AITurn.objects.get().status == "cancelled"
    row = AIUsage.objects.get()
    assert (row.outcome, row.usage_source) == ("completed", "provider")
    assert len(fake_openai.calls) == 1
    assert AIMessage.objects.get(role="assistant").tool_calls == []


def test_cancel_closes_the_connection_at_once(
    colour: Colour, dialect: str, user: User, fake_openai: FakeOpenAI, settings: Settings
) -> None:
    settings.OPENAI_ON_DISCONNECT = "cancel"
    fake_openai.script(Answer("one two three four", chunks=4, stall_after=2))
    colour.leave_after(AIService(user), Content, "Hi")
    fake_openai.wait_for(disconnected=True, within=2)
    turn = AITurn.objects.get()
    assert turn.status == "cancelled"
    message = AIMessage.objects.get(role="assistant")
    assert message.status == "cancelled"
    assert message.content.startswith("one")
    row = AIUsage.objects.get()
    assert (row.outcome, row.usage_source) == ("cancelled", "estimated")
    assert row.completion_tokens > 0


def test_a_key_of_the_site_itself_opens_one_turn(colour: Colour, fake_openai: FakeOpenAI, db: None) -> None:
    first, second = (colour.ask(AIService(), "Hi", idempotency_key="k") for _ in range(2))
    assert first.turn_id == second.turn_id
    fake_openai.assert_asked(times=1)
    with pytest.raises(ConflictError):
        colour.ask(AIService(), "Something else", idempotency_key="k")


def test_the_same_key_returns_the_first_turn(colour: Colour, user: User, fake_openai: FakeOpenAI) -> None:
    first = colour.ask(AIService(user), "Hi", idempotency_key="k")
    second = colour.ask(AIService(user), "Hi", idempotency_key="k")
    assert second.turn_id == first.turn_id
    assert (second.content, second.message_id, second.usage) == (first.content, first.message_id, first.usage)
    assert len(fake_openai.calls) == AIConversation.objects.count() == 1
    streamed = colour.stream(AIService(user), "Hi", idempotency_key="k")
    told = [event.type for event in streamed if not isinstance(event, Content)]
    assert told == ["start", "finish", "done"]
    assert "".join(event.content for event in streamed if isinstance(event, Content)) == first.content
    assert {event.turn_id for event in streamed} == {first.turn_id}
    with pytest.raises(ConflictError) as caught:
        colour.ask(AIService(user), "Something else", idempotency_key="k")
    assert caught.value.code == "idempotency_mismatch"
    assert len(fake_openai.calls) == 1


def test_a_failed_turn_is_repeated_as_it_was(colour: Colour, user: User, fake_openai: FakeOpenAI) -> None:
    fake_openai.script(Failure(400))
    for _ in range(2):
        with pytest.raises(AIServiceError) as caught:
            colour.ask(AIService(user), "Hi", idempotency_key="k")
        assert caught.value.code == "provider_rejected"
    assert len(fake_openai.calls) == 1


def test_one_turn_at_a_time(colour: Colour, user: User, fake_openai: FakeOpenAI) -> None:
    conversation = AIConversation.objects.create(user=user)
    running = AITurn.objects.create(conversation=conversation, user=user, status="running")
    with pytest.raises(ConflictError) as caught:
        colour.ask(AIService(user), "Hi", conversation)
    assert caught.value.turn_id == running.pk
    assert str(running.pk) in caught.value.message
    assert not AIMessage.objects.exists()
    fake_openai.assert_nothing_asked()


def test_what_may_not_be_asked(colour: Colour, user: User, other_user: User, fake_openai: FakeOpenAI) -> None:
    theirs = AIConversation.objects.create(user=other_user)
    service = AIService(user)
    for text in ("", "  \n", "a\x00b", "half \ud800", "x" * 200_001):
        with pytest.raises(InvalidRequestError) as caught:
            colour.ask(service, text)
        assert list(caught.value.fields) == ["message"]
    for conversation in (theirs, theirs.pk, uuid7()):
        with pytest.raises(NotFoundError):
            colour.ask(service, "Hi", conversation)
    with pytest.raises(NotFoundError):
        colour.ask(service, "Hi", configuration_id=uuid7())
    user.is_active = False
    with pytest.raises(PermissionDeniedError):
        colour.ask(service, "Hi")
    assert not AITurn.objects.exists()
    fake_openai.assert_nothing_asked()


def test_without_a_key_nothing_is_stored(
    colour: Colour, user: User, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    del settings.OPENAI_API_KEY
    with pytest.raises(NotConfiguredError) as caught:
        colour.ask(AIService(user), "Hi")
    assert "OPENAI_API_KEY" in str(caught.value)
    assert "OPENAI_API_KEY" not in caught.value.public_message
    assert not AIConversation.objects.exists()


def test_the_request_goes_before_the_configuration_and_that_before_the_settings(
    colour: Colour, user: User, fake_openai: FakeOpenAI, settings: Settings
) -> None:
    settings.OPENAI_API = "chat"
    settings.OPENAI_MAX_TOKENS = 1000
    settings.OPENAI_TEMPERATURE = 0.1
    configuration = AIConfiguration.objects.create(
        name="c", model="configured", temperature=0.5, top_p=0.9, max_tokens=5000, system_prompt="Be brief."
    )
    colour.ask(AIService(user), "Hi", model="plain")
    colour.ask(AIService(user, configuration), "Hi")
    colour.ask(AIService(user, configuration), "Hi", model="asked", temperature=0, max_tokens=10)
    plain, configured, asked = (call.body for call in fake_openai.calls)
    assert (plain["model"], plain["temperature"], plain["max_completion_tokens"]) == ("plain", 0.1, 1000)
    assert configured["messages"][0] == {"role": "system", "content": "Be brief."}
    assert (configured["model"], configured["temperature"], configured["top_p"]) == ("configured", 0.5, 0.9)
    assert configured["max_completion_tokens"] == 1000, "OPENAI_MAX_TOKENS is a cap"
    assert (asked["model"], asked["temperature"], asked["max_completion_tokens"]) == ("asked", 0, 10)
    assert AIConversation.objects.filter(configuration=configuration).count() == 2


def test_a_conversation_keeps_its_configuration(colour: Colour, user: User, fake_openai: FakeOpenAI) -> None:
    configuration = AIConfiguration.objects.create(name="c", model="configured", system_prompt="Be brief.")
    first = colour.ask(AIService(user, configuration), "Hi")
    colour.ask(AIService(user), "And?", first.conversation_id)
    assert fake_openai.calls[1].model == "configured"
    assert fake_openai.calls[1].texts[0] == "Be brief."


def test_a_temperature_is_not_sent_to_models_that_refuse_it(
    colour: Colour, dialect: str, user: User, fake_openai: FakeOpenAI
) -> None:
    colour.ask(AIService(user), "Hi", model="gpt-6-luna", temperature=0.7)
    assert "temperature" not in fake_openai.calls[0].body


def test_the_site_itself_may_ask(colour: Colour, db: None, fake_openai: FakeOpenAI) -> None:
    colour.ask(AIService(), "Hi")
    assert AIConversation.objects.get().user is None
    assert AIUsage.objects.get().user is None


def test_text_that_a_database_refuses_is_kept_without_it(
    colour: Colour, user: User, fake_openai: FakeOpenAI
) -> None:
    fake_openai.reply("nul\x00 here")
    assert colour.ask(AIService(user), "Hi").content == "nul\x00 here"
    assert AIMessage.objects.get(role="assistant").content == "nul here"


def test_the_question_is_stored_before_the_provider_is_called(
    colour: Colour, user: User, fake_openai: FakeOpenAI
) -> None:
    seen: list[Any] = []

    def look(event: Any) -> None:
        seen.append(
            (AITurn.objects.get().status, AIMessage.objects.get().role, AIUsage.objects.get().outcome)
        )

    events = AIService(user).stream("Hi")
    look(next(events))
    assert not fake_openai.calls
    list(events)
    assert seen == [("running", "user", "running")]


def test_start_names_the_conversation(colour: Colour, user: User, fake_openai: FakeOpenAI) -> None:
    events = colour.stream(AIService(user), "Hi")
    assert isinstance(events[0], Started)
    assert events[0].conversation_id == AIConversation.objects.get().pk


def test_what_no_program_may_swallow_comes_out_as_it_is(
    colour: Colour, user: User, settings: Settings
) -> None:
    """A request that a test does not allow is none of the errors a turn may fail with; it ends it, though."""
    settings.OPENAI_BASE_URL = "http://api.openai.invalid/v1"
    for ask in (colour.ask, colour.stream):
        with pytest.raises(StrayRequest):
            ask(AIService(user), "Hi")
    assert set(AITurn.objects.values_list("status", "active_conversation")) == {("interrupted", None)}
    assert set(AIUsage.objects.values_list("outcome", flat=True)) == {"interrupted"}
