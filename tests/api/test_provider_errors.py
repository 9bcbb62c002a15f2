"""What the provider does wrong, seen from a browser: status, words, what is kept, and that it goes on."""

from __future__ import annotations

from typing import Any

import pytest
from django.test.utils import override_settings

from django_chatgpt.api.errors import STATUS as STATUS_OF_CODE
from django_chatgpt.core import retry
from django_chatgpt.core.history import NO_ANSWER
from django_chatgpt.exceptions import AIServiceError, ProviderError
from django_chatgpt.models import AIConversation, AIMessage, AITurn, AIUsage
from django_chatgpt.testing import HTML, Answer, Call, Drop, Failure, FakeOpenAI, Usage
from tests.api.conftest import Door

pytestmark = pytest.mark.django_db

FIVE = ["1 ", "2 ", "3 ", "4 ", "5 "]
TEN = [*FIVE, "6 ", "7 ", "8 ", "9 ", "10 "]
RETRY = {"retry_after": 0}

#: step, status, code, usage_source of its ledger row
REFUSED: dict[str, tuple[Any, int, str, str]] = {
    "400": (Failure(400), 502, "provider_rejected", "provider"),
    "401": (Failure(401), 502, "provider_rejected", "provider"),
    "403": (Failure(403), 502, "provider_rejected", "provider"),
    "404": (Failure(404), 502, "provider_rejected", "provider"),
    "408": (Failure(408), 504, "provider_timeout", "provider"),
    "413": (Failure(413), 413, "token_limit", "provider"),
    "too long": (Failure(400, code="context_length_exceeded"), 413, "token_limit", "provider"),
    "filtered": (Failure(400, code="content_policy_violation"), 422, "content_filter", "provider"),
    "429": (Failure(429), 503, "provider_rate_limited", "provider"),
    "no money": (Failure(429, code="insufficient_quota"), 503, "provider_quota", "provider"),
    "500": (Failure(500), 503, "provider_unavailable", "provider"),
    "502 page": (HTML("<h1>Bad gateway</h1>", status=502), 503, "provider_unavailable", "provider"),
    "503": (Failure(503), 503, "provider_unavailable", "provider"),
    "504": (Failure(504), 504, "provider_timeout", "provider"),
    "teapot": (Failure(418, body=b"short and stout"), 502, "provider_rejected", "provider"),
    "200 page": (HTML(), 502, "provider_protocol", "provider"),
    "dropped": (Drop(), 503, "provider_unavailable", "unknown"),
}
#: fault of a stream after five pieces, code
BROKEN: dict[str, tuple[dict[str, Any], str]] = {
    "cut": ({"cut_after": 5}, "provider_protocol"),
    "clean early end": ({"end_early_after": 5}, "provider_protocol"),
    "bad JSON": ({"bad_json_after": 5}, "provider_protocol"),
    "error inside": ({"error_after": 5, "error": Failure(503)}, "provider_unavailable"),
    "rate inside": ({"error_after": 5, "error": Failure(429)}, "provider_rate_limited"),
}
STATUS = {"provider_protocol": 502, "provider_unavailable": 503, "provider_rate_limited": 503}

both_ways = pytest.mark.parametrize("stream", [False, True])


def codes(kind: type[AIServiceError] = AIServiceError) -> set[str]:
    """The codes of an error and of all below it."""
    return {kind.code}.union(*(codes(below) for below in kind.__subclasses__()))


@pytest.mark.sqlite_only
def test_every_error_has_a_status() -> None:
    """None is a 500 because nobody thought of it."""
    assert codes() <= set(STATUS_OF_CODE)
    assert not [code for code in codes(ProviderError) if STATUS_OF_CODE[code] not in (502, 503, 504)]


def assert_it_goes_on(door: Door, fake: FakeOpenAI, before: list[str]) -> None:
    """The next question of the conversation is answered, and the provider sees what was said before."""
    conversation = AIConversation.objects.get()
    fake.reply("Still here.")
    answer = door.ask("Go on", conversation_id=str(conversation.pk))
    assert answer.status == 200
    assert answer.text == "Still here."
    assert fake.calls[-1].texts == [*before, "Go on"]
    stored = 3 + len(set(before) - {"Hi", NO_ANSWER})
    assert list(conversation.messages.order_by("sequence").values_list("sequence", flat=True)) == list(
        range(1, stored + 1)
    )
    total = sum(AIUsage.objects.values_list("total_tokens", flat=True))
    conversation.refresh_from_db()
    assert conversation.total_tokens == total


@pytest.mark.sqlite_only
@both_ways
@pytest.mark.parametrize("name", REFUSED)
def test_an_answer_that_is_an_error(
    door: Door, fake: FakeOpenAI, dialect: str, name: str, stream: bool
) -> None:
    step, status, code, source = REFUSED[name]
    fake.script(step)
    answer = door.ask(stream=stream)
    assert answer.status == (200 if stream else status)
    assert answer.error["code"] == code
    if stream:
        assert [event["type"] for event in answer.events] == ["start", "error", "done"]
        assert set(answer.error) == {"code", "message"}
    turn = AITurn.objects.get()
    assert (turn.status, turn.error_code, turn.active_conversation) == ("failed", code, None)
    assert turn.error_message == answer.error["message"]
    assert turn.lease_expires_at is None
    row = AIUsage.objects.get()
    assert (row.outcome, row.error_code, row.usage_source) == ("failed", code, source)
    assert row.total_tokens == 0
    assert row.estimated_cost == (None if source == "unknown" else 0)
    if name not in ("dropped", "413", "too long", "filtered"):
        assert row.request_id == fake.calls[0].id
    assert list(AIMessage.objects.values_list("role", flat=True)) == ["user"]
    # What the provider has refused once, it is not sent again.
    assert_it_goes_on(door, fake, [] if code == "content_filter" else ["Hi", NO_ANSWER])


@both_ways
@pytest.mark.parametrize("name", BROKEN)
def test_an_answer_that_breaks(door: Door, fake: FakeOpenAI, dialect: str, name: str, stream: bool) -> None:
    fault, code = BROKEN[name]
    fake.script(Answer(chunks=TEN, **fault))
    answer = door.ask(stream=stream)
    assert answer.status == (200 if stream else STATUS[code])
    assert answer.error["code"] == code
    if stream:
        assert answer.text == "".join(FIVE)
        assert [event["type"] for event in answer.events][-2:] == ["error", "done"]
        assert "finish" not in [event["type"] for event in answer.events]
    turn = AITurn.objects.get()
    assert (turn.status, turn.error_code, turn.partial_text) == ("failed", code, "".join(FIVE))
    message = AIMessage.objects.get(role="assistant")
    assert (message.content, message.status, message.turn) == ("".join(FIVE), "failed", turn)
    row = AIUsage.objects.get()
    assert (row.outcome, row.usage_source, row.error_code) == ("failed", "estimated", code)
    assert row.prompt_tokens > 0
    assert row.completion_tokens >= 5
    assert row.estimated_cost
    assert_it_goes_on(door, fake, ["Hi", "".join(FIVE)])


@both_ways
@pytest.mark.parametrize("fault", ["cut_after", "end_early_after", "bad_json_after", "error_after"])
def test_an_answer_that_breaks_before_its_first_word(
    door: Door, fake: FakeOpenAI, own_dialect: str, fault: str, stream: bool
) -> None:
    fake.script(Answer(chunks=TEN, **{fault: 0}))
    answer = door.ask(stream=stream)
    assert answer.status == (200 if stream else STATUS[answer.error["code"]])
    row = AIUsage.objects.get()
    assert (row.outcome, row.usage_source, row.completion_tokens) == ("failed", "estimated", 0)
    assert_it_goes_on(door, fake, ["Hi", NO_ANSWER])


@pytest.mark.parametrize("after", [3, "Sun, 06 Nov 2095 08:49:37 GMT"])
def test_retry_after_is_passed_on(door: Door, fake: FakeOpenAI, own_dialect: str, after: Any) -> None:
    fake.script(Failure(429, retry_after=after))
    answer = door.ask()
    assert answer.status == 503
    assert int(answer.headers["Retry-After"]) == (3 if after == 3 else 24 * 60 * 60)


def test_without_retry_after_none_is_made_up(door: Door, fake: FakeOpenAI) -> None:
    fake.script(Failure(429))
    assert "Retry-After" not in door.ask().headers


@both_ways
def test_one_ledger_row_for_each_attempt(
    door: Door, fake: FakeOpenAI, own_dialect: str, stream: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retry, "BACKOFF_SECONDS", 0.01)
    fake.script(
        Failure(500, **RETRY), Failure(429, **RETRY), Answer(chunks=TEN, cut_after=0), Drop(), "Hello there"
    )
    with override_settings(OPENAI_MAX_RETRIES=4):
        answer = door.ask(stream=stream)
    assert (answer.status, answer.text) == (200, "Hello there")
    assert len(fake.calls) == 5
    rows = AIUsage.objects.order_by("timestamp", "id")
    assert list(rows.values_list("outcome", "usage_source", "error_code")) == [
        ("failed", "provider", "provider_unavailable"),
        ("failed", "provider", "provider_rate_limited"),
        ("failed", "estimated", "provider_protocol"),
        ("failed", "unknown", "provider_unavailable"),
        ("completed", "provider", ""),
    ]
    assert len({row.turn_id for row in rows}) == 1
    assert all(row.latency_ms is not None for row in rows)
    assert [row.time_to_first_token_ms is None for row in rows] == [True, True, True, True, False]
    # What one attempt cost nobody knows, and so nobody knows what the turn cost.
    cost = answer.events[-2]["cost"] if stream else answer.json["cost"]
    assert cost is None
    conversation = AIConversation.objects.get()
    assert conversation.total_tokens == sum(row.total_tokens for row in rows)
    assert conversation.total_cost == sum(row.estimated_cost or 0 for row in rows) > 0
    assert AIMessage.objects.count() == 2


def test_retries_end(door: Door, fake: FakeOpenAI) -> None:
    fake.respond_with(lambda request: Failure(503, **RETRY))
    with override_settings(OPENAI_MAX_RETRIES=2):
        answer = door.ask()
    assert (answer.status, answer.error["code"]) == (503, "provider_unavailable")
    assert len(fake.calls) == AIUsage.objects.filter(outcome="failed").count() == 3
    assert not AIUsage.objects.filter(outcome="running").exists()


@pytest.mark.parametrize("name", ["400", "401", "403", "404", "no money", "filtered", "too long", "200 page"])
def test_what_cannot_go_better_is_not_tried_again(door: Door, fake: FakeOpenAI, name: str) -> None:
    fake.script(REFUSED[name][0], "Hello")
    with override_settings(OPENAI_MAX_RETRIES=3):
        door.ask()
    assert len(fake.calls) == 1


def test_nothing_is_said_twice(door: Door, fake: FakeOpenAI, own_dialect: str) -> None:
    """What somebody has seen is not asked for again."""
    fake.script(Answer(chunks=TEN, cut_after=5), "1 2 3 4 5 6")
    with override_settings(OPENAI_MAX_RETRIES=3):
        answer = door.ask(stream=True)
    assert answer.text == "".join(FIVE)
    assert len(fake.calls) == 1


def test_a_provider_that_wants_us_to_wait_too_long(door: Door, fake: FakeOpenAI) -> None:
    fake.script(Failure(429, retry_after=3600), "Hello")
    with override_settings(OPENAI_MAX_RETRIES=3, OPENAI_TIMEOUT=5):
        answer = door.ask()
    assert (answer.status, answer.headers["Retry-After"]) == (503, "3600")
    assert len(fake.calls) == 1


@both_ways
def test_a_provider_that_is_silent(door: Door, fake: FakeOpenAI, own_dialect: str, stream: bool) -> None:
    fake.script(Answer(chunks=TEN, stall_after=5))
    with override_settings(OPENAI_TIMEOUT=0.5):
        answer = door.ask(stream=stream)
    assert answer.error["code"] == "provider_timeout"
    assert answer.status == (200 if stream else 504)
    assert AIMessage.objects.get(role="assistant").content == "".join(FIVE)
    assert AIUsage.objects.get().usage_source == "estimated"
    assert_it_goes_on(door, fake, ["Hi", "".join(FIVE)])


@both_ways
def test_a_provider_that_never_accepts(door: Door, fake: FakeOpenAI, stream: bool) -> None:
    fake.script(Answer("Hello", wait=30))
    with override_settings(OPENAI_TIMEOUT=0.5):
        answer = door.ask(stream=stream)
    assert answer.error["code"] == "provider_timeout"
    assert AIUsage.objects.get().usage_source == "unknown"
    assert_it_goes_on(door, fake, ["Hi", NO_ANSWER])


@both_ways
def test_nobody_listens_at_the_address(door: Door, stream: bool) -> None:
    with override_settings(OPENAI_BASE_URL="http://127.0.0.1:9/v1"):
        answer = door.ask(stream=stream)
    assert answer.error["code"] == "provider_unavailable"
    row = AIUsage.objects.get()
    assert (row.outcome, row.usage_source, row.estimated_cost) == ("failed", "unknown", None)


@pytest.mark.parametrize(
    "setting", [{"OPENAI_API_KEY": ""}, {"OPENAI_TIMEOUT": "soon"}, {"OPENAI_API": "smoke"}]
)
@both_ways
def test_a_site_that_is_not_configured(
    door: Door, fake: FakeOpenAI, monkeypatch: pytest.MonkeyPatch, stream: bool, setting: dict[str, Any]
) -> None:
    """Said before anything is stored, with a word for the one who asks and another for the log."""
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with override_settings(**setting):
        answer = door.ask(stream=stream)
    assert (answer.status, answer.error["code"]) == (503, "not_configured")
    assert "OPENAI" not in answer.body.decode()
    assert not AITurn.objects.exists()
    assert not AIConversation.objects.exists()


@both_ways
def test_a_provider_without_usage(door: Door, fake: FakeOpenAI, own_dialect: str, stream: bool) -> None:
    fake.reply("Hello there", usage=None)
    answer = door.ask(stream=stream)
    assert answer.status == 200
    row = AIUsage.objects.get()
    assert (row.outcome, row.usage_source) == ("completed", "estimated")
    assert row.completion_tokens > 0


HOSTILE: dict[str, dict[str, Any]] = {
    "NUL": {"chunks": ["a\x00b", "\x00c"]},
    "long names": {"model": "m" * 300, "headers": {"x-request-id": "r" * 300}},
    "NUL in a name": {"model": "gpt\x00"},
    "NUL in a reason": {"finish": "st\x00op"},
    "too many tokens": {"usage": Usage(10**12, 10**12)},
    "fewer than no tokens": {"usage": Usage(-5, -1)},
    "NUL in a call": {"calls": [Call("f\x00", '{"a": "\x00"}', id="c\x00")]},
}


@both_ways
@pytest.mark.parametrize("name", HOSTILE)
def test_a_provider_that_says_what_no_database_keeps(
    door: Door, fake: FakeOpenAI, own_dialect: str, name: str, stream: bool
) -> None:
    """Whatever it is, the turn ends and the conversation goes on."""
    fake.script(Answer(**{"text": "abc" if "chunks" not in HOSTILE[name] else ""} | HOSTILE[name]))
    answer = door.ask(stream=stream)
    assert answer.status == 200
    if stream:
        assert answer.events[-1]["type"] == "done"
    turn = AITurn.objects.get()
    assert turn.status == "completed"
    message = AIMessage.objects.get(role="assistant")
    assert message.content.replace("\ufffd", "") == "abc"
    assert not AIUsage.objects.filter(outcome="running").exists()
    assert door.get(f"/ai/turns/{turn.pk}/").status == 200
    assert_it_goes_on(door, fake, ["Hi", message.content])
