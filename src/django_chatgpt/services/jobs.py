"""Many texts, embedded within a day at half price by OpenAI's Batch API.

A job is written down before anything is sent, so any process can bring it on. One at a time does, and a step
that was cut short is made again: what is stored stays as it is, the ledger has one row for each job.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from datetime import timedelta
from functools import partial
from hashlib import sha256
from itertools import islice
from tempfile import TemporaryFile
from typing import Any, Final
from uuid import UUID

from django.utils import timezone

from django_chatgpt.adapter import get_adapter
from django_chatgpt.conf import conf
from django_chatgpt.core.ids import uuid7
from django_chatgpt.core.messages import TokenUsage
from django_chatgpt.core.reply import MAX_TOKENS
from django_chatgpt.exceptions import ConflictError, NotFoundError, TokenLimitError
from django_chatgpt.models import AIUsage, EmbeddingJob, EmbeddingJobText, EmbeddingVector
from django_chatgpt.models.embedding import content_hash_of
from django_chatgpt.models.owner import owner_key_of
from django_chatgpt.providers import batches as provider
from django_chatgpt.services import access, billing, budgets, observed, prices
from django_chatgpt.services.batches import Item, Job, Metadata, measure, shorten
from django_chatgpt.services.budgets import Payer
from django_chatgpt.services.embeddings import EmbeddingService
from django_chatgpt.storage import claims, embeddings, ledger
from django_chatgpt.storage import jobs as storage
from django_chatgpt.storage.ledger import Bill, Hold
from django_chatgpt.storage.primary import atomic, retried
from django_chatgpt.storage.vectors import Scope

MAX_LINES: Final = 50_000
MAX_BYTES: Final = 190_000_000  # of 200 MB
LINES_AT_ONCE: Final = 200
LEASE: Final = timedelta(minutes=15)
WAITING: Final = timedelta(hours=26)  # OpenAI takes up to 24
STATUSES: Final = {
    "completed": EmbeddingJob.Status.COMPLETED,
    "failed": EmbeddingJob.Status.FAILED,
    "expired": EmbeddingJob.Status.EXPIRED,
    "cancelled": EmbeddingJob.Status.CANCELLED,
}


class EmbeddingJobs:
    """Jobs of one user's texts; without a user, of the site's own. Their vectors are stored as any others."""

    def __init__(self, user: Any = None) -> None:
        self.user = user

    def __repr__(self) -> str:
        return f"<EmbeddingJobs user={getattr(self.user, 'pk', None)!r}>"

    def submit(
        self,
        texts: Sequence[str],
        *,
        model: str | None = None,
        dimensions: int | None = None,
        metadata: Metadata | None = None,
        truncate: bool = False,
    ) -> list[EmbeddingJob]:
        """Have texts embedded later; the jobs that they became, none if there is nothing to be done.

        What is stored already, or waits in another job of this owner, is left out. Too long a text is among
        what has failed, unless it may be truncated. Raises any AIServiceError; jobs that are written down by
        then are submitted by `advance`.
        """
        job = EmbeddingService(self.user).job(
            texts, model=model, dimensions=dimensions, metadata=metadata, truncate=truncate
        )
        shortened = (shorten(text, job) for text in texts)
        wanted = {content_hash_of(text): text for text in shortened}
        stored = embeddings.find(_shelf(job), wanted)
        for content_hash in stored:
            del wanted[content_hash]
        if job.purse is not None and wanted:
            size = sum(item.tokens for item in _items(wanted, job) if isinstance(item, Item))
            # Nothing is held for the day it may take: there must be room now, and it is charged at the end.
            budgets.announce(partial(job.purse.first, size, job.model), lambda hold: None)
        made = [row for some in _files(wanted, job) if (row := self._written(some, job)) is not None]
        return [self.advance(row) for row in made]

    def advance(self, job: EmbeddingJob) -> EmbeddingJob:
        """Bring a job one step on: submit it, ask how it stands, take in what came. Gives it as it is then.

        Whoever comes while another process does so changes nothing. Raises any AIServiceError.
        """
        self._require(job)
        holder = uuid7()
        if storage.take(job.pk, holder, LEASE):
            try:
                held = storage.get(job.pk)
                if held.status == EmbeddingJob.Status.SUBMITTING:
                    _send(held, holder)
                else:
                    _look(held, holder)
            finally:
                storage.let_go(job.pk, holder)
        return storage.get(job.pk)

    def cancel(self, job: EmbeddingJob) -> EmbeddingJob:
        """Stop a job. What the provider has answered by then is charged, and is taken in by `advance`.

        ConflictError: it is over, or another process is at it.
        """
        self._require(job)
        holder = uuid7()
        if not storage.take(job.pk, holder, LEASE):
            raise ConflictError("The job is over, or another process is bringing it on.")
        try:
            held = storage.get(job.pk)
            endpoint = access.embedding_endpoint_of(held.user)
            if not held.provider_id and held.input_file:
                found = provider.find(endpoint, held.input_file, conf.timeout)
                held.provider_id = found.id if found else ""
            if held.provider_id:
                values = {"provider_id": held.provider_id, "status": EmbeddingJob.Status.RUNNING}
                storage.note(held.pk, holder, LEASE, **values)
                provider.cancel(endpoint, held.provider_id, conf.timeout)
            else:
                retried(partial(_close, held, holder, EmbeddingJob.Status.CANCELLED))
        finally:
            storage.let_go(job.pk, holder)
        return storage.get(job.pk)

    def again(self, job: EmbeddingJob) -> list[EmbeddingJob]:
        """Submit anew what has failed in a job that is over, as when it has expired."""
        self._require(job)
        job = storage.get(job.pk)
        if not job.is_over:
            raise ConflictError("The job is not over yet.")
        texts = [text.content for text in storage.left(job.pk)]
        return self.submit(texts, model=job.model, dimensions=job.dimensions, metadata=job.metadata)

    def all(self) -> list[EmbeddingJob]:
        """All jobs of this owner, the newest first."""
        return storage.of_user(self.user)

    def failures(self, job: EmbeddingJob) -> list[tuple[str, str]]:
        """The texts of a job that have no vector, each with the code that says why, "" while it waits."""
        self._require(job)
        return [(text.content, text.error) for text in storage.left(job.pk)]

    def _require(self, job: EmbeddingJob) -> None:
        if job.user_id != getattr(self.user, "pk", None):
            raise NotFoundError("There is no such job.")

    def _written(self, some: Sequence[tuple[str, str, Item | TokenLimitError]], job: Job) -> Any:
        """The row of a job of those texts that nobody else has taken; None where that leaves none."""
        row = EmbeddingJob(
            user_id=job.user_id,
            model=job.model,
            dimensions=job.dimensions,
            metadata=job.metadata or {},
        )
        keys = {_claim(content_hash, job): content_hash for content_hash, _, _ in some}
        # In this order: who stored a text before it was claimed here has let it be seen.
        taken = {keys[key] for key in claims.take(keys, row.pk, LEASE)}
        taken -= embeddings.find(_shelf(job), taken).keys()
        texts = [
            EmbeddingJobText(
                job=row,
                content_hash=content_hash,
                content=text,
                error=item.code if isinstance(item, TokenLimitError) else "",
            )
            for content_hash, text, item in some
            if content_hash in taken
        ]
        if not texts:
            claims.release(row.pk)
            return None
        row.total = len(texts)

        def write() -> None:
            with atomic():
                storage.create(row, texts)
                claims.renew(row.pk, WAITING)

        retried(write)
        return row


def waiting(ids: Iterable[UUID] | None = None) -> list[EmbeddingJob]:
    """Everybody's jobs that are not over, or those with these ids as far as there are any."""
    return storage.open_jobs() if ids is None else storage.named(ids)


def _shelf(job: Job) -> embeddings.Shelf:
    return embeddings.Shelf(job.owner_key, job.model, job.stored_dimensions)


def _claim(content_hash: str, job: Job) -> str:
    """What a claim on a text is called; who embeds it at once claims it otherwise, and waits for no job."""
    return sha256(f"batch\0{Item('', content_hash, [], []).key(job)}".encode()).hexdigest()


def _items(texts: dict[str, str], job: Job) -> Iterator[Item | TokenLimitError]:
    for text in texts.values():
        try:
            yield measure(text, job)
        except TokenLimitError as error:
            yield error


def _files(texts: dict[str, str], job: Job) -> Iterator[list[tuple[str, str, Item | TokenLimitError]]]:
    """The texts of each file, as many as the provider takes."""
    some: list[tuple[str, str, Item | TokenLimitError]] = []
    size = 0
    for (content_hash, text), item in zip(texts.items(), _items(texts, job), strict=True):
        length = len(_request(content_hash, item.pieces[0], job)) if isinstance(item, Item) else 0
        if some and (len(some) == MAX_LINES or size + length > MAX_BYTES):
            yield some
            some, size = [], 0
        some.append((content_hash, text, item))
        size += length
    if some:
        yield some


def _request(content_hash: str, text: str, job: Job | EmbeddingJob) -> bytes:
    return provider.request_line(content_hash, job.model, text, job.dimensions)


def _send(job: EmbeddingJob, holder: UUID) -> None:
    """Upload and submit a job. Who was stopped between the two finds what was submitted."""
    endpoint = access.embedding_endpoint_of(job.user)
    found = None
    if job.input_file:
        found = provider.find(endpoint, job.input_file, conf.timeout)
    else:
        redact = get_adapter().redactor
        with TemporaryFile() as file:
            for text in storage.waiting(job.pk):
                sent = text.content if redact is None else redact(text.content)
                file.write(_request(text.content_hash, sent, job))
            if not file.tell():
                retried(partial(_close, job, holder, EmbeddingJob.Status.FAILED))
                return
            file.seek(0)
            job.input_file = provider.upload(endpoint, file, conf.timeout)
    if storage.note(job.pk, holder, LEASE, input_file=job.input_file):
        found = found or provider.create(endpoint, job.input_file, conf.timeout)
        storage.note(job.pk, holder, LEASE, provider_id=found.id, status=EmbeddingJob.Status.RUNNING)


def _look(job: EmbeddingJob, holder: UUID) -> None:
    """Ask how a job stands, and take in what came once it is over."""
    endpoint = access.embedding_endpoint_of(job.user)
    batch = provider.retrieve(endpoint, job.provider_id, conf.timeout)
    if batch.status not in provider.OVER:
        claims.renew(job.pk, WAITING)
        return
    counts: list[int | None] = []
    model = ""
    for file in filter(None, (batch.output_file, batch.error_file)):
        with closing(provider.read(endpoint, file, conf.timeout)) as lines:
            while some := list(islice(lines, LINES_AT_ONCE)):
                if not retried(partial(_keep, job, holder, some)):
                    return
                counts += [line.tokens for line in some if line.vector is not None]
                model = next((line.model for line in some if line.model), model)
    bill = _bill(job, counts, batch.input_tokens, model, endpoint.base_url)
    if retried(partial(_close, job, holder, STATUSES[batch.status], bill)):
        payer = Payer.of(job.user)
        purse = None if payer is None else budgets.Purse(payer, endpoint.base_url, max_output_tokens=0)
        budgets.settled(job.model, bill, purse)


def _keep(job: EmbeddingJob, holder: UUID, lines: Sequence[provider.Line]) -> bool:
    """Store what some lines say, in one transaction; False for who holds the job no more."""
    owner_key = owner_key_of(job.user_id)
    with atomic():
        if not storage.note(job.pk, holder, LEASE):
            return False
        texts = storage.find(job.pk, [line.custom_id for line in lines])
        rows: dict[int, list[tuple[EmbeddingVector, EmbeddingJobText]]] = {}
        refused = []
        for line in lines:
            text = texts.get(line.custom_id)
            if text is None:
                continue
            if line.vector is None or job.dimensions not in (None, len(line.vector)):
                text.error = (line.error or "provider_protocol")[:64]
                refused.append(text)
                continue
            vector = EmbeddingVector(
                user_id=job.user_id,
                content=text.content,
                model=job.model,
                vector=line.vector.tobytes(),
                metadata=dict(job.metadata),
            )
            vector.fill_keys()
            rows.setdefault(len(line.vector), []).append((vector, text))
        for dimensions, pairs in sorted(rows.items()):
            vectors, done = [vector for vector, _ in pairs], [text for _, text in pairs]
            storage.keep(Scope(owner_key, job.model, dimensions), vectors, done)
        if refused:
            storage.refuse(refused)
    return True


def _close(job: EmbeddingJob, holder: UUID, status: str, bill: Bill | None = None) -> bool:
    """End a job and write what it took, once. The ledger's row has the key of the job."""
    with atomic():
        if not storage.end(job, holder, status, f"batch_{status}"):
            return False
        claims.release(job.pk)
        if bill is not None:
            now = timezone.now()
            payer = Payer.of(job.user)
            marks = Hold(billing.FREE, now, now, (), payer.marks) if payer is not None else None
            ledger.announce(
                job.pk, user_id=job.user_id, model=job.model, kind=AIUsage.Kind.EMBEDDING, hold=marks
            )
            ledger.settle(job.pk, bill)
            observed.settled(
                job.pk,
                bill,
                kind=AIUsage.Kind.EMBEDDING,
                requested_model=job.model,
                base_url=bill.metadata.get("base_url"),
                started=job.created_at,
                user_id=job.user_id,
            )
    return True


def _bill(
    job: EmbeddingJob, counts: Sequence[int | None], counted: int | None, model: str, base_url: str | None
) -> Bill:
    """What a job took by the provider's count of each line, else of the whole."""
    known = [count for count in counts if count is not None]
    total = sum(known) if len(known) == len(counts) else counted
    if total is None or total > MAX_TOKENS:
        usage, source, price = TokenUsage(), "unknown", prices.UNKNOWN
    else:
        usage, source = TokenUsage(prompt_tokens=total, total_tokens=total), "provider"
        price = prices.price(
            model or job.model,
            usage,
            asked=job.model,
            base_url=base_url,
            service_tier=prices.BATCH,
            at=job.created_at,
        )
    return Bill(
        outcome="completed" if counts else "failed",
        usage=usage,
        usage_source=source,
        cost=price.cost if counts else billing.FREE,
        price_source=price.source if counts else "",
        model=model,
        service_tier=prices.BATCH,
        metadata=billing.origin(job.model, model, base_url),
    )
