"""The command that has texts embedded at half price."""

from __future__ import annotations

import io
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from django.contrib.auth.models import Group
from django.core.management import CommandError, call_command
from django.utils import timezone

from django_chatgpt.indexes import Index, index_registry, register_index
from django_chatgpt.management.commands import chatgpt_batch
from django_chatgpt.models import EmbeddingJob, EmbeddingVector, IndexedObject
from django_chatgpt.services.freshness import unwatch
from django_chatgpt.storage.indexes import MADE_BY_INDEX, MADE_FOR_INDEX, drop_orphans
from django_chatgpt.testing import FakeOpenAI

pytestmark = pytest.mark.django_db


def said(*arguments: str, command: str = "chatgpt_batch") -> list[str]:
    out, err = io.StringIO(), io.StringIO()
    call_command(command, *arguments, stdout=out, stderr=err)
    assert err.getvalue() == ""
    return out.getvalue().splitlines()


@pytest.fixture
def index() -> Iterator[Index]:
    made = register_index("groups", Group, fields=["name"])
    for name in ("lions hunt", "cats sleep"):
        Group.objects.create(name=name)
    yield made
    unwatch(made)
    index_registry.unregister(made.name)


@pytest.fixture
def texts(tmp_path: Path) -> str:
    path = tmp_path / "texts.txt"
    path.write_text("one\n\ntwo\nthree\n", encoding="utf-8")
    return str(path)


def test_an_index_pays_once_and_keeps_what_came(index: Index, fake_openai: FakeOpenAI) -> None:
    (line,) = said("submit", "--index", "groups")
    job = EmbeddingJob.objects.get()
    assert line == f"{job.pk} running: 2 texts, by text-embedding-3-small."
    assert said("submit", "--index", "groups") == [
        "Nothing to submit: every text is stored, or waits in a job."
    ]
    assert said("advance") == [f"{job.pk} completed: 2 stored, 0 failed, by text-embedding-3-small."]
    assert drop_orphans() == 0
    assert [row.metadata for row in EmbeddingVector.objects.all()] == [MADE_FOR_INDEX] * 2
    asked = len(fake_openai.requests)
    assert said("groups", command="chatgpt_index")[-1] == "groups: 2 done, 0 taken out, 0 failed."
    assert len(fake_openai.requests) == asked
    assert [row.metadata for row in EmbeddingVector.objects.all()] == [MADE_BY_INDEX] * 2
    assert IndexedObject.objects.filter(error="").count() == 2


def test_what_no_index_takes_in_goes_after_a_week(index: Index, fake_openai: FakeOpenAI) -> None:
    said("submit", "--index", "groups")
    said("advance")
    EmbeddingVector.objects.update(created_at=timezone.now() - timedelta(days=8))
    assert drop_orphans() == 2
    assert not EmbeddingVector.objects.exists()


def test_a_file_has_a_text_a_line(texts: str, fake_openai: FakeOpenAI) -> None:
    fake_openai.plan_batch(fails={"two"})
    assert said("submit", "--file", texts, "--model", "text-embedding-3-large")[0].endswith(
        "running: 3 texts, by text-embedding-3-large."
    )
    assert said("advance")[0].endswith("completed: 2 stored, 1 failed, by text-embedding-3-large.")
    job = EmbeddingJob.objects.get()
    assert said("again", str(job.pk))[0].endswith("running: 1 texts, by text-embedding-3-large.")
    assert len(said("list")) == 2
    assert said("advance")[0].endswith("completed: 1 stored, 0 failed, by text-embedding-3-large.")


def test_it_waits_until_all_are_over(
    texts: str, fake_openai: FakeOpenAI, monkeypatch: pytest.MonkeyPatch
) -> None:
    naps: list[float] = []
    monkeypatch.setattr(chatgpt_batch.time, "sleep", naps.append)
    fake_openai.plan_batch(polls=4)
    said("submit", "--file", texts)
    assert said("advance")[0].endswith("running: 3 texts, by text-embedding-3-small.")
    assert [line.split()[1] for line in said("advance", "--wait")] == ["completed:"]
    assert naps == [chatgpt_batch.POLL_SECONDS] * 3
    assert said("advance", "--wait") == []


def test_cancel(texts: str, fake_openai: FakeOpenAI) -> None:
    said("submit", "--file", texts)
    job = EmbeddingJob.objects.get()
    assert said("cancel", str(job.pk))[0].endswith("running: 3 texts, by text-embedding-3-small.")
    assert said("advance")[0].endswith("cancelled: 0 stored, 3 failed, by text-embedding-3-small.")


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["cancel", "7"], "There is no job 7"),
        (["again", "01a20346-bd9c-7873-862d-f1fa8417482d"], "There is no job"),
        (["submit", "--file", "/nowhere/texts"], "--file: "),
        (["submit", "--index", "groups", "--model", "m"], "leave --model out"),
        (["submit", "--index", "nothing"], "index: must be one of"),
    ],
)
def test_what_it_refuses(arguments: list[str], problem: str, fake_openai: FakeOpenAI) -> None:
    with pytest.raises(CommandError, match=problem):
        said(*arguments)
    fake_openai.assert_nothing_asked()
