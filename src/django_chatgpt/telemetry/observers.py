"""Spans and metrics, made of what the signals tell.

A turn is a span `invoke_agent` under the span that was current where the turn began; its attempts and
function calls are spans below it, made afterwards with the times they had. Content is never recorded.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from datetime import datetime
from decimal import Decimal
from typing import Any, Final
from urllib.parse import urlsplit
from uuid import UUID

from django_chatgpt import signals
from django_chatgpt.conf import missing_extra
from django_chatgpt.core.messages import TokenUsage
from django_chatgpt.exceptions import NotConfiguredError
from django_chatgpt.telemetry import names

try:
    from opentelemetry import metrics, trace
    from opentelemetry.context import Context
    from opentelemetry.trace import Span, SpanKind, Status, StatusCode
    from opentelemetry.util.types import AttributeValue
except ModuleNotFoundError as error:
    raise NotConfiguredError(missing_extra("otel")) from error

#: Turns whose end this process may never hear of, as another one may go on with them.
MOST_OPEN: Final = 10_000

_tracer = trace.get_tracer(names.SCOPE)
_meter = metrics.get_meter(names.SCOPE)
_tokens = _meter.create_histogram(
    names.TOKEN_USAGE,
    unit="{token}",
    description="Number of input and output tokens used.",
    explicit_bucket_boundaries_advisory=names.TOKEN_BOUNDARIES,
)
_duration = _meter.create_histogram(
    names.OPERATION_DURATION,
    unit="s",
    description="Duration of calls of a model.",
    explicit_bucket_boundaries_advisory=names.DURATION_BOUNDARIES,
)
_first_chunk = _meter.create_histogram(
    names.FIRST_CHUNK_DURATION,
    unit="s",
    description="Time until the first piece of an answer.",
    explicit_bucket_boundaries_advisory=names.FIRST_CHUNK_BOUNDARIES,
)

_lock = threading.Lock()
_turns: OrderedDict[UUID, Span] = OrderedDict()


def subscribe() -> None:
    """Observe from now on; doing it again changes nothing."""
    signals.turn_started.connect(on_turn_started, dispatch_uid=__name__)
    signals.turn_ended.connect(on_turn_ended, dispatch_uid=__name__)
    signals.attempt_settled.connect(on_attempt_settled, dispatch_uid=__name__)
    signals.function_called.connect(on_function_called, dispatch_uid=__name__)


def on_turn_started(turn_id: UUID, conversation_id: UUID, model: str, **kwargs: Any) -> None:
    span = _tracer.start_span(
        names.INVOKE_AGENT,
        kind=SpanKind.INTERNAL,
        attributes={
            names.OPERATION: names.INVOKE_AGENT,
            names.PROVIDER: names.OPENAI,
            names.CONVERSATION_ID: str(conversation_id),
            names.REQUEST_MODEL: model,
            names.TURN_ID: str(turn_id),
        },
    )
    with _lock:
        _turns[turn_id] = span
        forgotten = _turns.popitem(last=False)[1] if len(_turns) > MOST_OPEN else None
    if forgotten is not None:
        forgotten.end()


def on_turn_ended(
    turn_id: UUID,
    status: str,
    error_code: str,
    model: str,
    usage: TokenUsage,
    cost: Decimal | None,
    **kwargs: Any,
) -> None:
    with _lock:
        span = _turns.pop(turn_id, None)
    if span is None:
        return
    span.set_attributes(
        {names.TURN_STATUS: status, names.RESPONSE_MODEL: model, **_usage(usage), **_cost(cost)}
    )
    if status == "failed":
        _mark_failed(span, error_code)
    span.end()


def on_attempt_settled(
    attempt_id: UUID,
    turn_id: UUID | None,
    conversation_id: UUID | None,
    kind: str,
    base_url: str,
    requested_model: str,
    model: str,
    outcome: str,
    error_code: str,
    usage: TokenUsage,
    usage_source: str,
    cost: Decimal | None,
    started_at: datetime,
    latency_ms: int | None,
    time_to_first_token_ms: int | None,
    **kwargs: Any,
) -> None:
    operation = names.OPERATIONS.get(kind, kind)
    common: dict[str, AttributeValue] = {
        names.OPERATION: operation,
        names.REQUEST_MODEL: requested_model,
        names.RESPONSE_MODEL: model,
        **_server(base_url),
    }
    if outcome == "failed":
        common[names.ERROR_TYPE] = error_code or outcome
    begun = int(started_at.timestamp() * 1e9)
    span = _tracer.start_span(
        f"{operation} {requested_model}",
        context=_within(turn_id),
        kind=SpanKind.CLIENT,
        start_time=begun,
        attributes={**common, names.ATTEMPT_ID: str(attempt_id), **_cost(cost)},
    )
    if conversation_id is not None:
        span.set_attribute(names.CONVERSATION_ID, str(conversation_id))
    if usage_source != "unknown":
        span.set_attributes(_usage(usage))
        _tokens.record(usage.prompt_tokens, {**common, names.TOKEN_TYPE: "input"})
        _tokens.record(usage.completion_tokens, {**common, names.TOKEN_TYPE: "output"})
    if time_to_first_token_ms is not None:
        span.set_attribute(names.TIME_TO_FIRST_CHUNK, time_to_first_token_ms / 1000)
        _first_chunk.record(time_to_first_token_ms / 1000, common)
    if outcome == "failed":
        _mark_failed(span, error_code)
    if latency_ms is None:
        span.end()
        return
    span.end(begun + latency_ms * 1_000_000)
    _duration.record(latency_ms / 1000, common)


def on_function_called(
    call_id: str,
    turn_id: UUID | None,
    conversation_id: UUID | None,
    name: str,
    status: str,
    error_code: str,
    duration_ms: int,
    **kwargs: Any,
) -> None:
    now = time.time_ns()
    attributes: dict[str, AttributeValue] = {
        names.OPERATION: names.EXECUTE_TOOL,
        names.TOOL_NAME: name,
        names.TOOL_TYPE: names.FUNCTION,
        names.TOOL_CALL_ID: call_id,
    }
    if conversation_id is not None:
        attributes[names.CONVERSATION_ID] = str(conversation_id)
    span = _tracer.start_span(
        f"{names.EXECUTE_TOOL} {name}".rstrip(),
        context=_within(turn_id),
        kind=SpanKind.INTERNAL,
        start_time=now - duration_ms * 1_000_000,
        attributes=attributes,
    )
    if status == "failed":
        _mark_failed(span, error_code)
    span.end(now)


def _within(turn_id: UUID | None) -> Context | None:
    """Where a span of that turn belongs; None is wherever it is told."""
    with _lock:
        turn = None if turn_id is None else _turns.get(turn_id)
    return None if turn is None else trace.set_span_in_context(turn)


def _mark_failed(span: Span, error_code: str) -> None:
    span.set_attribute(names.ERROR_TYPE, error_code or "failed")
    span.set_status(Status(StatusCode.ERROR))


def _usage(usage: TokenUsage) -> dict[str, AttributeValue]:
    return {
        names.INPUT_TOKENS: usage.prompt_tokens,
        names.OUTPUT_TOKENS: usage.completion_tokens,
        names.CACHE_READ_TOKENS: usage.cached_tokens,
        names.CACHE_WRITE_TOKENS: usage.cache_write_tokens,
        names.REASONING_TOKENS: usage.reasoning_tokens,
    }


def _cost(cost: Decimal | None) -> dict[str, AttributeValue]:
    """USD; a span has no decimals."""
    return {} if cost is None else {names.COST: float(cost)}


def _server(base_url: str) -> dict[str, AttributeValue]:
    """Who answers and where; any server that speaks OpenAI's protocol counts as OpenAI."""
    parts = urlsplit(base_url)
    host = parts.hostname or ""
    found: dict[str, AttributeValue] = {
        names.PROVIDER: names.AZURE if host.endswith(names.AZURE_HOSTS) else names.OPENAI
    }
    if host:
        found[names.SERVER_ADDRESS] = host
        found[names.SERVER_PORT] = parts.port or (443 if parts.scheme == "https" else 80)
    return found
