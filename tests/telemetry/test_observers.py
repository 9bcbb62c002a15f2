"""OpenTelemetry: spans and metrics by the GenAI conventions, without a word of what was said."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.contrib.auth.models import User
from pytest_django import Settings

from django_chatgpt import signals
from django_chatgpt.core.ids import uuid7
from django_chatgpt.exceptions import ProviderUnavailableError
from django_chatgpt.functions.calls import Function
from django_chatgpt.models import AITurn, AIUsage
from django_chatgpt.runtime.tasks import wait_for_turns
from django_chatgpt.services import AIService
from django_chatgpt.services.sweeper import sweep
from django_chatgpt.testing import Answer, Call, Failure, FakeOpenAI, Usage

trace = pytest.importorskip("opentelemetry.sdk.trace")
export = pytest.importorskip("opentelemetry.sdk.trace.export")
memory = pytest.importorskip("opentelemetry.sdk.trace.export.in_memory_span_exporter")
sdk_metrics = pytest.importorskip("opentelemetry.sdk.metrics")
metrics_export = pytest.importorskip("opentelemetry.sdk.metrics.export")
observers = pytest.importorskip("django_chatgpt.telemetry.observers")

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.sqlite_only]

SECRET = "the quick brown fox"
WEATHER = Function(
    "get_weather",
    lambda: SECRET,
    "The weather.",
    {"type": "object", "properties": {}, "additionalProperties": False},
)


class Seen:
    """What was exported."""

    def __init__(self, exporter: Any, reader: Any, tracer: Any) -> None:
        self._exporter = exporter
        self._reader = reader
        self.tracer = tracer

    @property
    def spans(self) -> list[Any]:
        return sorted(self._exporter.get_finished_spans(), key=lambda span: span.start_time)

    def named(self, start: str) -> list[Any]:
        return [span for span in self.spans if span.name.startswith(start)]

    @property
    def points(self) -> dict[str, list[Any]]:
        data = self._reader.get_metrics_data()
        return {
            metric.name: list(metric.data.data_points)
            for resource in data.resource_metrics
            for scope in resource.scope_metrics
            for metric in scope.metrics
        }

    @property
    def everything(self) -> str:
        return "".join(span.to_json() for span in self.spans) + json.dumps(
            [[dict(point.attributes) for point in points] for points in self.points.values()]
        )


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> Iterator[Seen]:
    """The module's own tracer and instruments, with an SDK of this test's behind them."""
    exporter, reader = memory.InMemorySpanExporter(), metrics_export.InMemoryMetricReader()
    tracers, meters = trace.TracerProvider(), sdk_metrics.MeterProvider([reader])
    tracers.add_span_processor(export.SimpleSpanProcessor(exporter))
    tracer, meter = tracers.get_tracer("test"), meters.get_meter("test")
    monkeypatch.setattr(observers, "_tracer", tracer)
    for name in ("_tokens", "_duration", "_first_chunk"):
        instrument = meter.create_histogram(getattr(observers, name)._name)
        monkeypatch.setattr(observers, name, instrument)
    yield Seen(exporter, reader, tracer)
    observers._turns.clear()
    tracers.shutdown()
    meters.shutdown()


def test_a_turn_with_a_call(user: User, fake_openai: FakeOpenAI, seen: Seen) -> None:
    fake_openai.script(
        Answer(calls=[Call("get_weather", {}, id="call_1")], usage=Usage(10, 5)),
        Answer("Sunny", usage=Usage(20, 7, cached=4, reasoning=2)),
    )
    with seen.tracer.start_as_current_span("request") as request:
        reply = AIService(user).ask(SECRET, functions=[WEATHER])
    (turn,) = seen.named("invoke_agent")
    assert turn.parent.span_id == request.get_span_context().span_id
    assert turn.attributes["gen_ai.conversation.id"] == str(reply.conversation_id)
    assert turn.attributes["django_chatgpt.turn.status"] == "completed"
    assert turn.attributes["gen_ai.usage.input_tokens"] == 30
    below = [span for span in seen.spans if span.parent and span.parent.span_id == turn.context.span_id]
    assert [span.name for span in below] == ["chat gpt-6-luna", "execute_tool get_weather", "chat gpt-6-luna"]
    first, tool, second = below
    assert [span.kind.name for span in below] == ["CLIENT", "INTERNAL", "CLIENT"]
    assert turn.start_time - 10**8 < first.start_time < first.end_time <= second.start_time + 10**8
    assert second.end_time <= turn.end_time + 10**8
    attributes = dict(second.attributes)
    assert attributes.pop("gen_ai.response.time_to_first_chunk") >= 0
    assert attributes.pop("server.port") > 0
    assert attributes.pop("django_chatgpt.attempt.id") == str(AIUsage.objects.latest("id").pk)
    assert attributes == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "gpt-6-luna",
        "gen_ai.response.model": reply.model,
        "gen_ai.conversation.id": str(reply.conversation_id),
        "gen_ai.usage.input_tokens": 20,
        "gen_ai.usage.output_tokens": 7,
        "gen_ai.usage.cache_read.input_tokens": 4,
        "gen_ai.usage.cache_creation.input_tokens": 0,
        "gen_ai.usage.reasoning.output_tokens": 2,
        "server.address": "127.0.0.1",
    } | {name: value for name, value in attributes.items() if name == "django_chatgpt.cost"}
    assert tool.attributes["gen_ai.operation.name"] == "execute_tool"
    assert tool.attributes["gen_ai.tool.call.id"] == "call_1"
    assert SECRET not in seen.everything
    assert "Sunny" not in seen.everything
    assert "gen_ai.system" not in seen.everything


def test_an_async_turn_belongs_to_the_span_it_began_in(
    user: User, fake_openai: FakeOpenAI, seen: Seen
) -> None:
    fake_openai.reply("Hello")

    async def ask() -> int:
        with seen.tracer.start_as_current_span("request") as request:
            await AIService(user).aask("Hi")
            await wait_for_turns()
        return int(request.get_span_context().span_id)

    parent = async_to_sync(ask)()
    (turn,) = seen.named("invoke_agent")
    (chat,) = seen.named("chat")
    assert turn.parent.span_id == parent
    assert chat.parent.span_id == turn.context.span_id


def test_the_metrics(user: User, fake_openai: FakeOpenAI, seen: Seen) -> None:
    fake_openai.script(Answer("Hello", usage=Usage(7, 3)))
    AIService(user).ask("Hi")
    points = seen.points
    tokens = {
        point.attributes["gen_ai.token.type"]: point.sum for point in points["gen_ai.client.token.usage"]
    }
    assert tokens == {"input": 7, "output": 3}
    (duration,) = points["gen_ai.client.operation.duration"]
    assert duration.count == 1
    assert duration.attributes["gen_ai.request.model"] == "gpt-6-luna"
    (first,) = points["gen_ai.client.operation.time_to_first_chunk"]
    assert first.count == 1
    ids = {"gen_ai.conversation.id", "django_chatgpt.attempt.id"}
    assert all(ids.isdisjoint(point.attributes) for found in points.values() for point in found)


def test_what_failed_is_marked(user: User, fake_openai: FakeOpenAI, seen: Seen, settings: Settings) -> None:
    settings.OPENAI_MAX_RETRIES = 1
    fake_openai.script(*[Failure(503, retry_after=0.001, message=SECRET)] * 2)
    with pytest.raises(ProviderUnavailableError):
        AIService(user).ask("Hi")
    (turn,) = seen.named("invoke_agent")
    assert [span.status.status_code.name for span in (*seen.named("chat"), turn)] == ["ERROR"] * 3
    assert {span.attributes["error.type"] for span in seen.spans} == {"provider_unavailable"}
    (duration,) = seen.points["gen_ai.client.operation.duration"]
    assert duration.attributes["error.type"] == "provider_unavailable"
    assert duration.count == 2
    assert SECRET not in seen.everything


def test_a_completion_belongs_to_the_current_span(user: User, fake_openai: FakeOpenAI, seen: Seen) -> None:
    fake_openai.reply("Hello")
    with seen.tracer.start_as_current_span("request") as request:
        AIService(user).chat_completion([{"role": "user", "content": "Hi"}])
    (chat,) = seen.named("chat")
    assert chat.parent.span_id == request.get_span_context().span_id
    assert "gen_ai.conversation.id" not in chat.attributes


def test_a_turn_whose_process_died_ends_where_it_is_swept(
    user: User, fake_openai: FakeOpenAI, seen: Seen
) -> None:
    fake_openai.reply("Hello")
    events = AIService(user).stream("Hi")
    next(events)
    turn = AITurn.objects.get()
    turn.lease_expires_at -= timedelta(hours=1)
    turn.save()
    assert sweep(turn)
    (span,) = seen.named("invoke_agent")
    assert span.attributes["django_chatgpt.turn.status"] == "interrupted"
    assert [each.attributes["gen_ai.request.model"] for each in seen.named("chat")] == ["gpt-6-luna"]
    events.close()


def test_turns_that_never_end_here_are_forgotten(seen: Seen, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(observers, "MOST_OPEN", 2)
    for _ in range(5):
        observers.on_turn_started(uuid7(), uuid7(), "m")
    assert len(observers._turns) == 2
    assert len(seen.named("invoke_agent")) == 3


@pytest.mark.parametrize(
    ("url", "provider", "address", "port"),
    [
        ("https://api.openai.com/v1", "openai", "api.openai.com", 443),
        ("https://x.openai.azure.com/openai/v1", "azure.ai.openai", "x.openai.azure.com", 443),
        ("http://127.0.0.1:8080/v1", "openai", "127.0.0.1", 8080),
        ("http://host/v1", "openai", "host", 80),
    ],
)
def test_who_answers(url: str, provider: str, address: str, port: int) -> None:
    assert observers._server(url) == {
        "gen_ai.provider.name": provider,
        "server.address": address,
        "server.port": port,
    }


def test_it_observes_once_however_often_it_is_told_to() -> None:
    before = len(signals.turn_started.receivers)
    observers.subscribe()
    assert len(signals.turn_started.receivers) == before
