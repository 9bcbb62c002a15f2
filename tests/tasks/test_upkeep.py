"""What a site has done regularly, by a worker or by whoever calls it; run twice, it is done once."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from django.contrib.auth.models import User
from django.core.files.base import ContentFile
from django.core.files.storage import FileSystemStorage
from django.utils import timezone
from pytest_django import Settings

from django_chatgpt import tasks
from django_chatgpt.core.ids import uuid7
from django_chatgpt.exceptions import InvalidRequestError, NotFoundError, ProviderUnavailableError
from django_chatgpt.models import AIAlert, AIConversation, AIMessage, AITurn, AIUsage, EmbeddingJob
from django_chatgpt.services import conversation_batches
from django_chatgpt.tasks import upkeep
from tests.services.test_sweeper import expired

pytestmark = pytest.mark.django_db


def conversations(user: User, number: int = 3) -> list[str]:
    return [str(AIConversation.objects.create(user=user, title="t").pk) for _ in range(number)]


def unused(user: User, days: int) -> AIConversation:
    made = AIConversation.objects.create(user=user)
    AIConversation.objects.filter(pk=made.pk).update(updated_at=timezone.now() - timedelta(days=days))
    return made


class TestCleanup:
    def test_of_conversations(self, user: User) -> None:
        old, fresh = unused(user, 40), unused(user, 20)
        assert tasks.cleanup_old_conversations(days=30) == {"done": 1}
        assert tasks.cleanup_old_conversations(days=30) == {"done": 0}
        assert tasks.cleanup_old_conversations(days=30, action="delete", archived_only=True) == {"done": 1}
        assert list(AIConversation.objects.values_list("pk", flat=True)) == [fresh.pk]
        assert tasks.cleanup_old_conversations() == {"done": 0}, "no setting says how old"
        assert old.pk != fresh.pk

    def test_of_embeddings(self) -> None:
        assert tasks.cleanup_old_embeddings(days=1) == {"done": 0}

    def test_of_what_makes_no_sense(self) -> None:
        with pytest.raises(InvalidRequestError, match="action"):
            tasks.cleanup_old_conversations(days=1, action="burn")  # type: ignore[arg-type]


class TestBatch:
    def test_archive(self, user: User, other_user: User) -> None:
        mine, theirs = conversations(user), conversations(other_user, 1)
        for _ in range(2):
            told = tasks.process_conversation_batch("archive", [*mine, *theirs], user_id=user.pk)
            assert told == {"action": "archive", "done": mine, "skipped": theirs}
        assert AIConversation.objects.filter(is_active=True).count() == 1

    def test_delete(self, user: User) -> None:
        mine = conversations(user)
        held = AIConversation.objects.get(pk=mine[0])
        AITurn.objects.create(conversation=held, user=user, status="running")
        told = tasks.process_conversation_batch("delete", [*mine, str(uuid7())])
        assert told["done"] == mine[1:]
        assert len(told["skipped"]) == 2
        assert AIConversation.objects.get() == held
        assert tasks.process_conversation_batch("delete", mine[1:])["done"] == []

    def test_export(self, user: User, settings: Settings, tmp_path: Path) -> None:
        settings.STORAGES = settings.STORAGES | {
            "exports": {
                "BACKEND": "django.core.files.storage.FileSystemStorage",
                "OPTIONS": {"location": tmp_path},
            }
        }
        [first, second] = conversations(user, 2)
        AIMessage.objects.create(conversation_id=first, sequence=1, role="user", content="Hélas")
        AIUsage.objects.create(conversation_id=first, model="m", user=user)
        for _ in range(2):
            told = tasks.process_conversation_batch("export", [first, second], storage="exports")
            assert told == {"action": "export", "done": [first, second], "skipped": []}
        assert len(list((tmp_path / conversation_batches.FOLDER).iterdir())) == 2
        written = json.loads((tmp_path / conversation_batches.FOLDER / f"{first}.json").read_text())
        assert [row["content"] for row in written["messages"]] == ["Hélas"]
        assert [row["id"] for row in written["conversations"]] == [first]
        assert len(written["usage"]) == 1
        assert (written["turns"], written["events"], written["function_calls"]) == ([], [], [])

    def test_two_exports_at_once_leave_one_file(
        self, user: User, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Both have found no file of that name; the storage gives the later one another."""
        backend = "django.core.files.storage.FileSystemStorage"
        settings.STORAGES = settings.STORAGES | {
            "exports": {"BACKEND": backend, "OPTIONS": {"location": tmp_path}}
        }
        [mine] = conversations(user, 1)
        save = FileSystemStorage.save

        def both(storage: FileSystemStorage, name: str, content: Any) -> str:
            save(storage, name, ContentFile(b"{}"))
            return save(storage, name, content)

        monkeypatch.setattr(FileSystemStorage, "save", both)
        tasks.process_conversation_batch("export", [mine], storage="exports")
        assert [file.name for file in (tmp_path / conversation_batches.FOLDER).iterdir()] == [f"{mine}.json"]

    @pytest.mark.parametrize(
        ("action", "storage", "about"),
        [("burn", None, "action"), ("export", None, "storage"), ("export", "nowhere", "storage")],
    )
    def test_what_makes_no_sense(self, action: str, storage: str | None, about: str) -> None:
        with pytest.raises(InvalidRequestError) as caught:
            tasks.process_conversation_batch(action, [], storage=storage)
        assert list(caught.value.fields) == [about]

    def test_too_many(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(conversation_batches, "MOST", 1)
        with pytest.raises(InvalidRequestError, match="too many"):
            tasks.process_conversation_batch("archive", [str(uuid7()), str(uuid7())])


class TestReport:
    def test_its_numbers_are_the_ledger_s(self, user: User) -> None:
        AIUsage.objects.create(
            user=user, model="m", outcome="completed", total_tokens=7, estimated_cost="0.5"
        )
        told = tasks.generate_usage_report(days=2)
        assert told["total"] == {"tokens": 7, "cost": "0.500000000000", "requests": 1, "unpriced": 0}
        assert json.loads(json.dumps(told)) == told
        today = told["end"]
        assert tasks.generate_usage_report(start=today, end=today, user_id=str(user.pk))["user_id"] == user.pk

    def test_what_makes_no_sense(self) -> None:
        with pytest.raises(InvalidRequestError, match="start: must be a day"):
            tasks.generate_usage_report(start="tomorrow", end="2026-01-01")
        with pytest.raises(NotFoundError, match="no user"):
            tasks.generate_usage_report(user_id="nobody")


class TestAlerts:
    def test_one_is_raised_once_a_day(self, user: User) -> None:
        about: dict[str, Any] = {"user_id": user.pk, "conversation_id": conversations(user, 1)[0]}
        assert tasks.create_ai_alert("error", "The import has failed", **about) == {"raised": True}
        assert tasks.create_ai_alert("error", "The import has failed", **about) == {"raised": False}
        alert = AIAlert.objects.get()
        assert (alert.severity, alert.title, alert.user) == ("error", "The import has failed", user)
        assert str(alert.conversation_id) == about["conversation_id"]
        assert tasks.create_ai_alert("error", "The import has failed") == {"raised": True}

    def test_or_once_of_its_key(self) -> None:
        assert tasks.create_ai_alert("info", "Done", key="import:7") == {"raised": True}
        assert tasks.create_ai_alert("info", "Done again", key="import:7") == {"raised": False}

    @pytest.mark.parametrize(("severity", "title"), [("loud", "t"), ("info", " "), ("info", "t" * 201)])
    def test_what_makes_no_sense(self, severity: str, title: str) -> None:
        with pytest.raises(InvalidRequestError):
            tasks.create_ai_alert(severity, title)

    def test_of_costs(self, settings: Settings) -> None:
        assert tasks.monitor_ai_costs() == {}
        settings.OPENAI_DAILY_COST_THRESHOLD = "0.1"
        AIUsage.objects.create(model="m", outcome="completed", estimated_cost="0.5")
        first, second = tasks.monitor_ai_costs(), tasks.monitor_ai_costs()
        assert first["day"]["over"]
        assert (first["day"]["alerted"], second["day"]["alerted"]) == (True, False)


class TestEmbeddings:
    def test_open_jobs_are_brought_on(self, monkeypatch: pytest.MonkeyPatch) -> None:
        job = EmbeddingJob.objects.create(model="m")
        EmbeddingJob.objects.create(model="m", status="completed")
        monkeypatch.setattr("django_chatgpt.services.jobs.EmbeddingJobs.advance", lambda self, job: job)
        assert tasks.create_embeddings_batch() == {
            "jobs": {str(job.pk): "submitting"},
            "indexes": {},
            "failed": {},
        }

    def test_one_that_fails_keeps_no_other_back(self, monkeypatch: pytest.MonkeyPatch) -> None:
        first, second = (EmbeddingJob.objects.create(model="m") for _ in range(2))

        def advance(self: Any, job: EmbeddingJob) -> EmbeddingJob:
            if job == first:
                raise ProviderUnavailableError()
            return job

        monkeypatch.setattr("django_chatgpt.services.jobs.EmbeddingJobs.advance", advance)
        told = tasks.create_embeddings_batch([str(first.pk), str(second.pk)])
        assert told["failed"] == {str(first.pk): "provider_unavailable"}
        assert list(told["jobs"]) == [str(second.pk)]
        with pytest.raises(ProviderUnavailableError):
            tasks.create_embeddings_batch([str(first.pk)])

    def test_an_index_that_there_is_not(self) -> None:
        with pytest.raises(InvalidRequestError):
            tasks.create_embeddings_batch(indexes=["nowhere"])


class TestDaily:
    def test_without_workers_one_after_the_other(self, user: User, settings: Settings) -> None:
        settings.OPENAI_ARCHIVE_AFTER = 30
        unused(user, 40)
        turn = expired()
        told = tasks.daily_ai_maintenance()
        assert told["failed"] == {}
        assert told["done"]["sweep_ai_turns"] == {"ended": 1, "jobs": 0}
        assert told["done"]["cleanup_old_conversations:archive"] == {"done": 1}
        turn.refresh_from_db()
        assert turn.status == "interrupted"
        assert json.loads(json.dumps(told)) == told

    def test_one_that_fails_keeps_no_other_back(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def broken() -> None:
            raise RuntimeError("no")

        monkeypatch.setattr(upkeep, "DAILY", ((broken, {}), (tasks.monitor_ai_costs, {})))
        told = tasks.daily_ai_maintenance()
        assert told["failed"] == {"broken": "internal_error"}
        assert told["done"] == {"monitor_ai_costs": {}}

    def test_a_worker_waits_for_none_of_them(self) -> None:
        pytest.importorskip("celery")
        with mock.patch("celery.group.apply_async") as sent:
            told = tasks.daily_ai_maintenance.apply().get()  # type: ignore[attr-defined]
        sent.assert_called_once_with()
        assert told["queued"][0] == "sweep_ai_turns"
        assert len(told["queued"]) == len(upkeep.DAILY)
