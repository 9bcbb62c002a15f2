"""No word of somebody is left in any table, nor in the files; what it cost is."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest
from django.db import connection, connections
from pytest_django import Settings

from django_chatgpt.core.events import Content
from django_chatgpt.exceptions import ConflictError
from django_chatgpt.models import (
    AIAlert,
    AIBudget,
    AIConversation,
    AIMessage,
    AITurn,
    AIUsage,
    EmbeddingJob,
    EmbeddingVector,
)
from django_chatgpt.services import AIService, chat, erase, reports
from django_chatgpt.testing import Answer, FakeOpenAI, Gate
from tests.services import words

if TYPE_CHECKING:
    from django.contrib.auth.models import User

WORD, OTHER = "marmalade", "anchovy"


@pytest.mark.django_db
class TestTables:
    def test_the_words_are_everywhere_before(self, user: User) -> None:
        words.say_everywhere(user, WORD)
        assert {each.partition(".")[0] for each in words.found(WORD)} == {
            "ai_conversation",
            "ai_turn",
            "ai_message",
            "ai_turn_event",
            "ai_function_call",
            "ai_function_job",
            "ai_alert",
            "embedding_vector",
            "embedding_job",
            "embedding_job_text",
            "django_admin_log",
        }

    def test_nothing_is_left_and_the_ledger_is(self, user: User, other_user: User) -> None:
        words.say_everywhere(user, WORD)
        words.say_everywhere(other_user, OTHER)
        before, theirs = words.money(), words.found(OTHER)
        total = reports.usage(reports.of_site(), 1)
        told: list[int] = []
        done = erase.erase_user(user, progress=told.append)
        assert words.found(WORD) == []
        assert words.found(OTHER) == theirs
        assert words.money() == before
        assert reports.usage(reports.of_site(), 1) == total
        assert done == {"alerts": 2, "embedding_jobs": 2, "embeddings": 1, "conversations": 1}
        assert sum(told) == 6
        # What an open job costs has yet to come.
        assert list(EmbeddingJob.objects.filter(user=user).values_list("status", flat=True)) == ["running"]
        assert AIUsage.objects.filter(user=user).count() == 1

    def test_again_there_is_nothing_to_do(self, user: User) -> None:
        words.say_everywhere(user, WORD)
        erase.erase_user(user)
        assert set(erase.erase_user(user).values()) == {0, 1}  # the open job
        EmbeddingJob.objects.all().delete()
        assert set(erase.erase_user(user).values()) == {0}

    def test_the_ledger_forgets_whose_it_was(self, user: User, other_user: User) -> None:
        words.say_everywhere(user, WORD)
        words.say_everywhere(other_user, OTHER)
        before = words.money()
        assert erase.erase_user(user, forget=True)["usage"] == 1
        assert set(AIUsage.objects.values_list("user", flat=True)) == {None, other_user.pk}
        assert list(AIBudget.objects.values_list("key", flat=True)) == [
            f"user:{other_user.pk}:day:2026-11-22"
        ]
        assert words.money() == before

    def test_turns_in_somebody_elses_conversation(self, user: User, other_user: User) -> None:
        talk = words.say_everywhere(other_user, OTHER)
        turn = AITurn.objects.create(conversation=talk, user=user, status="completed", partial_text=WORD)
        AIMessage.objects.create(conversation=talk, turn=turn, sequence=9, role="user", content=WORD)
        erase.erase_user(user)
        assert words.found(WORD) == []
        assert talk.messages.count() == 4

    def test_turns_that_nobody_runs_any_more(self, user: User) -> None:
        """Neither the process that runs it nor a lease that is over is waited for in vain."""
        turn = words.run_on(user, WORD)
        erase.erase_user(user, patience=0)
        assert words.found(WORD) == []
        attempt = AIUsage.objects.get()
        assert (attempt.outcome, attempt.usage_source, attempt.turn) == ("interrupted", "estimated", None)
        assert attempt.total_tokens > 0
        assert not AITurn.objects.filter(pk=turn.pk).exists()

    def test_a_turn_that_waits_for_a_person(self, user: User) -> None:
        turn = words.run_on(user, WORD)
        AITurn.objects.update(status="awaiting_approval")
        erase.erase_user(user, patience=0)
        assert words.found(WORD) == []
        assert not AITurn.objects.filter(pk=turn.pk).exists()

    def test_somebody_who_goes_on_asking(self, user: User, monkeypatch: pytest.MonkeyPatch) -> None:
        def stop(user_id: Any, patience: float) -> None:
            words.run_on(user, WORD)

        monkeypatch.setattr(erase, "_stop", stop)
        with pytest.raises(ConflictError, match="goes on asking"):
            erase.erase_user(user, patience=0)

    def test_cached_replies(
        self, user: User, other_user: User, fake_openai: FakeOpenAI, settings: Settings
    ) -> None:
        fake_openai.respond_with(lambda request: "Hello")

        def ask(whom: User) -> None:
            AIService(whom).chat_completion([{"role": "user", "content": WORD}])

        for whom in (user, other_user, user, other_user):
            ask(whom)
        assert len(fake_openai.calls) == 2
        erase.erase_user(user)
        ask(other_user)
        assert len(fake_openai.calls) == 2
        ask(user)
        assert len(fake_openai.calls) == 3


@pytest.mark.django_db(transaction=True)
def test_killed_half_way_and_run_again(user: User) -> None:
    """At every statement: what was done is done, and the rest goes with the next run."""
    for at in range(100):
        words.say_everywhere(user, WORD)
        before = words.money()
        statements = 0

        def fail(execute: Any, sql: str, *rest: Any, at: int = at) -> Any:
            nonlocal statements
            if sql.startswith(("UPDATE", "DELETE")):
                statements += 1
                if statements > at:
                    raise KeyboardInterrupt
            return execute(sql, *rest)

        try:
            with connection.execute_wrapper(fail):
                erase.erase_user(user)
        except KeyboardInterrupt:
            erase.erase_user(user)
        else:
            break
        assert words.found(WORD) == []
        assert words.money() == before
        AIBudget.objects.all().delete()
    assert at > 10


@pytest.mark.django_db(transaction=True)
@pytest.mark.sqlite_only
def test_nothing_is_left_in_the_files(user: User) -> None:
    words.say_everywhere(user, WORD)
    AITurn.objects.update(partial_text="another text")
    assert words.found_in_files(WORD) != []
    erase.erase_user(user)
    assert words.found_in_files(WORD) == []
    with connection.cursor() as cursor:
        assert cursor.execute("PRAGMA freelist_count").fetchone() == (0,)


class Running:
    """A question that is being answered in another thread, and goes on when it is told."""

    def __init__(self, user: User, fake: FakeOpenAI) -> None:
        self.gate, self.begun = Gate(), threading.Event()
        self.error: BaseException | None = None
        self.ended: Any = None
        fake.script(Answer(chunks=["Once ", f"upon a {WORD}"], stall_after=1, stall=self.gate))
        self._thread = threading.Thread(target=self._run, args=(user,))
        self._thread.start()
        assert self.begun.wait(20)

    def _run(self, user: User) -> None:
        try:
            prepared = chat.begin(chat.Ask(user=user, text=f"About {WORD}", use_functions=False))
            assert isinstance(prepared, chat.Prepared)
            events = chat.run(prepared, release=True)
            while True:
                try:
                    event = next(events)
                except StopIteration as end:
                    self.ended = end.value
                    return
                if isinstance(event, Content):
                    self.begun.set()
        except BaseException as error:
            self.error = error
        finally:
            self.begun.set()
            connections.close_all()

    def go_on(self) -> None:
        self.gate.open()
        self._thread.join(20)
        assert not self._thread.is_alive()


@pytest.fixture
def running(transactional_db: None, user: User, fake_openai: FakeOpenAI) -> Iterator[Running]:
    made = Running(user, fake_openai)
    yield made
    made.go_on()


class TestWhileItRuns:
    def test_a_turn_is_stopped_and_counted(self, running: Running, user: User) -> None:
        erase.erase_user(user)
        running.go_on()
        assert running.error is None
        assert words.found(WORD) == []
        attempt = AIUsage.objects.get()
        assert attempt.outcome == "cancelled"
        assert not AITurn.objects.exists()
        assert not AIConversation.objects.exists()

    def test_one_that_does_not_listen_can_write_nothing_back(
        self, running: Running, user: User, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """As where it runs in a process that hangs, and comes back when all is erased."""
        monkeypatch.setattr("django_chatgpt.services.cancel.stops.stop", lambda turn_id: None)
        monkeypatch.setattr("django_chatgpt.runtime.stops.storage.stops_wanted", lambda turn_ids: [])
        erase.erase_user(user, patience=0)
        assert words.found(WORD) == []
        running.go_on()
        assert running.ended.error.code == "interrupted"
        assert words.found(WORD) == []
        assert AIUsage.objects.count() == 1
        assert not AIMessage.objects.exists()

    def test_deleting_the_user_takes_the_turn_and_leaves_the_ledger(
        self, running: Running, user: User
    ) -> None:
        user.delete()
        running.go_on()
        assert words.found(WORD) == []
        attempt = AIUsage.objects.get()
        assert (attempt.user, attempt.turn) == (None, None)
        assert attempt.outcome != "running"


@pytest.mark.django_db
def test_deleting_the_user_leaves_the_ledger_and_what_alerts_said(user: User) -> None:
    words.say_everywhere(user, WORD)
    before = words.money()
    user.delete()
    assert words.money() == before
    assert set(AIUsage.objects.values_list("user", flat=True)) == {None}
    assert not EmbeddingVector.objects.exists()
    # Which is why erasing comes first.
    assert {each.partition(".")[0] for each in words.found(WORD)} == {"ai_alert"}
    assert AIAlert.objects.filter(user=None, conversation=None).count() == 2
