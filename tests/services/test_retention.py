"""What is old goes, as the site says, and nothing else."""

from __future__ import annotations

import threading
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from django.db import connection, connections
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from pytest_django import Settings

from django_chatgpt.exceptions import InvalidRequestError
from django_chatgpt.models import (
    AIBudget,
    AIConversation,
    AIFunctionCall,
    AIFunctionJob,
    AIMessage,
    AITurn,
    AITurnEvent,
    AIUsage,
    EmbeddingJob,
    EmbeddingJobText,
    EmbeddingVector,
    IndexedObject,
    IndexedPassage,
)
from django_chatgpt.models.embedding import content_hash_of
from django_chatgpt.services import chat, retention
from django_chatgpt.storage import retention as storage
from django_chatgpt.testing import FakeOpenAI
from tests.models import rows

if TYPE_CHECKING:
    from django.contrib.auth.models import User

NOW = timezone.now


def ago(days: float) -> datetime:
    return NOW() - timedelta(days=days)


def talk(days: float, **fields: Any) -> AIConversation:
    """A conversation that was used last so many days ago, with one of everything."""
    status = fields.pop("status", "completed")
    made = rows.conversation(**fields)
    turn = rows.turn(made, user=made.user, status=status, lease_expires_at=NOW() + timedelta(hours=1))
    rows.message(made, turn=turn)
    rows.usage(conversation=made, turn=turn, user=made.user, outcome="completed", total_tokens=7)
    AITurnEvent.objects.create(turn=turn, first=1, last=1, data="[]")
    AIFunctionCall.objects.create(turn=turn, call_id="c", name="f", status="completed")
    AIConversation.objects.filter(pk=made.pk).update(updated_at=ago(days), created_at=ago(days + 1))
    return made


def left() -> set[Any]:
    return set(AIConversation.objects.values_list("pk", flat=True))


@pytest.mark.django_db
class TestConversations:
    def test_nothing_is_done_unless_the_site_says_so(self) -> None:
        made = talk(1000)
        assert retention.cleanup_old_conversations() == 0
        assert retention.cleanup_old_conversations(action="delete") == 0
        assert AIConversation.active.get() == made

    def test_unused_ones_are_archived(self, settings: Settings) -> None:
        settings.OPENAI_ARCHIVE_AFTER = 30
        old, new = talk(31), talk(29)
        assert retention.cleanup_old_conversations(dry_run=True) == 1
        told: list[int] = []
        assert retention.cleanup_old_conversations(progress=told.append) == 1
        assert told == [1]
        assert list(AIConversation.active.all()) == [new]
        old.refresh_from_db()
        assert old.updated_at < ago(30)  # the last use, not the archiving
        assert old.messages.count() == 1
        assert retention.cleanup_old_conversations() == 0

    def test_unused_ones_are_deleted_and_their_cost_stays(self, settings: Settings) -> None:
        settings.OPENAI_DELETE_AFTER = 30
        talk(31)
        new = talk(29)
        assert retention.cleanup_old_conversations(action="delete", dry_run=True) == 1
        assert left() != {new.pk}
        assert retention.cleanup_old_conversations(action="delete") == 1
        assert left() == {new.pk}
        for model in (AITurn, AIMessage, AITurnEvent, AIFunctionCall):
            assert model.objects.count() == 1
        assert set(AIUsage.objects.values_list("total_tokens", "conversation")) == {(7, None), (7, new.pk)}
        assert retention.cleanup_old_conversations(action="delete") == 0

    def test_by_age_and_only_archived_ones(self) -> None:
        young, old = talk(10), talk(60)
        archived = talk(60, is_active=False)
        assert retention.cleanup_old_conversations(5, action="delete", older_than=50, dry_run=True) == 2
        assert retention.cleanup_old_conversations(5, action="delete", archived_only=True) == 1
        assert left() == {young.pk, old.pk}
        assert archived.pk not in left()

    @pytest.mark.parametrize("status", ["queued", "running", "awaiting_approval"])
    @pytest.mark.parametrize("action", ["archive", "delete"])
    def test_one_that_a_turn_holds_is_left_alone(self, status: str, action: Any) -> None:
        made = talk(400, status=status)
        assert retention.cleanup_old_conversations(30, action=action, dry_run=True) == 0
        assert retention.cleanup_old_conversations(30, action=action) == 0
        assert AIConversation.active.get() == made
        assert storage.delete_conversations([made.pk]) == 0

    def test_one_that_was_used_meanwhile_is_left_alone(self) -> None:
        from django.db.models import Q

        made = talk(400)
        unused = Q(updated_at__lt=ago(30))
        AIConversation.objects.update(updated_at=NOW())
        assert storage.delete_conversations([made.pk], unused) == 0
        assert storage.archive([made.pk], unused) == 0

    def test_the_statements_of_a_batch_do_not_grow_with_it(self) -> None:
        for _ in range(4):
            talk(400)
        with CaptureQueriesContext(connection) as few:
            assert retention.cleanup_old_conversations(30, action="delete") == 4
        for _ in range(60):
            talk(400)
        with CaptureQueriesContext(connection) as many:
            assert retention.cleanup_old_conversations(30, action="delete") == 60
        assert len(many) <= len(few)

    def test_many_batches(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(retention, "CONVERSATIONS_AT_ONCE", 2)
        kept = talk(1)
        for _ in range(5):
            talk(400)
        told: list[int] = []
        assert retention.cleanup_old_conversations(30, action="delete", progress=told.append) == 5
        assert told == [2, 2, 1]
        assert left() == {kept.pk}

    def test_a_long_conversation_is_deleted_in_parts(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(storage.delete_rows, "__defaults__", (3,))
        made = talk(400)
        for number in range(2, 12):
            rows.message(made, number)
        assert retention.cleanup_old_conversations(30, action="delete") == 1
        assert not AIMessage.objects.exists()

    def test_what_is_no_number_of_days(self) -> None:
        for wrong in (-1, 10**6, True, "3"):
            with pytest.raises(InvalidRequestError, match="days"):
                retention.cleanup_old_conversations(wrong)  # type: ignore[arg-type]
        with pytest.raises(InvalidRequestError, match="action"):
            retention.cleanup_old_conversations(3, action="burn")  # type: ignore[arg-type]


@pytest.mark.django_db(transaction=True)
def test_asking_and_deleting_at_once(user: User, fake_openai: FakeOpenAI) -> None:
    """Either the question is told that the conversation is gone, or the conversation stays."""
    fake_openai.respond_with(lambda request: "Hello")
    errors: list[BaseException] = []
    for _ in range(5):
        made = talk(400, user=user)
        start = threading.Barrier(2, timeout=20)

        def ask(made: AIConversation = made, start: threading.Barrier = start) -> None:
            from django_chatgpt.exceptions import NotFoundError

            try:
                start.wait()
                list(chat.run(chat.begin(chat.Ask(user=user, text="Hi", conversation_id=made.pk))))  # type: ignore[arg-type]
            except NotFoundError:
                pass
            except BaseException as error:
                errors.append(error)
            finally:
                connections.close_all()

        def clean(start: threading.Barrier = start) -> None:
            try:
                start.wait()
                retention.cleanup_old_conversations(30, action="delete")
            except BaseException as error:
                errors.append(error)
            finally:
                connections.close_all()

        threads = [threading.Thread(target=each) for each in (ask, clean)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        assert errors == []
        assert not AITurn.objects.active().exists()
        AIConversation.objects.all().delete()


@pytest.mark.django_db
class TestEmbeddings:
    @staticmethod
    def made(days: float, text: str, **fields: Any) -> EmbeddingVector:
        row = rows.embedding(content=text, **fields)
        EmbeddingVector.objects.filter(pk=row.pk).update(updated_at=ago(days))
        return row

    def test_old_ones_go_but_for_those_that_an_index_needs(self, user: User, settings: Settings) -> None:
        self.made(100, "old", user=user)
        self.made(100, "the site's")
        new = self.made(1, "new", user=user)
        needed = self.made(100, "needed")
        same_text = self.made(100, "needed", user=user)
        indexed = IndexedObject.objects.create(index="articles", object_key="1")
        IndexedPassage.objects.create(indexed=indexed, number=0, content_hash=content_hash_of("needed"))
        on_its_way = self.made(100, "soon", metadata={"index": True, "batch": True})
        assert retention.cleanup_old_embeddings() == 0
        settings.OPENAI_EMBEDDING_RETENTION = 30
        assert retention.cleanup_old_embeddings(dry_run=True) == 3
        told: list[int] = []
        assert retention.cleanup_old_embeddings(progress=told.append) == 3
        assert sum(told) == 3
        assert not EmbeddingVector.objects.filter(pk=same_text.pk).exists()
        assert {new.pk, needed.pk} <= set(EmbeddingVector.objects.values_list("pk", flat=True))
        assert on_its_way is not None

    def test_of_one_model(self, user: User) -> None:
        self.made(100, "a", user=user, model="old-model")
        kept = self.made(100, "b", user=user)
        assert retention.cleanup_old_embeddings(30, model="old-model") == 1
        assert EmbeddingVector.objects.get() == kept

    def test_one_that_is_written_or_needed_meanwhile_stays(self) -> None:
        row = self.made(100, "a")
        EmbeddingVector.objects.update(updated_at=NOW())
        assert storage.delete_embeddings([row.pk], ago(30)) == 0

    def test_jobs_that_are_over_go_with_their_texts(self, user: User) -> None:
        made = {}
        for status in ("running", "failed", "completed"):
            job = made[status] = EmbeddingJob.objects.create(user=user, model="m", status=status)
            EmbeddingJobText.objects.create(job=job, content_hash="0" * 64, content="a text")
        EmbeddingJob.objects.exclude(status="completed").update(updated_at=ago(100))
        retention.cleanup_old_embeddings(30)
        assert set(EmbeddingJob.objects.all()) == {made["running"], made["completed"]}
        assert EmbeddingJobText.objects.count() == 2


@pytest.mark.django_db
def test_memos_of_past_budgets_go() -> None:
    def memo(key: str, started: datetime) -> None:
        AIBudget.objects.create(key=key, starts_at=started, settled_before=started)

    memo("site::day:2026-01-01", ago(400))
    memo("user:7:month:2026-01", ago(400))
    memo("site::day:today", ago(0))
    memo("site::day:yesterday", ago(1))
    memo("site::month:now", timezone.localtime(NOW()).replace(day=1, hour=0, minute=0))
    assert retention.old_budgets().count() == 2
    done = retention.clean()
    assert done["budgets_deleted"] == 2
    assert AIBudget.objects.count() == 3


@pytest.mark.django_db
def test_all_that_is_due(settings: Settings) -> None:
    settings.OPENAI_ARCHIVE_AFTER, settings.OPENAI_DELETE_AFTER = 30, 90
    settings.OPENAI_EMBEDDING_RETENTION = 30
    for days in (100, 40, 1):
        talk(days)
    TestEmbeddings.made(100, "old")
    for status, days in (("completed", 2), ("failed", 2), ("completed", 0), ("queued", 2)):
        job = AIFunctionJob.objects.create(name="f", status=status, held_until=None)
        held = ago(days) if status == "queued" else None
        AIFunctionJob.objects.filter(pk=job.pk).update(updated_at=ago(days), held_until=held)
    wanted = {
        "turns_ended": 0,
        "jobs_ended": 1,
        "events_deleted": 0,
        "jobs_deleted": 2,
        "conversations_deleted": 1,
        "conversations_archived": 1,
        "embeddings_deleted": 1,
        "budgets_deleted": 0,
    }
    # What would be deleted would be archived as well.
    assert retention.clean(dry_run=True) == wanted | {"conversations_archived": 2}
    assert retention.clean() == wanted
    assert retention.clean() == dict.fromkeys(wanted, 0)
    # The one that is ended now is kept for its time.
    assert sorted(AIFunctionJob.objects.values_list("status", flat=True)) == ["completed", "failed"]
