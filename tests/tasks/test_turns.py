"""A turn that waits for a worker: taken once, answered as if it had been at once, never left waiting."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from typing import Any
from unittest import mock

import pytest
from django.contrib.auth.models import User
from django.utils import timezone
from pydantic import BaseModel
from pytest_django import DjangoCaptureOnCommitCallbacks, Settings

from django_chatgpt.core.events import Content
from django_chatgpt.exceptions import (
    ConflictError,
    ContentFilterError,
    NotFoundError,
    QuotaExceededError,
    WorkerUnavailableError,
)
from django_chatgpt.functions import function_registry
from django_chatgpt.models import (
    AIConfiguration,
    AIConversation,
    AIFunctionCall,
    AIMessage,
    AITurn,
    AIUsage,
)
from django_chatgpt.services import AIService, approvals, chat, follow, queue, runners, sweeper
from django_chatgpt.services.cancel import cancel
from django_chatgpt.services.forms import Form
from django_chatgpt.tasks import process_ai_message_async, sweep_ai_turns
from django_chatgpt.testing import Answer, Call, Failure, FakeOpenAI
from tests.tasks.conftest import Leave, overdue

pytestmark = pytest.mark.django_db


def pay(amount: int) -> str:
    """Pay somebody."""
    return f"paid {amount}"


@pytest.fixture
def paying() -> Iterator[None]:
    function_registry.register(pay, requires_approval=True)
    yield
    function_registry.unregister("pay")


def said(turn: AITurn) -> list[tuple[str, str, str]]:
    rows = AIMessage.objects.filter(conversation_id=turn.conversation_id).order_by("sequence")
    return list(rows.values_list("role", "content", "status"))


class TestWaiting:
    def test_it_is_stored_and_nobody_is_asked(self, leave: Leave, fake: FakeOpenAI) -> None:
        turn = leave()
        assert (turn.started_at, turn.options["model"]) == (None, "gpt-6-luna")
        assert turn.lease_expires_at is not None
        assert turn.lease_expires_at > timezone.now() + timedelta(seconds=200)
        assert said(turn) == [("user", "Hi", "complete")]
        assert AIUsage.objects.get().outcome == "running"
        fake.assert_nothing_asked()

    def test_a_worker_is_told_of_it_once_it_is_committed(
        self,
        leave: Leave,
        sent: list[str],
        django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks,
    ) -> None:
        with django_capture_on_commit_callbacks(execute=True):
            turn = leave()
            assert sent == []
        assert sent == [str(turn.pk)]

    def test_a_refused_question_does_not_wait(
        self, leave: Leave, settings: Settings, sent: list[str]
    ) -> None:
        settings.OPENAI_FORBIDDEN_PATTERNS = ["secret"]
        with pytest.raises(ContentFilterError):
            leave("A secret")
        assert (AITurn.objects.get().status, sent) == ("failed", [])

    def test_the_same_key_names_the_same_turn(self, leave: Leave) -> None:
        assert leave(idempotency_key="k").pk == leave(idempotency_key="k").pk

    def test_the_conversation_is_taken(self, leave: Leave) -> None:
        turn = leave()
        with pytest.raises(ConflictError) as caught:
            leave(conversation_id=turn.conversation_id)
        assert caught.value.turn_id == turn.pk

    def test_code_of_the_site_answers_itself(self, fake: FakeOpenAI, user: User) -> None:
        fake.reply("Hello")
        assert AIService(user).ask("Hi").content == "Hello"


class TestTaken:
    def test_it_is_answered(self, leave: Leave, fake: FakeOpenAI) -> None:
        turn = leave()
        fake.reply("Hello")
        result = process_ai_message_async(str(turn.pk))
        answer = AIMessage.objects.get(role="assistant")
        attempt = AIUsage.objects.get()
        assert result == {
            "turn_id": str(turn.pk),
            "conversation_id": str(turn.conversation_id),
            "status": "completed",
            "error_code": "",
            "message_id": str(answer.pk),
            "total_tokens": attempt.total_tokens,
            "cost": f"{attempt.estimated_cost:f}",
        }
        assert said(turn) == [("user", "Hi", "complete"), ("assistant", "Hello", "complete")]
        assert AITurn.objects.get().started_at is not None

    def test_the_log_tells_the_whole_stream(self, leave: Leave, fake: FakeOpenAI, user: User) -> None:
        turn = leave()
        fake.script(Answer(chunks=["Hel", "lo"]))
        process_ai_message_async(str(turn.pk))
        events = [event for event in follow.follow(follow.Watch(turn.pk, user.pk)) if event is not None]
        # A busy machine may send two pieces as one.
        kinds = [event.type for event in events]
        assert (kinds[0], set(kinds[1:-2]), kinds[-2:]) == ("start", {"content"}, ["finish", "done"])
        assert "".join(event.content for event in events if isinstance(event, Content)) == "Hello"
        assert [event.seq for event in events] == list(range(1, len(events) + 1))

    def test_again_it_is_only_told(self, leave: Leave, fake: FakeOpenAI) -> None:
        turn = leave()
        fake.reply("Hello")
        assert process_ai_message_async(str(turn.pk)) == process_ai_message_async(str(turn.pk))
        assert len(fake.calls) == 1
        assert AIUsage.objects.count() == 1

    def test_of_two_who_try_one_takes_it(self, leave: Leave) -> None:
        turn = leave()
        assert isinstance(queue.take(turn.pk), chat.Prepared)
        with pytest.raises(ConflictError) as caught:
            queue.take(turn.pk)
        assert caught.value.turn_id == turn.pk
        assert 25 < (caught.value.retry_after or 0) <= 30

    def test_one_that_lost_the_race_looks_again(self, leave: Leave) -> None:
        turn = leave()
        with mock.patch.object(queue.queue, "claim", side_effect=[False, True]):
            assert isinstance(queue.take(turn.pk), chat.Prepared)

    def test_one_whose_worker_died_is_ended_with_its_text(self, leave: Leave, fake: FakeOpenAI) -> None:
        turn = leave()
        queue.take(turn.pk)
        overdue(turn)
        AITurn.objects.update(partial_text="Half an")
        result = process_ai_message_async(str(turn.pk))
        assert (result["status"], result["error_code"]) == ("interrupted", "interrupted")
        assert said(turn)[-1] == ("assistant", "Half an", "interrupted")
        assert AIUsage.objects.get().outcome == "interrupted"
        fake.assert_nothing_asked()

    def test_one_that_never_was(self) -> None:
        with pytest.raises(NotFoundError):
            process_ai_message_async("01990000-0000-7000-8000-000000000000")

    def test_a_failure_is_a_result(self, leave: Leave, fake: FakeOpenAI) -> None:
        turn = leave()
        fake.script(Failure(500))
        result = process_ai_message_async(str(turn.pk))
        assert (result["status"], result["error_code"]) == ("failed", "provider_unavailable")

    def test_one_that_was_cancelled_before(self, leave: Leave, fake: FakeOpenAI, user: User) -> None:
        turn = leave()
        assert cancel(turn.pk, user.pk).turn.status == "cancelled"
        assert process_ai_message_async(str(turn.pk))["status"] == "cancelled"
        fake.assert_nothing_asked()
        attempt = AIUsage.objects.get()
        assert (attempt.outcome, attempt.estimated_cost, attempt.reserved_cost) == ("cancelled", 0, None)


class TestAsItWasAsked:
    """What is sent is what would have been sent at once."""

    def ask_both(self, fake: FakeOpenAI, user: User, **options: Any) -> tuple[Any, Any]:
        """The requests of one question, asked at once and left to a worker, each after the same history."""
        bodies = []
        for inline in (True, False):
            conversation = AIConversation.objects.create(
                user=user, configuration=options.get("configuration")
            )
            for sequence, (role, content) in enumerate([("user", "Before"), ("assistant", "Indeed")], 1):
                AIMessage.objects.create(
                    conversation=conversation, sequence=sequence, role=role, content=content, token_count=1
                )
            fake.reply('{"name": "Rhine"}')
            turn = chat.begin(
                chat.Ask(user=user, text="Now", conversation_id=conversation.pk, inline=inline, **options)
            )
            if isinstance(turn, AITurn):
                process_ai_message_async(str(turn.pk))
            else:
                list(chat.run(turn))
            bodies.append(fake.requests[-1].body)
        return bodies[0], bodies[1]

    @pytest.mark.parametrize(
        "options",
        [
            {},
            {"model": "gpt-5.4-mini", "temperature": 0.3, "max_tokens": 77},
            {"use_functions": False},
            {"functions": [pay]},
        ],
        ids=["plain", "options", "no-functions", "functions"],
    )
    def test_of_options(
        self, options: dict[str, Any], fake: FakeOpenAI, sent: list[str], user: User, paying: None
    ) -> None:
        first, second = self.ask_both(fake, user, **options)
        assert first == second
        assert ("tools" in first) is (options.get("use_functions") is not False)

    def test_of_a_configuration(self, fake: FakeOpenAI, sent: list[str], user: User) -> None:
        configuration = AIConfiguration.objects.create(
            name="careful", system_prompt="Doubt.", temperature=0.1, top_p=0.5, max_tokens=50
        )
        first, second = self.ask_both(fake, user, configuration=configuration)
        assert first == second
        assert "Doubt." in str(first)

    def test_of_a_form(self, fake: FakeOpenAI, sent: list[str], user: User) -> None:
        class River(BaseModel):
            name: str

        first, second = self.ask_both(fake, user, form=Form(River))
        assert first == second
        assert "River" in str(first)

    def test_a_question_that_has_to_be_judged(
        self, leave: Leave, fake: FakeOpenAI, settings: Settings
    ) -> None:
        settings.OPENAI_MODERATION_MODEL = "omni-moderation-latest"
        turn = leave("Bad words")
        assert said(turn) == [("user", "Bad words", "refused")]
        fake.reply("Fine")
        process_ai_message_async(str(turn.pk))
        assert said(turn) == [("user", "Bad words", "complete"), ("assistant", "Fine", "complete")]


class TestMoney:
    @pytest.fixture(autouse=True)
    def budget(self, settings: Settings) -> None:
        settings.OPENAI_BUDGETS = [{"scope": "user", "period": "day", "limit": "0.02"}]
        settings.OPENAI_MAX_TOKENS = 1000

    def test_it_is_reserved_while_it_waits_and_settled_after(self, leave: Leave, fake: FakeOpenAI) -> None:
        turn = leave()
        reserved = AIUsage.objects.get().reserved_cost
        assert reserved is not None
        assert reserved > 0
        fake.reply("Hello")
        process_ai_message_async(str(turn.pk))
        attempt = AIUsage.objects.get()
        assert (attempt.outcome, attempt.reserved_cost) == ("completed", None)
        assert attempt.estimated_cost is not None
        assert attempt.estimated_cost < reserved

    def test_two_that_wait_cannot_have_the_same_money(self, leave: Leave, settings: Settings) -> None:
        settings.OPENAI_BUDGETS = [{"scope": "user", "period": "day", "limit": "0.003"}]
        leave(use_functions=False)
        with pytest.raises(QuotaExceededError):
            leave(use_functions=False)

    def test_what_was_not_reserved_is_before_it_is_asked(
        self, leave: Leave, fake: FakeOpenAI, settings: Settings
    ) -> None:
        settings.OPENAI_BUDGETS = []
        turn, other = leave(), leave()
        settings.OPENAI_BUDGETS = [{"scope": "user", "period": "day", "limit": "0.02"}]
        prepared = queue.take(turn.pk)
        assert isinstance(prepared, chat.Prepared)
        assert AIUsage.objects.get(turn=turn).reserved_cost
        settings.OPENAI_BUDGETS = [{"scope": "user", "period": "day", "limit": "0.0001"}]
        result = process_ai_message_async(str(other.pk))
        assert (result["status"], result["error_code"]) == ("failed", "quota_exceeded")
        attempt = AIUsage.objects.get(turn=other)
        assert (attempt.outcome, attempt.estimated_cost) == ("failed", Decimal(0))
        fake.assert_nothing_asked()


class TestWhatCannotBeAnswered:
    def test_who_may_not_ask_any_more(
        self, leave: Leave, fake: FakeOpenAI, user: User, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        turn = leave()
        monkeypatch.setattr("django_chatgpt.adapter.Adapter.may_use", lambda self, user: False)
        result = process_ai_message_async(str(turn.pk))
        assert (result["status"], result["error_code"]) == ("failed", "permission_denied")
        assert AITurn.objects.get().active_conversation is None
        events = [event for event in follow.follow(follow.Watch(turn.pk, user.pk)) if event is not None]
        assert [event.type for event in events] == ["start", "error", "done"]
        fake.assert_nothing_asked()

    def test_an_error_of_our_own_says_nothing(
        self, leave: Leave, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        turn = leave()
        broken = mock.Mock(side_effect=RuntimeError("what Ada said"))
        monkeypatch.setattr("django_chatgpt.services.chat.build_request", broken)
        assert process_ai_message_async(str(turn.pk))["error_code"] == "internal_error"
        assert "what Ada said" not in AITurn.objects.get().error_message + caplog.text


class TestHandedOver:
    def test_once_and_then_ended(
        self,
        leave: Leave,
        sent: list[str],
        fake: FakeOpenAI,
        django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks,
    ) -> None:
        turn = overdue(leave())
        again = AITurn.objects.get(pk=turn.pk)
        with django_capture_on_commit_callbacks(execute=True):
            assert not sweeper.sweep(turn)
            assert not sweeper.sweep(again), "somebody else was quicker"
        assert sent == [str(turn.pk)]
        seen = AITurn.objects.get()
        assert (seen.status, seen.options["handed_over"]) == ("queued", 1)
        with django_capture_on_commit_callbacks(execute=True):
            assert sweep_ai_turns() == {"ended": 0, "jobs": 0}
            overdue(turn)
            assert sweep_ai_turns() == {"ended": 1, "jobs": 0}
        assert sent == [str(turn.pk)]
        seen = AITurn.objects.get()
        assert (seen.status, seen.error_message) == (
            "interrupted",
            "No worker has begun the turn in time.",
        )
        attempt = AIUsage.objects.get()
        assert (attempt.outcome, attempt.total_tokens, attempt.estimated_cost) == ("interrupted", 0, 0)
        fake.assert_nothing_asked()

    def test_the_message_that_was_only_late_does_no_harm(self, leave: Leave, fake: FakeOpenAI) -> None:
        turn = overdue(leave())
        sweeper.sweep(turn)
        fake.reply("Hello")
        first = process_ai_message_async(str(turn.pk))
        assert process_ai_message_async(str(turn.pk)) == first
        assert len(fake.calls) == 1

    def test_where_nobody_works_any_more_it_is_ended(self, leave: Leave, settings: Settings) -> None:
        turn = overdue(leave())
        settings.OPENAI_TURN_RUNNER = "inline"
        assert sweeper.sweep(turn)
        assert AITurn.objects.get().status == "interrupted"

    def test_the_next_question_ends_it(self, leave: Leave, settings: Settings) -> None:
        turn = overdue(leave())
        AITurn.objects.update(options=turn.options | {"handed_over": 1})
        assert leave(conversation_id=turn.conversation_id).pk != turn.pk
        assert AITurn.objects.get(pk=turn.pk).status == "interrupted"


class TestNoBroker:
    @pytest.fixture(autouse=True)
    def unreachable(self, sent: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(runners, "send", mock.Mock(side_effect=WorkerUnavailableError()))

    def test_the_turn_ends_and_the_asker_is_told(
        self, leave: Leave, django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks
    ) -> None:
        with (
            pytest.raises(WorkerUnavailableError) as caught,
            django_capture_on_commit_callbacks(execute=True),
        ):
            leave()
        assert caught.value.retryable
        turn = AITurn.objects.get()
        assert (turn.status, turn.error_code, turn.active_conversation) == (
            "failed",
            "worker_unavailable",
            None,
        )
        assert (AIUsage.objects.get().outcome, AIUsage.objects.get().estimated_cost) == ("failed", 0)

    def test_a_decision_is_not_lost(
        self,
        leave: Leave,
        fake: FakeOpenAI,
        paying: None,
        user: User,
        monkeypatch: pytest.MonkeyPatch,
        django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks,
    ) -> None:
        turn = leave("Pay five")
        fake.script(Answer("One moment.", calls=[Call("pay", {"amount": 5})]), "Done.")
        process_ai_message_async(str(turn.pk))
        with django_capture_on_commit_callbacks(execute=True):
            decided = approvals.decide(user, turn.pk, approvals.Decision(True))
        assert isinstance(decided, AITurn)
        assert AITurn.objects.get().status == "queued"


class TestApproved:
    def test_a_worker_goes_on_with_it(
        self,
        leave: Leave,
        sent: list[str],
        fake: FakeOpenAI,
        paying: None,
        user: User,
        settings: Settings,
        django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks,
    ) -> None:
        settings.OPENAI_BUDGETS = [{"scope": "user", "period": "day", "limit": "1"}]
        turn = leave("Pay five")
        fake.script(Answer("One moment.", calls=[Call("pay", {"amount": 5})]), "It is done.")
        assert process_ai_message_async(str(turn.pk))["status"] == "awaiting_approval"
        with django_capture_on_commit_callbacks(execute=True):
            decided = approvals.decide(user, turn.pk, approvals.Decision(True))
        assert isinstance(decided, AITurn)
        assert (decided.status, sent) == ("queued", [str(turn.pk)])
        assert AIFunctionCall.objects.get().status == "approved"
        waiting = AIUsage.objects.get(outcome="running")
        assert waiting.reserved_cost, "what the answer may cost is held meanwhile"
        result = process_ai_message_async(str(turn.pk))
        assert result["status"] == "completed"
        assert AIFunctionCall.objects.get().status == "completed"
        assert [role for role, _, _ in said(turn)] == ["user", "assistant", "tool", "assistant"]
        assert [row.outcome for row in AIUsage.objects.order_by("id")] == ["completed", "completed"]
        assert not AIUsage.objects.exclude(reserved_cost=None).exists()
        assert process_ai_message_async(str(turn.pk)) == result

    def test_what_cannot_be_paid_for_is_not_decided(
        self, leave: Leave, fake: FakeOpenAI, paying: None, user: User, settings: Settings
    ) -> None:
        turn = leave("Pay five")
        fake.script(Answer("One moment.", calls=[Call("pay", {"amount": 5})]))
        process_ai_message_async(str(turn.pk))
        settings.OPENAI_BUDGETS = [{"scope": "user", "period": "day", "limit": "0.000001"}]
        with pytest.raises(QuotaExceededError):
            approvals.decide(user, turn.pk, approvals.Decision(True))
        assert AITurn.objects.get().status == "awaiting_approval"
        assert AIFunctionCall.objects.get().status == "awaiting_approval"
