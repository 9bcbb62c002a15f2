"""Indexes follow their objects, and whoever saves one neither waits for the provider nor fails with it."""

from __future__ import annotations

import logging
import os
from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext
from pytest_django import DjangoCaptureOnCommitCallbacks, Settings

from django_chatgpt.indexes import Index
from django_chatgpt.models import AIConfiguration, EmbeddingVector, IndexedObject
from django_chatgpt.services import IndexService, indexing
from django_chatgpt.services.freshness import refresher, unwatch
from django_chatgpt.testing import Failure, FakeOpenAI
from tests.indexes.conftest import Register, add

committing = pytest.mark.django_db(transaction=True)


def stored() -> list[str]:
    assert refresher.join(20)
    return sorted(EmbeddingVector.objects.values_list("content", flat=True))


def stale() -> int:
    assert refresher.join(20)
    return IndexedObject.objects.exclude(stale=None).count()


@committing
def test_what_is_saved_is_found_soon(index: Index, fake_openai: FakeOpenAI) -> None:
    row = add("lions", "hunt at night")
    assert stored() == ["lions\n\nhunt at night"]
    row.system_prompt = "sleep by day"
    row.save()
    assert stored() == ["lions\n\nsleep by day"]
    assert stale() == 0
    [found] = IndexService().search("lions", index)
    assert found.object == row


@committing
def test_a_change_that_is_no_change_costs_nothing(index: Index, fake_openai: FakeOpenAI) -> None:
    row = add("lions", "hunt at night")
    assert stale() == 0
    row.temperature = 1
    row.save()
    assert stale() == 0
    assert len(fake_openai.requests) == 1


@committing
def test_deleted_objects_take_their_texts_along(index: Index, fake_openai: FakeOpenAI) -> None:
    for name in ("a", "b", "c", "d"):
        add(name, name)
    assert len(stored()) == 4
    AIConfiguration.objects.get(name="a").delete()
    assert stored() == ["b\n\nb", "c\n\nc", "d\n\nd"]
    AIConfiguration.objects.filter(name__in=["b", "c"]).delete()
    assert stored() == ["d\n\nd"]
    assert IndexedObject.objects.count() == 1


@committing
def test_what_a_cascade_deletes_goes_too(register: Register, user: User, fake_openai: FakeOpenAI) -> None:
    from django.contrib.admin.models import LogEntry
    from django.contrib.contenttypes.models import ContentType

    register("log", LogEntry, fields=["change_message"])
    kind = ContentType.objects.get_for_model(User)
    LogEntry.objects.create(user=user, content_type=kind, action_flag=1, change_message="hello")
    assert stored() == ["hello"]
    user.delete()
    assert stored() == []


@committing
def test_what_is_rolled_back_changes_nothing(index: Index, fake_openai: FakeOpenAI) -> None:
    row = add("kept", "kept")
    assert len(stored()) == 1
    with transaction.atomic():
        add("lost", "lost")
        row.delete()
        transaction.set_rollback(True)
    assert stored() == ["kept\n\nkept"]
    assert IndexedObject.objects.count() == 1


@committing
def test_what_is_rolled_back_within_a_transaction_is_kept_apart(
    index: Index, fake_openai: FakeOpenAI
) -> None:
    rows = {name: add(name, name) for name in ("a", "b", "c")}
    assert len(stored()) == 3
    with transaction.atomic():
        rows["a"].delete()
        with transaction.atomic():
            rows["b"].delete()
            transaction.set_rollback(True)
        AIConfiguration.objects.get(name="c").delete()
    assert stored() == ["b\n\nb"]


@committing
def test_what_is_deleted_and_made_again_stays(index: Index, fake_openai: FakeOpenAI) -> None:
    row = add("a", "before")
    assert stored() == ["a\n\nbefore"]
    with transaction.atomic():
        key = row.pk
        row.delete()
        AIConfiguration.objects.create(pk=key, name="a", system_prompt="after")
    indexing.refresh(index)
    assert stored() == ["a\n\nafter"]


@committing
def test_a_provider_that_fails_leaves_it_noted(
    index: Index, fake_openai: FakeOpenAI, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    settings.OPENAI_MAX_RETRIES = 0
    fake_openai.when(endpoint="embeddings").answer(Failure(500))
    row = add("lions", "hunt at night")
    assert stored() == []
    assert stale() == 1
    assert "Index prompts is not up to date (provider_unavailable)" in caplog.text
    row.save()
    assert len(stored()) == 1
    assert stale() == 0


@committing
def test_a_thread_that_fails_says_so_and_the_next_goes_on(
    register: Register, fake_openai: FakeOpenAI, caplog: pytest.LogCaptureFixture, monkeypatch: Any
) -> None:
    register("groups", Group, fields=["name"])
    with monkeypatch.context() as patched, caplog.at_level(logging.ERROR, "django_chatgpt.indexes"):
        patched.setattr(indexing, "refresh", lambda index: 1 / 0)
        Group.objects.create(name="a")
        assert refresher.join(20)
    assert "Index groups could not be brought up to date." in caplog.text
    Group.objects.create(name="b")
    assert stored() == ["a", "b"]


@committing
def test_without_background_it_is_only_noted(register: Register, fake_openai: FakeOpenAI) -> None:
    index = register("groups", Group, fields=["name"], background=False)
    Group.objects.create(name="a")
    assert (stored(), stale()) == ([], 1)
    assert indexing.refresh(index).changed == 1
    assert (stored(), stale()) == (["a"], 0)


@committing
def test_proxies_are_followed(register: Register, fake_openai: FakeOpenAI) -> None:
    from django.apps import apps
    from django.test.utils import isolate_apps

    with isolate_apps("django.contrib.auth"):

        class Team(Group):
            class Meta:
                app_label = "auth"
                proxy = True

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(apps, "get_models", lambda: [Group, Team])
        index = register("groups", Group, fields=["name"])
        Team(name="a").save()
        assert stored() == ["a"]
        unwatch(index)


@pytest.mark.django_db
def test_noting_takes_one_query(register: Register) -> None:
    register("groups", Group, fields=["name"])
    with CaptureQueriesContext(connection) as captured:
        group = Group.objects.create(name="a")
    assert len(captured) == 2
    with CaptureQueriesContext(connection) as captured:
        group.save()
    assert len(captured) == 2


@pytest.mark.django_db
def test_an_object_from_before_the_index_is_noted(register: Register) -> None:
    group = Group.objects.create(name="a")
    register("groups", Group, fields=["name"])
    group.save()
    assert IndexedObject.objects.get().stale is not None


@pytest.mark.django_db
def test_objects_deleted_together_are_taken_out_together(
    register: Register,
    fake_openai: FakeOpenAI,
    django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks,
) -> None:
    index = register("groups", Group, fields=["name"])

    def queries(number: int) -> int:
        for each in range(number):
            Group.objects.create(name=f"{number} {each}")
        indexing.build(index, lambda number: None)
        with django_capture_on_commit_callbacks() as callbacks:
            Group.objects.all().delete()
        assert len(callbacks) == 1
        with CaptureQueriesContext(connection) as captured:
            callbacks[0]()
        assert not IndexedObject.objects.exists()
        return len(captured)

    assert queries(2) == queries(20)


@pytest.mark.django_db
def test_where_no_other_thread_sees_the_change_none_is_started(
    register: Register,
    fake_openai: FakeOpenAI,
    django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks,
) -> None:
    register("groups", Group, fields=["name"])
    with django_capture_on_commit_callbacks(execute=True):
        Group.objects.create(name="a")
    assert refresher.join(0)
    assert IndexedObject.objects.get().stale is not None
    assert not fake_openai.requests


@pytest.mark.django_db
def test_a_faulty_index_follows_nothing(register: Register) -> None:
    register("groups", Group, fields=["nothing"])
    Group.objects.create(name="a")
    assert not IndexedObject.objects.exists()


def test_a_forked_process_begins_with_nothing_to_do() -> None:
    refresher._waiting["groups"] = Index("groups", Group, fields=["name"])
    try:
        pid = os.fork()
        if pid == 0:  # pragma: no cover
            os._exit(len(refresher._waiting))
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    finally:
        refresher._waiting.clear()
