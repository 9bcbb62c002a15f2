"""One request for embeddings, and its row in the ledger."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from functools import partial
from uuid import UUID

from django_chatgpt.core.ids import uuid7
from django_chatgpt.core.messages import TokenUsage, storable
from django_chatgpt.core.reply import MAX_NAME, MAX_TOKENS
from django_chatgpt.core.request import EmbeddingRequest, Embeddings
from django_chatgpt.exceptions import AIServiceError
from django_chatgpt.models import AIUsage
from django_chatgpt.services import billing, budgets, observed, prices
from django_chatgpt.services.batches import Job, Part
from django_chatgpt.storage import ledger
from django_chatgpt.storage.ledger import Bill


@dataclass(slots=True)
class Attempt:
    """A request that is made once."""

    job: Job
    part: Part
    id: UUID = field(default_factory=uuid7)
    started: float = field(default_factory=time.monotonic)
    bill: Bill | None = None

    @property
    def request(self) -> EmbeddingRequest:
        return EmbeddingRequest(
            endpoint=self.job.endpoint,
            model=self.job.model,
            texts=self.part.texts,
            dimensions=self.job.dimensions,
            timeout=self.job.timeout,
        )

    def announce(self) -> None:
        """Write that it is about to be made, and reserve what it costs. Raises QuotaExceededError."""
        announced = partial(
            ledger.announce,
            self.id,
            user_id=self.job.user_id,
            model=storable(self.job.model, MAX_NAME),
            kind=AIUsage.Kind.EMBEDDING,
        )
        purse = self.job.purse
        budgets.announce(
            None if purse is None else partial(purse.first, self.part.tokens, self.job.model), announced
        )

    def settle(
        self, outcome: str, *, answer: Embeddings | None = None, error: AIServiceError | None = None
    ) -> None:
        """Write what it took: the provider's count, ours where it was stopped or has not counted."""
        usage, source = self._usage(answer, error)
        price = prices.price(
            (answer.model if answer else "") or self.job.model,
            usage,
            asked=self.job.model,
            base_url=self.job.endpoint.base_url,
            at=billing.moment(self.started),
        )
        refused = error is not None and source == "provider"
        self.bill = bill = Bill(
            outcome=outcome,
            usage=usage,
            usage_source=source,
            cost=None if source == "unknown" else billing.FREE if refused else price.cost,
            price_source="" if refused or source == "unknown" else price.source,
            model=answer.model if answer else "",
            request_id=self._request_id(answer, error),
            error_code=error.code if error else "",
            latency_ms=round((time.monotonic() - self.started) * 1000),
            metadata=billing.origin(
                self.job.model, answer.model if answer else "", self.job.endpoint.base_url
            ),
        )
        ledger.settle(self.id, bill)
        observed.settled(
            self.id,
            bill,
            kind=AIUsage.Kind.EMBEDDING,
            requested_model=self.job.model,
            base_url=self.job.endpoint.base_url,
            started=self.started,
            user_id=self.job.user_id,
        )

    def tell(self) -> None:
        """Tell the site what it should know, once the settling is committed."""
        if self.bill is not None:
            budgets.settled(self.job.model, self.bill, self.job.purse)

    def _usage(self, answer: Embeddings | None, error: AIServiceError | None) -> tuple[TokenUsage, str]:
        counted = answer.usage if answer else None
        if counted is not None and max(counted.model_dump().values()) <= MAX_TOKENS:
            return counted, "provider"
        if error is None:
            sent = self.part.tokens
            return TokenUsage(prompt_tokens=sent, total_tokens=sent), "estimated"
        return TokenUsage(), "unknown" if billing.no_answer(error) else "provider"

    def _request_id(self, answer: Embeddings | None, error: AIServiceError | None) -> str:
        """Some servers echo there what they were sent, the key included."""
        given = answer.request_id if answer else storable(getattr(error, "request_id", ""), MAX_NAME)
        return "" if self.job.endpoint.api_key in given else given
