"""Texts that are embedded later, at half price: submitted, asked after, taken in once, whatever happens."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.utils import timezone
from pytest_django import Settings

from django_chatgpt.core.ids import uuid7
from django_chatgpt.exceptions import (
    AIServiceError,
    ConflictError,
    NotFoundError,
    ProviderUnavailableError,
    QuotaExceededError,
)
from django_chatgpt.models import AIUsage, EmbeddingClaim, EmbeddingJob, EmbeddingJobText, EmbeddingVector
from django_chatgpt.services import EmbeddingJobs, EmbeddingService, jobs, repricing
from django_chatgpt.storage import jobs as storage
from django_chatgpt.testing import Failure, FakeOpenAI
from django_chatgpt.testing.embeddings import embed
from tests.services.test_embedding_races import at_once

pytestmark = pytest.mark.django_db(transaction=True)

TEXTS = [f"text number {number}" for number in range(7)]
PRICES = {"text-embedding-3-small": {"input": "1000000"}}


def submitted(user: User | None, texts: list[str] = TEXTS, **options: Any) -> EmbeddingJob:
    (job,) = EmbeddingJobs(user).submit(texts, dimensions=8, **options)
    return job


def contents() -> list[str]:
    return sorted(EmbeddingVector.objects.values_list("content", flat=True))


def paths(fake: FakeOpenAI, method: str = "POST") -> list[str]:
    return [request.path for request in fake.requests if request.method == method]


class TestAJob:
    def test_is_submitted_asked_after_and_taken_in(
        self, user: User, fake_openai: FakeOpenAI, settings: Settings
    ) -> None:
        settings.OPENAI_PRICES = PRICES
        fake_openai.plan_batch(polls=1)
        job = submitted(user, [*TEXTS, TEXTS[0]], metadata={"kind": "page"})
        assert (job.status, job.total, job.is_over) == ("running", 7, False)
        assert paths(fake_openai) == ["/v1/files", "/v1/batches"]
        assert EmbeddingJobs(user).advance(job).status == "running"
        job = EmbeddingJobs(user).advance(job)
        assert (job.status, job.done, job.failed) == ("completed", 7, 0)
        assert (job.holder, job.held_until) == (None, None)
        assert contents() == TEXTS
        for row in EmbeddingVector.objects.all():
            assert row.values.tolist() == pytest.approx(embed(row.content, 8).tolist(), abs=1e-6)
            assert (row.user_id, row.metadata) == (user.pk, {"kind": "page"})
        assert not EmbeddingJobText.objects.exists()
        assert not EmbeddingClaim.objects.exists()

    def test_costs_half_and_stands_in_the_ledger_once(
        self, user: User, fake_openai: FakeOpenAI, settings: Settings
    ) -> None:
        settings.OPENAI_PRICES = PRICES
        job = submitted(user)
        for _ in range(3):
            job = EmbeddingJobs(user).advance(job)
        row = AIUsage.objects.get()
        assert (row.pk, row.kind, row.outcome, row.service_tier) == (
            job.pk,
            "embedding",
            "completed",
            "batch",
        )
        assert row.total_tokens == row.prompt_tokens == fake_openai.tokens_billed.prompt > 0
        assert (row.usage_source, row.price_source) == ("provider", "settings")
        assert row.estimated_cost == Decimal(row.prompt_tokens) / 2
        found = repricing.cost_of(row)
        assert found is not None
        assert found.cost == row.estimated_cost

    def test_of_two_at_once_only_one_takes_it_in(self, user: User, fake_openai: FakeOpenAI) -> None:
        job = submitted(user)
        done = at_once(*[lambda: EmbeddingJobs(user).advance(job)] * 3)
        assert all(isinstance(each, EmbeddingJob) for each in done), done
        assert EmbeddingJobs(user).advance(job).status == "completed"
        assert contents() == TEXTS
        assert AIUsage.objects.count() == 1

    def test_is_split_where_a_file_would_be_too_long(
        self, user: User, fake_openai: FakeOpenAI, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(jobs, "MAX_LINES", 3)
        made = EmbeddingJobs(user).submit(TEXTS, dimensions=8)
        assert [job.total for job in made] == [3, 3, 1]
        for job in made:
            EmbeddingJobs(user).advance(job)
        assert contents() == TEXTS
        monkeypatch.setattr(jobs, "MAX_BYTES", 200)
        made = EmbeddingJobs().submit(TEXTS[:2], dimensions=8)
        assert [job.total for job in made] == [1, 1]

    def test_is_nobody_elses(self, user: User, other_user: User, fake_openai: FakeOpenAI) -> None:
        job = submitted(user)
        for verb in ("advance", "cancel", "again", "failures"):
            for stranger in (other_user, None):
                with pytest.raises(NotFoundError):
                    getattr(EmbeddingJobs(stranger), verb)(job)
        assert EmbeddingJobs(other_user).all() == []
        assert EmbeddingJobs(user).all() == [job]


class TestWhatIsLeftOut:
    def test_what_is_stored_or_waits_already(self, user: User, fake_openai: FakeOpenAI) -> None:
        EmbeddingService(user).create_embedding(TEXTS[0], dimensions=8)
        assert submitted(user, TEXTS[:3]).total == 2
        assert submitted(user).total == 4
        assert EmbeddingJobs(user).submit(TEXTS, dimensions=8) == []
        for job in EmbeddingJobs(user).all():
            EmbeddingJobs(user).advance(job)
        assert EmbeddingJobs(user).submit(TEXTS, dimensions=8) == []
        assert contents() == TEXTS

    def test_of_two_who_submit_the_same_at_once_each_text_is_sent_once(
        self, user: User, fake_openai: FakeOpenAI
    ) -> None:
        submit: Callable[[], Any] = lambda: EmbeddingJobs(user).submit(TEXTS, dimensions=8)  # noqa: E731
        done = at_once(submit, submit, submit)
        assert all(isinstance(each, list) for each in done), done
        assert sum(job.total for made in done for job in made) == len(TEXTS)

    def test_two_owners_have_a_job_each(self, user: User, other_user: User, fake_openai: FakeOpenAI) -> None:
        for owner in (user, other_user, None):
            EmbeddingJobs(owner).advance(submitted(owner))
        assert contents() == sorted(TEXTS * 3)

    def test_too_long_a_text_has_failed(self, user: User, fake_openai: FakeOpenAI) -> None:
        long = "a " * 9000
        job = EmbeddingJobs(user).advance(submitted(user, ["short", long]))
        assert (job.status, job.done, job.failed) == ("completed", 1, 1)
        assert EmbeddingJobs(user).failures(job) == [(long, "token_limit")]
        (job,) = EmbeddingJobs(user).submit([long], truncate=True)
        job = EmbeddingJobs(user).advance(job)
        assert (job.status, job.done) == ("completed", 1)

    def test_a_job_of_none_but_such(self, user: User, fake_openai: FakeOpenAI) -> None:
        job = submitted(user, ["a " * 9000])
        assert (job.status, job.done, job.failed) == ("failed", 0, 1)
        fake_openai.assert_nothing_asked()

    def test_a_budget_that_is_used_up_refuses_before_anything_is_sent(
        self, user: User, fake_openai: FakeOpenAI, settings: Settings
    ) -> None:
        settings.OPENAI_PRICES = PRICES
        settings.OPENAI_BUDGETS = [{"scope": "user", "period": "month", "limit": "20"}]
        with pytest.raises(QuotaExceededError):
            submitted(user)
        fake_openai.assert_nothing_asked()
        assert not EmbeddingJob.objects.exists()
        job = EmbeddingJobs(user).advance(submitted(user, ["one"]))
        row = AIUsage.objects.get()
        assert (row.pk, row.reserved_cost, row.estimated_cost) == (job.pk, None, Decimal("0.5"))


class TestEndings:
    def test_lines_that_failed_are_reported_and_the_rest_is_stored(
        self, user: User, fake_openai: FakeOpenAI
    ) -> None:
        fake_openai.plan_batch(fails={TEXTS[3]})
        job = EmbeddingJobs(user).advance(submitted(user))
        assert (job.status, job.done, job.failed) == ("completed", 6, 1)
        assert EmbeddingJobs(user).failures(job) == [(TEXTS[3], "provider_rejected")]
        assert TEXTS[3] not in contents()

    def test_what_has_expired_can_be_submitted_again(self, user: User, fake_openai: FakeOpenAI) -> None:
        fake_openai.plan_batch(ends="expired", answered=4)
        job = submitted(user)
        with pytest.raises(ConflictError):
            EmbeddingJobs(user).again(job)
        job = EmbeddingJobs(user).advance(job)
        assert (job.status, job.done, job.failed) == ("expired", 4, 3)
        assert {code for _, code in EmbeddingJobs(user).failures(job)} == {"batch_expired"}
        (new,) = EmbeddingJobs(user).again(job)
        assert EmbeddingJobs(user).again(job) == []
        new = EmbeddingJobs(user).advance(new)
        assert (new.status, new.done) == ("completed", 3)
        assert contents() == TEXTS
        billed = sum(AIUsage.objects.values_list("prompt_tokens", flat=True))
        assert billed == fake_openai.tokens_billed.prompt

    def test_a_batch_that_the_provider_refuses_costs_nothing(
        self, user: User, fake_openai: FakeOpenAI
    ) -> None:
        fake_openai.plan_batch(ends="failed")
        job = EmbeddingJobs(user).advance(submitted(user))
        assert (job.status, job.done, job.failed) == ("failed", 0, 7)
        row = AIUsage.objects.get()
        assert (row.outcome, row.estimated_cost, row.total_tokens) == ("failed", 0, 0)
        assert not EmbeddingClaim.objects.exists()

    def test_cancelled_it_keeps_what_was_answered(self, user: User, fake_openai: FakeOpenAI) -> None:
        fake_openai.plan_batch(polls=5, answered=2)
        job = EmbeddingJobs(user).cancel(submitted(user))
        assert job.status == "running"
        job = EmbeddingJobs(user).advance(job)
        assert (job.status, job.done, job.failed) == ("cancelled", 2, 5)
        with pytest.raises(ConflictError):
            EmbeddingJobs(user).cancel(job)
        assert AIUsage.objects.get().prompt_tokens == fake_openai.tokens_billed.prompt > 0

    def test_cancelled_before_it_was_submitted(self, user: User, fake_openai: FakeOpenAI) -> None:
        fake_openai.when(endpoint="files").answer(Failure(400))
        with pytest.raises(AIServiceError):
            submitted(user)
        job = EmbeddingJobs(user).cancel(EmbeddingJob.objects.get())
        assert (job.status, job.failed) == ("cancelled", 7)
        assert EmbeddingJobs(user).again(job)[0].total == 7


class TestKilled:
    @pytest.fixture(autouse=True)
    def _no_retries(self, settings: Settings) -> None:
        settings.OPENAI_MAX_RETRIES = 0

    @pytest.mark.parametrize("endpoint", ["files", "batches"])
    def test_while_it_was_submitted(self, endpoint: Any, user: User, fake_openai: FakeOpenAI) -> None:
        fake_openai.when(endpoint=endpoint).answer(Failure(503, headers={"x-should-retry": "false"}))
        with pytest.raises(ProviderUnavailableError):
            submitted(user)
        job = EmbeddingJob.objects.get()
        assert job.status == "submitting"
        assert EmbeddingJobs(user).advance(job).status == "running"
        assert EmbeddingJobs(user).advance(job).done == 7

    def test_before_it_heard_that_it_was_submitted(self, user: User, fake_openai: FakeOpenAI) -> None:
        job = submitted(user)
        EmbeddingJob.objects.update(status="submitting", provider_id="")
        found = EmbeddingJobs(user).advance(job)
        assert (found.status, found.provider_id) == ("running", job.provider_id)
        assert paths(fake_openai).count("/v1/batches") == 1

    @pytest.mark.parametrize("survived", [0, 1, 2])
    def test_while_it_was_taken_in(
        self, survived: int, user: User, fake_openai: FakeOpenAI, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(jobs, "LINES_AT_ONCE", 3)
        keep, kept = storage.keep, []

        def die(*args: Any) -> None:
            keep(*args)
            kept.append(1)
            if len(kept) > survived:
                raise KeyboardInterrupt

        job = submitted(user)
        with monkeypatch.context() as patched:
            patched.setattr(storage, "keep", die)
            patched.setattr(storage, "let_go", lambda *args: None)
            with pytest.raises(KeyboardInterrupt):
                EmbeddingJobs(user).advance(job)
        assert len(contents()) == 3 * survived
        assert EmbeddingJobs(user).advance(job).status == "running"  # it is held by who died
        assert not AIUsage.objects.exists()
        EmbeddingJob.objects.update(held_until=timezone.now() - timedelta(seconds=1))
        job = EmbeddingJobs(user).advance(job)
        assert (job.status, job.done, job.failed) == ("completed", 7, 0)
        assert contents() == TEXTS
        assert AIUsage.objects.get().prompt_tokens == fake_openai.tokens_billed.prompt

    def test_who_was_given_up_writes_nothing_more(self, user: User, fake_openai: FakeOpenAI) -> None:
        job = submitted(user)
        slow, quick = uuid7(), uuid7()
        assert storage.take(job.pk, slow, -jobs.LEASE)
        assert storage.take(job.pk, quick, jobs.LEASE)
        held = storage.get(job.pk)
        jobs._look(held, slow)
        assert contents() == []
        jobs._look(held, quick)
        jobs._look(held, quick)
        assert contents() == TEXTS
        assert AIUsage.objects.count() == 1
