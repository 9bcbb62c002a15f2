"""Many at once: nothing is paid twice, no change is lost, no vector that is needed goes."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial
from unittest import mock

import pytest
from django.contrib.auth.models import Group
from django.db import connections

from django_chatgpt.models import EmbeddingVector, IndexedObject, IndexedPassage
from django_chatgpt.services import indexing
from django_chatgpt.storage import indexes as storage
from django_chatgpt.testing import FakeOpenAI
from tests.indexes.conftest import Register

pytestmark = pytest.mark.django_db(transaction=True)


def at_once(*jobs: Callable[[], object]) -> list[BaseException]:
    """Do the jobs at the same time; what they raised."""
    barrier, errors = threading.Barrier(len(jobs), timeout=20), []

    def run(job: Callable[[], object]) -> None:
        try:
            barrier.wait()
            job()
        except BaseException as error:
            errors.append(error)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=run, args=(job,)) for job in jobs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return errors


def nothing_is_missing() -> bool:
    hashes = set(IndexedPassage.objects.values_list("content_hash", flat=True))
    return hashes == set(EmbeddingVector.objects.values_list("content_hash", flat=True))


def test_many_builders_pay_once(register: Register, fake_openai: FakeOpenAI) -> None:
    index = register("groups", Group, fields=["name"], background=False)
    for number in range(30):
        Group.objects.create(name=f"group {number}")
    build = partial(indexing.build, index, lambda number: None)
    assert at_once(*[build] * 4) == []
    sent = [text for call in fake_openai.requests for text in call.body["input"]]
    assert sorted(sent) == sorted(f"group {number}" for number in range(30))
    assert IndexedObject.objects.filter(stale=None, error="").count() == 30
    assert nothing_is_missing()
    assert IndexedPassage.objects.count() == 30


def test_a_change_during_the_embedding_is_not_lost(register: Register, fake_openai: FakeOpenAI) -> None:
    index = register("groups", Group, fields=["name"], background=False)
    group = Group.objects.create(name="before")
    embed = indexing.Page._embed

    def changed_meanwhile(page: indexing.Page) -> dict[str, str]:
        answer = embed(page)
        group.name = "after"
        group.save()
        return answer

    with mock.patch.object(indexing.Page, "_embed", changed_meanwhile):
        indexing.refresh(index)
    assert IndexedObject.objects.get().stale is not None
    indexing.refresh(index)
    assert IndexedObject.objects.get().stale is None
    assert EmbeddingVector.objects.get().content == "after"


def test_an_object_deleted_during_the_embedding_leaves_nothing(
    register: Register, fake_openai: FakeOpenAI
) -> None:
    index = register("groups", Group, fields=["name"], background=False)
    Group.objects.create(name="gone")
    embed = indexing.Page._embed

    def deleted_meanwhile(page: indexing.Page) -> dict[str, str]:
        answer = embed(page)
        Group.objects.all().delete()
        return answer

    with mock.patch.object(indexing.Page, "_embed", deleted_meanwhile):
        indexing.refresh(index)
    indexing.build(index, lambda number: None)
    assert not IndexedObject.objects.exists()
    assert not EmbeddingVector.objects.exists()


def test_a_vector_that_goes_before_it_is_used_is_made_again(
    register: Register, fake_openai: FakeOpenAI
) -> None:
    index = register("groups", Group, fields=["name"], background=False)
    Group.objects.create(name="a")
    embed = indexing.Page._embed

    def taken_meanwhile(page: indexing.Page) -> dict[str, str]:
        answer = embed(page)
        storage.drop_orphans()
        return answer

    with mock.patch.object(indexing.Page, "_embed", taken_meanwhile):
        assert indexing.refresh(index).changed == 0
    assert IndexedObject.objects.get().stale is not None
    assert indexing.refresh(index).changed == 1
    assert nothing_is_missing()


def test_texts_that_come_and_go_at_once_are_there_in_the_end(
    register: Register, fake_openai: FakeOpenAI
) -> None:
    """Objects of the same texts are made and deleted while others are embedded."""
    index = register("groups", Group, text=lambda group: group.name.split()[0], background=False)
    rounds = 6

    def come(worker: int) -> None:
        for number in range(rounds):
            Group.objects.create(name=f"same {worker} {number}")
            indexing.refresh(index)

    def go(worker: int) -> None:
        for number in range(rounds):
            group = Group.objects.create(name=f"same gone {worker} {number}")
            indexing.refresh(index)
            group.delete()

    assert at_once(partial(come, 1), partial(come, 2), partial(go, 1), partial(go, 2)) == []
    indexing.build(index, lambda number: None)
    assert IndexedObject.objects.filter(stale=None, error="").count() == 2 * rounds
    assert IndexedPassage.objects.count() == 2 * rounds
    assert nothing_is_missing()


def test_objects_saved_at_once_do_not_stand_in_each_others_way(register: Register) -> None:
    register("groups", Group, fields=["name"], background=False)

    def save(worker: int) -> None:
        for number in range(10):
            group = Group.objects.create(name=f"{worker} {number}")
            group.save()

    assert at_once(*(partial(save, worker) for worker in range(4))) == []
    assert IndexedObject.objects.count() == 40
