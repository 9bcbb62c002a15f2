"""Calls of the model that belong to no conversation: nothing is stored of them but the ledger."""

from __future__ import annotations

import time
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any
from uuid import UUID

from pydantic import BaseModel

from django_chatgpt.conf import conf
from django_chatgpt.core.effects import (
    CloseStream,
    Complete,
    Db,
    Effect,
    OpenChunks,
    ReadChunk,
    Stopped,
    Wait,
)
from django_chatgpt.core.ids import uuid7
from django_chatgpt.core.messages import FunctionCall, TokenUsage, storable
from django_chatgpt.core.reply import MAX_CHARACTERS, MAX_NAME, MAX_TIER, MAX_TOKENS
from django_chatgpt.core.request import Endpoint, ModelRequest
from django_chatgpt.core.retry import Chain
from django_chatgpt.core.screening import CONTEXT, WINDOW, Judge
from django_chatgpt.core.spec import Screen
from django_chatgpt.exceptions import AIServiceError, ProviderProtocolError
from django_chatgpt.services import billing, breakers, budgets, moderation, observed, prices
from django_chatgpt.services.budgets import Purse
from django_chatgpt.storage import ledger
from django_chatgpt.storage.ledger import Bill

if TYPE_CHECKING:
    from django_chatgpt.providers import ChatCompletion, ChatCompletionChunk


@dataclass(frozen=True, slots=True)
class Completion:
    """A request as OpenAI's Chat Completions takes it, and on whose account it goes."""

    endpoint: Endpoint
    body: dict[str, Any]
    user_id: Any
    max_retries: int
    timeout: float
    fallbacks: Sequence[str] = ()
    tenant: str = ""
    screen: Screen | None = None
    purse: Purse | None = None

    def judge(self) -> Generator[Effect, Any, None]:
        """Steps that have the user's texts judged first. Raises ContentFilterError."""
        if self.screen is not None:
            said: list[Any] = [
                {"role": line["role"], "content": line["content"]}
                for line in self.body["messages"]
                if line["role"] in ("user", "assistant") and line.get("content")
            ]
            request = ModelRequest(self.endpoint, str(self.body["model"]), said)
            yield from moderation.judge_question(
                request, self.screen, self.user_id, None if self.purse is None else self.purse.payer
            )

    def chain(self) -> tuple[list[str], Chain]:
        """The models to ask, and what says when to ask which."""
        asked = str(self.body["model"])
        models = [asked, *(model for model in self.fallbacks if model != asked)]
        return models, Chain(models, self.max_retries, self.timeout)


@dataclass(slots=True)
class _Try:
    """One attempt, as far as it has come."""

    completion: Completion
    asked: str
    refusal: AIServiceError | None = None
    id: UUID = field(default_factory=uuid7)
    started: float = field(default_factory=time.monotonic)
    accepted: bool = False
    first_token: float | None = None
    usage: TokenUsage | None = None
    model: str = ""
    request_id: str = ""
    service_tier: str = ""
    text: list[str] = field(default_factory=list)
    size: int = 0

    def announce(self) -> None:
        announced = partial(
            ledger.announce,
            self.id,
            user_id=self.completion.user_id,
            model=storable(self.asked, MAX_NAME),
        )
        purse, messages = self.completion.purse, self.completion.body["messages"]
        reserve = None
        if purse is not None:
            reserve = partial(purse.first, purse.prompt_tokens(messages, self.asked), self.asked)
        budgets.announce(reserve, announced)
        self.refusal = breakers.refusal(self.completion.endpoint.base_url, self.asked)

    def admitted(self) -> None:
        """Raise why the call must not be made, if it must not."""
        if self.refusal is not None:
            raise self.refusal

    @property
    def body(self) -> dict[str, Any]:
        return {**self.completion.body, "model": self.asked}

    def settle(self, outcome: str, error: AIServiceError | None = None) -> None:
        completion, now = self.completion, time.monotonic()
        usage, source = self._usage(error)
        price = prices.price(
            self.model or self.asked,
            usage,
            asked=self.asked,
            base_url=completion.endpoint.base_url,
            service_tier=self.service_tier,
            at=billing.moment(self.started),
        )
        bill = Bill(
            outcome=outcome,
            usage=usage,
            usage_source=source,
            cost=billing.FREE if self.refusal else None if source == "unknown" else price.cost,
            price_source="" if self.refusal or source == "unknown" else price.source,
            model=self.model,
            service_tier=self.service_tier,
            request_id=self._request_id(error),
            error_code=error.code if error else "",
            latency_ms=round((now - self.started) * 1000),
            time_to_first_token_ms=(
                None if self.first_token is None else round((self.first_token - self.started) * 1000)
            ),
            metadata=billing.origin(self.asked, self.model, completion.endpoint.base_url),
        )
        ledger.settle(self.id, bill)
        if self.refusal is None:
            base_url = completion.endpoint.base_url
            breakers.note(base_url, self.asked, error, accepted=self.accepted)
            observed.settled(
                self.id,
                bill,
                requested_model=self.asked,
                base_url=base_url,
                started=self.started,
                user_id=completion.user_id,
            )
        budgets.settled(self.asked, bill, completion.purse)

    def _request_id(self, error: AIServiceError | None) -> str:
        """Some servers echo there what they were sent, the key included."""
        given = self.request_id or _name(getattr(error, "request_id", ""), MAX_NAME)
        key = self.completion.endpoint.api_key
        return "" if key and key in given else given

    def _usage(self, error: AIServiceError | None) -> tuple[TokenUsage, str]:
        if self.usage is not None:
            return self.usage, "provider"
        if self.refusal is not None:
            return TokenUsage(), "estimated"
        if self.accepted or error is None:
            calls: list[FunctionCall] = []
            messages = self.completion.body["messages"]
            return billing.estimate(messages, "".join(self.text), calls, self.asked), "estimated"
        return TokenUsage(), "unknown" if billing.no_answer(error) else "provider"

    def take(self, part: ChatCompletion | ChatCompletionChunk) -> None:
        """Note what the ledger wants to know of an answer or a piece of one, whatever shapes it has."""
        self.model = _name(part.model, MAX_NAME) or self.model
        self.service_tier = _name(part.service_tier, MAX_TIER) or self.service_tier
        self.request_id = _name(getattr(part, "_request_id", None), MAX_NAME) or self.request_id
        self.usage = _usage_of(part.usage) or self.usage
        text = "".join(_texts_of(part))
        if text:
            self.first_token = self.first_token or time.monotonic()
            self.text.append(text)
        self.size += len(text) + _arguments_of(part)
        if self.size > MAX_CHARACTERS:
            raise self.misread()

    def misread(self) -> ProviderProtocolError:
        """The error of an answer that nobody foresaw; it does not hold what the provider sent."""
        return ProviderProtocolError(request_id=self.request_id)


def complete(completion: Completion) -> Generator[Effect, Any, ChatCompletion]:
    """Steps that get one whole answer."""
    yield from completion.judge()
    models, chain = completion.chain()
    while True:
        attempt = _Try(completion, models[0])
        yield Db(attempt.announce)
        try:
            attempt.admitted()
            answer: ChatCompletion = yield Complete(completion.endpoint, attempt.body, completion.timeout)
            attempt.accepted = True
            attempt.take(answer)
            attempt.first_token = None
        except Stopped as stop:
            yield Db(partial(attempt.settle, stop.why))
            raise
        except AIServiceError as caught:
            error = caught
        except Exception:
            error = attempt.misread()
        else:
            yield Db(partial(attempt.settle, "completed"))
            text = "".join(attempt.text)
            yield from moderation.judge_answer(text, completion.screen, completion.user_id)
            return answer
        yield from _give_up_or_wait(attempt, error, chain)


def stream(completion: Completion) -> Generator[Effect | ChatCompletionChunk, Any, None]:
    """Steps that get one answer in chunks, which they yield between their effects."""
    yield from completion.judge()
    screen = completion.screen
    if screen is not None and screen.holds_back:
        yield from moderation.judged(
            lambda judge: _stream(completion, HeldChunks(judge)), screen, completion.user_id
        )
    else:
        yield from _stream(completion)


class HeldChunks:
    """Chunks of an answer that are passed on once what they say is judged."""

    def __init__(self, judge: Judge) -> None:
        self._judge = judge
        self._chunks: list[ChatCompletionChunk] = []
        self._text = ""
        self._passed = 0

    def add(self, chunk: ChatCompletionChunk) -> Generator[Effect | ChatCompletionChunk, Any, None]:
        """Hold one more; gives those that have waited, once it is time. Raises ContentFilterError."""
        self._chunks.append(chunk)
        self._text += "".join(_texts_of(chunk))
        if len(self._text) - self._passed >= WINDOW:
            yield from self.release()

    def release(self) -> Generator[Effect | ChatCompletionChunk, Any, None]:
        """Have what is held judged, and give it. Raises ContentFilterError."""
        if len(self._text) > self._passed:
            yield from self._judge.check(self._text[max(0, self._passed - CONTEXT) :], "answer")
            self._passed = len(self._text)
        chunks, self._chunks = self._chunks, []
        yield from chunks


def _stream(
    completion: Completion, held: HeldChunks | None = None
) -> Generator[Effect | ChatCompletionChunk, Any, None]:
    models, chain = completion.chain()
    while True:
        attempt = _Try(completion, models[0])
        yield Db(attempt.announce)
        error: AIServiceError
        try:
            attempt.admitted()
            yield OpenChunks(completion.endpoint, attempt.body, completion.timeout, conf.turn_timeout)
            attempt.accepted = True
            while (chunk := (yield ReadChunk())) is not None:
                attempt.take(chunk)
                if held is None:
                    yield chunk
                else:
                    yield from held.add(chunk)
            if held is not None:
                yield from held.release()
        except Stopped as stop:
            yield CloseStream()
            yield Db(partial(attempt.settle, stop.why))
            return
        except AIServiceError as caught:
            error = caught
        except Exception:
            error = attempt.misread()
        else:
            yield CloseStream()
            yield Db(partial(attempt.settle, "completed"))
            return
        yield CloseStream()
        yield from _give_up_or_wait(attempt, error, chain)


def _give_up_or_wait(attempt: _Try, error: AIServiceError, chain: Chain) -> Generator[Effect, Any, None]:
    """Settle a failed attempt; return if there shall be another, raise otherwise."""
    yield Db(partial(attempt.settle, "failed", error))
    delay = None if attempt.accepted else chain.after(error, asked=attempt.refusal is None)
    if delay is None:
        raise error
    if delay:
        yield Wait(delay)


def build_body(
    *,
    model: str,
    messages: Sequence[dict[str, Any]],
    functions: Sequence[dict[str, Any]] | None,
    options: dict[str, Any],
) -> dict[str, Any]:
    """The request; options that are None are not sent."""
    body: dict[str, Any] = {"model": model, "messages": list(messages)}
    if functions:
        body["tools"] = [{"type": "function", "function": schema} for schema in functions]
    body.update({name: value for name, value in options.items() if value is not None})
    return body


def _texts_of(part: ChatCompletion | ChatCompletionChunk) -> Generator[str]:
    """The texts of all choices; the SDK lets through whatever a server may have put in their places."""
    choices: object = part.choices
    for choice in choices if isinstance(choices, list) else ():
        said = getattr(choice, "delta", None) or getattr(choice, "message", None)
        content = getattr(said, "content", None)
        if isinstance(content, str):
            yield storable(content)


def _arguments_of(part: ChatCompletion | ChatCompletionChunk) -> int:
    """How many characters of arguments of calls there are."""
    size = 0
    choices: object = part.choices
    for choice in choices if isinstance(choices, list) else ():
        said = getattr(choice, "delta", None) or getattr(choice, "message", None)
        calls = getattr(said, "tool_calls", None)
        for call in calls if isinstance(calls, list) else ():
            arguments = getattr(getattr(call, "function", None), "arguments", None)
            size += len(arguments) if isinstance(arguments, str) else 0
    return size


def _name(given: object, most: int) -> str:
    return storable(given, most) if isinstance(given, str) else ""


def _usage_of(usage: Any) -> TokenUsage | None:
    """The provider's counts; None if it has not counted, or claims more than the ledger has room for."""
    # The SDK takes long to import, and there is none to count for before it has been.
    from django_chatgpt.providers.parsing import token_usage

    if isinstance(usage, BaseModel):
        usage = usage.model_dump(warnings=False)
    counted = token_usage(usage) if isinstance(usage, Mapping) else None
    if counted is None or max(counted.model_dump().values()) > MAX_TOKENS:
        return None
    return counted
