"""The same texts, asked for at the same time: one row each, one charge each, on the settings' database."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.contrib.auth.models import User
from django.db import connection, connections
from django.utils import timezone

from django_chatgpt.core.ids import uuid7
from django_chatgpt.models import AIUsage, EmbeddingClaim, EmbeddingVector
from django_chatgpt.models.embedding import content_hash_of
from django_chatgpt.services import EmbeddingBatch, EmbeddingService, embedder
from django_chatgpt.services.batches import Item
from django_chatgpt.services.sweeper import sweep_expired
from django_chatgpt.storage import claims
from django_chatgpt.testing import Failure, FakeOpenAI, Request

pytestmark = pytest.mark.django_db(transaction=True)

TEXTS = [f"text {number}" for number in range(30)]
LEASE = timedelta(minutes=1)


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedder, "POLL_SECONDS", 0.01)


def at_once(*jobs: Callable[[], Any]) -> list[Any]:
    """What the jobs give that are done at the same time, each with a connection of its own."""
    barrier, results = threading.Barrier(len(jobs), timeout=20), [None] * len(jobs)

    def run(place: int) -> None:
        try:
            connection.ensure_connection()
            barrier.wait()
            results[place] = jobs[place]()
        except BaseException as error:
            results[place] = error
        finally:
            connections.close_all()

    running = [threading.Thread(target=run, args=(place,)) for place in range(len(jobs))]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join(timeout=60)
        assert not thread.is_alive()
    return results


def embed(user: User | None, texts: list[str], colour: str = "sync") -> Callable[[], EmbeddingBatch]:
    service = EmbeddingService(user)
    if colour == "sync":
        return lambda: service.create_embeddings_batch(texts, dimensions=8)
    return lambda: async_to_sync(service.acreate_embeddings_batch)(texts, dimensions=8)


def test_whoever_asks_for_the_same_at_once_shares_one_row_and_one_charge(
    user: User, fake_openai: FakeOpenAI
) -> None:
    halves = [TEXTS[:20], TEXTS[10:], list(reversed(TEXTS))]
    done = at_once(
        *(embed(user, texts, "async" if number else "sync") for number, texts in enumerate(halves))
    )
    for texts, made in zip(halves, done, strict=True):
        assert isinstance(made, EmbeddingBatch), made
        assert [row.content for row in made.embeddings] == texts
    assert EmbeddingVector.objects.count() == len(TEXTS)
    assert Counter(text for asked in fake_openai.requests for text in asked.body["input"]) == Counter(TEXTS)
    billed = sum(AIUsage.objects.values_list("prompt_tokens", flat=True))
    assert billed == fake_openai.tokens_billed.prompt
    assert not EmbeddingClaim.objects.exists()


def test_two_owners_do_not_wait_for_one_another(
    user: User, other_user: User, fake_openai: FakeOpenAI
) -> None:
    done = at_once(embed(user, TEXTS), embed(other_user, TEXTS))
    assert [len(made.embeddings) for made in done] == [30, 30]
    assert EmbeddingVector.objects.count() == 60


def test_what_another_failed_to_embed_is_sent_by_who_waited(
    user: User, fake_openai: FakeOpenAI, settings: Any
) -> None:
    settings.OPENAI_MAX_RETRIES = 0
    fake_openai.when(endpoint="embeddings").answer(Failure(500))
    done = at_once(embed(user, ["a"]), embed(user, ["a"]))
    made = [each for each in done if isinstance(each, EmbeddingBatch)]
    assert len(made) == 1, done
    assert made[0].embeddings[0].content == "a"
    assert EmbeddingVector.objects.count() == 1


def test_the_claim_of_a_dead_process_is_taken_when_it_has_run_out(
    user: User, fake_openai: FakeOpenAI
) -> None:
    job = EmbeddingService(user).job(["a"], dimensions=8)
    item = Item("a", content_hash_of("a"), ["a"], [1])
    assert claims.take([item.key(job)], uuid7(), LEASE)

    def die() -> None:
        EmbeddingClaim.objects.update(expires_at=timezone.now())

    made, _ = at_once(embed(user, ["a"]), die)
    assert [each.content for each in made.embeddings] == ["a"]
    assert not EmbeddingClaim.objects.exists()


def test_the_sweeper_deletes_what_dead_processes_have_left() -> None:
    claims.take(["dead"], uuid7(), -LEASE)
    claims.take(["alive"], uuid7(), LEASE)
    sweep_expired()
    assert list(EmbeddingClaim.objects.values_list("key", flat=True)) == ["alive"]


def test_whoever_is_cancelled_lets_go(user: User, fake_openai: FakeOpenAI) -> None:
    reached, let_go = threading.Event(), threading.Event()

    async def hold(asked: Request) -> Failure:
        reached.set()
        await asyncio.to_thread(let_go.wait, 20)
        return Failure(500)

    held = fake_openai.when(endpoint="embeddings", where=lambda asked: not let_go.is_set())
    held.respond_with(hold)

    async def leave() -> None:
        task = asyncio.ensure_future(EmbeddingService(user).acreate_embedding("a", dimensions=8))
        await asyncio.to_thread(reached.wait, 20)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    async_to_sync(leave)()
    let_go.set()
    assert not EmbeddingClaim.objects.exists()
    usage = AIUsage.objects.get()
    assert (usage.outcome, usage.usage_source) == ("interrupted", "estimated")
    assert usage.prompt_tokens == 1
    assert EmbeddingService(user).create_embedding("a", dimensions=8).content == "a"


def test_a_text_whose_owner_is_deleted_while_it_is_embedded_is_named(
    user: User, fake_openai: FakeOpenAI, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep = embedder._Run._keep

    def keep_too_late(run: Any, *args: Any, **options: Any) -> Any:
        User.objects.filter(pk=user.pk).delete()
        return keep(run, *args, **options)

    monkeypatch.setattr(embedder._Run, "_keep", keep_too_late)
    batch = EmbeddingService(user).create_embeddings_batch(["a", "b"])
    assert [(failed.position, failed.code) for failed in batch.failed] == [(0, "not_found"), (1, "not_found")]
    assert not EmbeddingVector.objects.exists()
    assert not EmbeddingClaim.objects.exists()
    assert set(AIUsage.objects.values_list("outcome", flat=True)) <= {"completed"}


def test_a_claim_has_one_holder() -> None:
    first, second = uuid7(), uuid7()
    keys = [f"key {number}" for number in range(claims.BATCH + 3)]
    assert claims.take(keys, first, LEASE) == set(keys)
    assert claims.take([*keys, "free"], second, LEASE) == {"free"}
    claims.release(second)
    claims.release(second, keys)
    assert EmbeddingClaim.objects.count() == len(keys)
    claims.release(first, keys[1:])
    assert claims.take(keys, second, LEASE) == set(keys[1:])
    claims.renew(first, -LEASE)
    assert claims.take(keys, second, LEASE) == {keys[0]}
    claims.renew(second, -LEASE)
    assert claims.delete_expired() == len(keys)


def test_of_many_who_claim_at_once_each_key_goes_to_one() -> None:
    keys = [f"key {number}" for number in range(40)]
    for _ in range(5):
        taken = at_once(
            *(
                lambda order=order: claims.take(order, uuid7(), LEASE)
                for order in (keys, keys[::-1], keys[::2])
            )
        )
        assert Counter(key for each in taken for key in each) == Counter(keys)
        EmbeddingClaim.objects.update(expires_at=timezone.now())
