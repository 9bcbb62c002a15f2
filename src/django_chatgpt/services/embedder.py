"""Texts become rows, each paid for once: what is stored is not sent, what others are sending is waited for.

Requests go out a few at a time. A text is claimed before it is sent, and the claim goes in the transaction
that stores its vector, so that of all who want it, in whatever process, one pays. A request that the provider
refuses is halved until the texts that it objects to are known. An error that is no text's fault ends the run
and leaves what is stored; asked for again, the rest is sent.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Sequence
from datetime import timedelta
from functools import partial
from typing import Any, Final
from uuid import UUID

from django.db import IntegrityError

from django_chatgpt.core.effects import Db, Effect, Embed, Stopped, Wait
from django_chatgpt.core.ids import uuid7
from django_chatgpt.core.request import Embeddings
from django_chatgpt.core.retry import retry_delay
from django_chatgpt.core.vectors import unit_rows
from django_chatgpt.exceptions import (
    AIServiceError,
    ConflictError,
    ContentFilterError,
    NotFoundError,
    ProviderRejectedError,
    TokenLimitError,
)
from django_chatgpt.models import EmbeddingVector
from django_chatgpt.models.embedding import content_hash_of
from django_chatgpt.services.attempts import Attempt
from django_chatgpt.services.batches import (
    EmbeddingBatch,
    FailedText,
    Item,
    Job,
    Part,
    measure,
    pack,
    shorten,
)
from django_chatgpt.storage import claims
from django_chatgpt.storage import embeddings as storage
from django_chatgpt.storage.primary import atomic, in_transaction, retried
from django_chatgpt.storage.vectors import Scope

AT_ONCE: Final = 4
POLL_SECONDS: Final = 0.1
# Of a whole batch that is refused for a reason the provider does not name, not every text is tried.
MOST_REFUSALS: Final = 100
WHOLE_TEXTS: Final = frozenset({"", "input"})


def embed(job: Job) -> Generator[Effect, Any, EmbeddingBatch]:
    """Steps that embed and store texts, and give what became of each."""
    run = _Run(job)
    yield Db(run.plan)
    try:
        while run.goes_on:
            attempts: list[Attempt] = yield Db(run.begin)
            if not attempts:
                if run.goes_on:
                    yield Wait(POLL_SECONDS)
                continue
            answers = yield Embed([attempt.request for attempt in attempts])
            delay: float = yield Db(partial(run.finish, attempts, answers))
            if delay:
                yield Wait(delay)
    except Stopped as stop:
        yield Db(partial(run.leave, stop.why))
        raise
    except Exception:
        yield Db(partial(run.leave, "failed"))
        raise
    batch: EmbeddingBatch = yield Db(run.result)
    return batch


class _Run:
    """The state of one batch. Its methods are hops: plain functions that use the database."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.id = uuid7()
        self.lease = timedelta(seconds=2 * job.timeout + 30)
        self.shelf = storage.Shelf(job.owner_key, job.model, job.stored_dimensions)
        self.hashes: list[str] = []
        self.rows: dict[str, UUID] = {}
        self.errors: dict[str, AIServiceError] = {}
        self.stack: list[Part] = []
        self.elsewhere: list[Item] = []
        self.claimed: set[str] = set()
        self.open: list[Attempt] = []
        self.refusals = 0
        self.broken: AIServiceError | None = None

    @property
    def goes_on(self) -> bool:
        return bool(self.stack or self.elsewhere)

    def plan(self) -> None:
        """Look up what is stored; count and pack the rest."""
        texts = [shorten(text, self.job) for text in self.job.texts]
        self.hashes = [content_hash_of(text) for text in texts]
        asked = dict(zip(self.hashes, texts, strict=True))
        self.rows = storage.find(self.shelf, asked)
        items = []
        for content_hash, text in asked.items():
            if content_hash in self.rows:
                continue
            try:
                items.append(measure(text, self.job))
            except TokenLimitError as error:
                self.errors[content_hash] = error
        self._push(pack(items))

    def _push(self, parts: Iterable[Part]) -> None:
        """Put parts where the first of them is taken first."""
        self.stack.extend(reversed(list(parts)))

    def begin(self) -> list[Attempt]:
        """Claim the texts of the next few requests, and announce these to the ledger."""
        if not self.stack:
            self._push(pack(self.elsewhere))
            self.elsewhere = []
        parts = [self.stack.pop() for _ in range(min(AT_ONCE, len(self.stack)))]
        if self.claimed:
            claims.renew(self.id, self.lease)
        self._claim([item for part in parts for item in part.items])
        self.open = []
        while parts:
            part = parts.pop(0)
            part.items = [item for item in part.items if item.content_hash in self.claimed]
            if part.items:
                attempt = Attempt(self.job, part)
                try:
                    attempt.announce()
                except AIServiceError as error:
                    # It can't be paid for. Those that can be are made.
                    self._push(parts)
                    self._give_up(part, error)
                    break
                self.open.append(attempt)
        return self.open

    def _claim(self, items: Sequence[Item]) -> None:
        """Make the texts ours, but for those that are somebody else's, or stored by now."""
        free = {item.key(self.job): item for item in items if item.content_hash not in self.claimed}
        if not free:
            return
        # In this order: who stored a text before it was claimed here has let it be seen.
        taken = claims.take(free, self.id, self.lease)
        stored = storage.find(self.shelf, [item.content_hash for item in free.values()])
        self.rows.update(stored)
        claims.release(self.id, [key for key in taken if free[key].content_hash in stored])
        for key, item in free.items():
            if item.content_hash in stored:
                continue
            if key in taken:
                self.claimed.add(item.content_hash)
            else:
                self.elsewhere.append(item)

    def finish(self, attempts: Sequence[Attempt], answers: Sequence[Embeddings | AIServiceError]) -> float:
        """Store and settle what came; the seconds to wait before the next attempt."""
        try:
            stored = retried(partial(self._keep, attempts, answers))
        except IntegrityError:
            if in_transaction() or storage.has_owner(self.job.user_id):
                raise
            stored = retried(partial(self._keep, attempts, answers, store=False))
        self.open = []
        for attempt in attempts:
            attempt.tell()
        self.rows.update(stored)
        delays = [0.0]
        for attempt, answer in zip(attempts, answers, strict=True):
            if isinstance(answer, AIServiceError):
                delays.append(self._failed(attempt.part, answer))
                continue
            self.refusals = 0
            for item in attempt.part.items:
                self.claimed.discard(item.content_hash)
                if item.content_hash not in self.rows:
                    self.errors[item.content_hash] = NotFoundError("The owner of the text is gone.")
        return max(delays)

    def _keep(
        self,
        attempts: Sequence[Attempt],
        answers: Sequence[Embeddings | AIServiceError],
        *,
        store: bool = True,
    ) -> dict[str, UUID]:
        stored: dict[str, UUID] = {}
        with atomic():
            for attempt, answer in zip(attempts, answers, strict=True):
                if isinstance(answer, AIServiceError):
                    attempt.settle("failed", error=answer)
                    continue
                if store:
                    rows = self._rows(attempt.part, answer)
                    scope = Scope(self.job.owner_key, self.job.model, answer.vectors.shape[1])
                    stored |= storage.add(scope, rows)
                claims.release(self.id, [item.key(self.job) for item in attempt.part.items])
                attempt.settle("completed", answer=answer)
        return stored

    def _rows(self, part: Part, answer: Embeddings) -> list[EmbeddingVector]:
        """A row for each text; that of one that was cut is the mean of its pieces by their tokens."""
        import numpy as np

        metadata = self._metadata()
        rows, at = [], 0
        for item in part.items:
            vectors = answer.vectors[at : at + len(item.pieces)]
            at += len(item.pieces)
            if len(vectors) > 1:
                vectors = unit_rows(np.average(vectors, axis=0, weights=item.counts)[np.newaxis])
            rows.append(
                EmbeddingVector(
                    user_id=self.job.user_id,
                    content=item.text,
                    model=self.job.model,
                    vector=vectors.tobytes(),
                    metadata=dict(metadata.get(item.content_hash) or {}),
                )
            )
        return rows

    def _metadata(self) -> dict[str, Any]:
        """What each text is to carry; of one that was asked for twice, what came last."""
        return {
            content_hash: self.job.metadata_of(position)
            for position, content_hash in enumerate(self.hashes)
            if self.job.metadata is not None
        }

    def _failed(self, part: Part, error: AIServiceError) -> float:
        """Decide what follows from a failed request; the seconds to wait before it is made again."""
        if _is_refusal(error):
            self.refusals += 1
            if self.refusals > MOST_REFUSALS:
                self._give_up(part, error)
            elif len(part.items) > 1:
                self._push(part.halves())
            else:
                self._drop(part.items, error)
            return 0
        part.tried += 1
        delay = retry_delay(error, part.tried, self.job.max_retries, self.job.timeout)
        if delay is None or self.broken is not None:
            self._give_up(part, error)
            return 0
        self._push([part])
        return delay

    def _give_up(self, part: Part, error: AIServiceError) -> None:
        """End the run: all that is not stored has failed with `error`."""
        self.broken = self.broken or error
        left = [*part.items, *(item for other in self.stack for item in other.items), *self.elsewhere]
        self.stack, self.elsewhere = [], []
        self._drop(left, error)

    def _drop(self, items: Sequence[Item], error: AIServiceError) -> None:
        for item in items:
            self.errors[item.content_hash] = error
        mine = [item for item in items if item.content_hash in self.claimed]
        self.claimed.difference_update(item.content_hash for item in mine)
        claims.release(self.id, [item.key(self.job) for item in mine])

    def leave(self, why: str) -> None:
        """Let go of everything: somebody stopped the run, or something unforeseen did."""
        for attempt in self.open:
            attempt.settle(why)
            attempt.tell()
        claims.release(self.id)

    def result(self) -> EmbeddingBatch:
        """What became of each text. Raises what ended the run if nothing was stored at all."""
        found = storage.load(set(self.rows.values()), vectors=self.job.vectors)
        rows = {content_hash: found[pk] for content_hash, pk in self.rows.items() if pk in found}
        if self.broken is not None and not rows:
            raise self.broken
        changed = []
        for content_hash, metadata in self._metadata().items():
            row = rows.get(content_hash)
            if row is not None and metadata is not None and row.metadata != metadata:
                row.metadata = dict(metadata)
                changed.append(row)
        if changed:
            storage.set_metadata(changed)
        gone = ConflictError("The text was deleted while it was embedded.")
        return EmbeddingBatch(
            [
                rows.get(content_hash) or FailedText(position, self.errors.get(content_hash, gone))
                for position, content_hash in enumerate(self.hashes)
            ]
        )


def _is_refusal(error: AIServiceError) -> bool:
    """Whether the provider objects to what was sent, which may be one text among many."""
    if isinstance(error, ContentFilterError | TokenLimitError):
        return True
    return (
        isinstance(error, ProviderRejectedError)
        and error.status in (400, 413, 422)
        and error.about in WHOLE_TEXTS
    )
