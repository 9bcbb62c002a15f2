"""What the site has texts judged for, and what the ledger says of it."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Sequence
from functools import partial
from typing import Any
from uuid import UUID

from django_chatgpt.conf import conf
from django_chatgpt.core.effects import Db, Effect, Stopped
from django_chatgpt.core.ids import uuid7
from django_chatgpt.core.messages import TokenUsage
from django_chatgpt.core.reply import Reply
from django_chatgpt.core.request import ModelRequest
from django_chatgpt.core.screening import Judge, topic_request
from django_chatgpt.core.spec import Attempt, Judgement, Screen
from django_chatgpt.exceptions import AIServiceError
from django_chatgpt.models import AIUsage
from django_chatgpt.services import billing, budgets, observed, prices
from django_chatgpt.services.budgets import Payer, Purse
from django_chatgpt.storage import ledger, primary

MAX_SECONDS = 10.0


def screen_for(request: ModelRequest) -> Screen | None:
    """What the settings of this moment say about the questions and answers of a request; None: nothing."""
    if not conf.content_filter:
        return None
    model, topics = conf.moderation_model, conf.allowed_topics
    if model is None and not topics:
        return None
    return Screen(
        endpoint=request.endpoint,
        moderation_model=model,
        answers=conf.moderate_output,
        topics=topics,
        topic_model=conf.classifier_model or "",
        fails_open=conf.filter_failure == "open",
        timeout=min(float(conf.timeout), MAX_SECONDS),
    )


def usage(
    judgement: Judgement, *, user_id: Any, conversation_id: UUID | None = None, turn_id: UUID | None = None
) -> AIUsage:
    """The line that the ledger gets for a call of the moderation, which is told no tokens."""
    request, verdict, error = judgement.request, judgement.verdict, judgement.error
    metadata: dict[str, Any] = {"of": judgement.of}
    if verdict is not None:
        metadata |= {"flagged": verdict.flagged, "categories": list(verdict.categories)}
    price = prices.price(request.model, TokenUsage(), base_url=request.endpoint.base_url)
    return AIUsage(
        pk=judgement.id,
        user_id=user_id,
        conversation_id=conversation_id,
        turn_id=turn_id,
        kind=AIUsage.Kind.MODERATION,
        model=(verdict.model if verdict else "") or request.model,
        outcome=judgement.outcome,
        estimated_cost=price.cost,
        price_source=price.source,
        request_id=_request_id(judgement),
        error_code=error.code if error else "",
        latency_ms=round((judgement.ended - judgement.started) * 1000),
        metadata=metadata,
    )


def judged(
    judging: Callable[[Judge], Generator[Any, Any, None]], screen: Screen, user_id: Any
) -> Generator[Any, Any, None]:
    """Steps that have something judged outside any turn, and write into the ledger what that took."""
    noted: list[AIUsage] = []
    judge = Judge(
        screen, lambda each: noted.append(usage(each, user_id=user_id)), lambda: None, time.monotonic
    )
    outcome: Exception | None = None
    try:
        yield from judging(judge)
    except (AIServiceError, Stopped) as error:
        outcome = error
    if noted:
        yield Db(partial(_record, noted, screen.endpoint.base_url))
    if outcome is not None:
        raise outcome


def judge_question(
    request: ModelRequest, screen: Screen | None, user_id: Any, payer: Payer | None
) -> Generator[Effect, Any, None]:
    """Steps that have the user's texts in `request` judged, outside any turn. Raises ContentFilterError.

    What the model is asked for that is paid by `payer`; the moderation is free.
    """
    texts = [line["content"] for line in request.messages if line["role"] == "user"]
    if screen is None or not texts:
        return
    yield from judged(lambda judge: judge.question("\n\n".join(texts)), screen, user_id)
    if screen.topics:
        asked = topic_request(screen, request)
        yield from judged(lambda judge: _judge_topic(judge, asked, user_id, payer), screen, user_id)


def judge_answer(text: str, screen: Screen | None, user_id: Any) -> Generator[Effect, Any, None]:
    """Steps that have a whole answer judged, outside any turn. Raises ContentFilterError."""
    if text and screen is not None and screen.holds_back:
        yield from judged(lambda judge: judge.check(text, "answer"), screen, user_id)


def _judge_topic(
    judge: Judge, request: ModelRequest, user_id: Any, payer: Payer | None
) -> Generator[Effect, Any, None]:
    attempt_id = uuid7()
    attempt = Attempt(attempt_id, request, time.monotonic(), Reply(attempt_id.hex[-12:]))
    purse = Purse.for_request(payer, request)
    announced = partial(ledger.announce, attempt_id, user_id=user_id, model=request.model)
    reserve = None
    if purse is not None:
        prompt_tokens = purse.prompt_tokens(request.messages, request.model)
        reserve = partial(purse.first, prompt_tokens, request.model)
    yield Db(partial(budgets.announce, reserve, announced))
    outcome: Exception | None = None
    try:
        yield from judge.topic(attempt)
    except (AIServiceError, Stopped) as error:
        outcome = error
    attempt.ended = attempt.ended or time.monotonic()
    yield Db(partial(_settle, attempt, user_id, purse))
    if outcome is not None:
        raise outcome


def _record(rows: Sequence[AIUsage], base_url: str | None) -> None:
    with primary.atomic():
        ledger.record(rows)
        observed.recorded(rows, base_url)


def _settle(attempt: Attempt, user_id: Any, purse: Purse | None) -> None:
    request, bill = attempt.request, billing.bill(attempt)
    ledger.settle(attempt.id, bill)
    observed.settled(
        attempt.id,
        bill,
        requested_model=request.model,
        base_url=request.endpoint.base_url,
        started=attempt.started,
        user_id=user_id,
    )
    budgets.settled(request.model, bill, purse)


def _request_id(judgement: Judgement) -> str:
    """Some servers echo there what they were sent, the key included."""
    given = judgement.verdict.request_id if judgement.verdict else ""
    return "" if judgement.request.endpoint.api_key in given else given
