"""What an attempt took, as the ledger writes it down."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from django_chatgpt.conf import DEFAULT_BASE_URL
from django_chatgpt.core.messages import FunctionCall, Message, TokenUsage, storable
from django_chatgpt.core.reply import MAX_NAME
from django_chatgpt.core.request import public_url
from django_chatgpt.core.spec import Attempt
from django_chatgpt.exceptions import (
    AIServiceError,
    ProviderUnavailableError,
    TurnInterruptedError,
    TurnTimeoutError,
)
from django_chatgpt.services import prices, tokens
from django_chatgpt.storage.ledger import Bill

FREE = Decimal(0)
#: Errors that say nothing about what the provider has done.
OURS = (TurnInterruptedError, TurnTimeoutError)


def bill(attempt: Attempt) -> Bill:
    """The bill of a turn's attempt.

    Usage is the provider's where it sent any. An attempt that the provider answered with an error cost
    nothing, nor did one that was never made; of one that got no answer it is not known what it cost. One
    that was cut short or stopped is estimated from what was sent and what had arrived.
    """
    reply, request = attempt.reply, attempt.request
    model = reply.model or request.model
    if not attempt.asked:
        usage, source = TokenUsage(), "estimated"
    elif reply.usage is not None:
        usage, source = reply.usage, "provider"
    elif attempt.accepted or attempt.error is None or isinstance(attempt.error, OURS):
        usage, source = estimate(request.messages, reply.text, reply.calls, request.model), "estimated"
    elif no_answer(attempt.error):
        usage, source = TokenUsage(), "unknown"
    else:
        usage, source = TokenUsage(), "provider"
    cost: Decimal | None
    if source == "unknown":
        cost, price_source = None, ""
    elif not attempt.asked or (not usage.total_tokens and source == "provider" and not attempt.accepted):
        cost, price_source = FREE, ""
    else:
        price = prices.price(
            model,
            usage,
            asked=request.model,
            base_url=request.endpoint.base_url,
            service_tier=reply.service_tier,
            at=moment(attempt.started),
        )
        cost, price_source = price.cost, price.source
    return Bill(
        outcome=attempt.outcome,
        usage=usage,
        usage_source=source,
        cost=cost,
        price_source=price_source,
        model=model,
        service_tier=reply.service_tier,
        request_id=_request_id(attempt),
        error_code=attempt.error.code if attempt.error else "",
        latency_ms=attempt.latency_ms,
        time_to_first_token_ms=attempt.time_to_first_token_ms,
        metadata=origin(request.model, model, request.endpoint.base_url),
    )


def moment(started: float) -> datetime:
    """When that was on the monotonic clock: an attempt costs what it did when it began."""
    return datetime.now(UTC) - timedelta(seconds=time.monotonic() - started)


def origin(asked: str, model: str, base_url: str | None) -> dict[str, str]:
    """What pricing an attempt once more needs to know besides its columns; nothing of it in the usual case.

    `asked` is the name that the model was asked by, if it answered with another; `base_url` the server's
    address without user, password and query, if it is not OpenAI's.
    """
    told = {"asked": asked} if model and asked != model else {}
    if base_url and base_url != DEFAULT_BASE_URL:
        told["base_url"] = public_url(base_url)
    return told


def _request_id(attempt: Attempt) -> str:
    """What the provider calls the attempt; some servers echo there what they were sent, the key included."""
    given = attempt.reply.request_id or storable(getattr(attempt.error, "request_id", ""), MAX_NAME)
    return "" if attempt.request.endpoint.api_key in given else given


def no_answer(error: AIServiceError) -> bool:
    """Whether the provider may have worked without our hearing of it."""
    return isinstance(error, ProviderUnavailableError) and error.status is None


def estimate(messages: Sequence[Message], text: str, calls: Iterable[FunctionCall], model: str) -> TokenUsage:
    """Count what was sent and what had arrived with the model's own tokenizer."""
    prompt = tokens.count_messages(messages, model)
    completion = tokens.count_text(text, model)
    for call in calls:
        completion += tokens.count_text(call.name + call.arguments, model)
    return TokenUsage(prompt_tokens=prompt, completion_tokens=completion, total_tokens=prompt + completion)
