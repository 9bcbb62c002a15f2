"""What the site refuses to send or to show: patterns, moderation, topics, answers that are held back."""

from __future__ import annotations

import re
from typing import Any
from uuid import UUID

import pytest
from asgiref.sync import async_to_sync
from pytest_django import Settings

from django_chatgpt.core.events import Content, Failed, TurnEvent
from django_chatgpt.core.screening import ANSWER_REFUSED, OFF_TOPIC, WINDOW
from django_chatgpt.core.window import Window
from django_chatgpt.exceptions import AIServiceError, ContentFilterError
from django_chatgpt.models import AIConversation, AIMessage, AITurn, AIUsage
from django_chatgpt.services import AIService, patterns, tokens
from django_chatgpt.storage.history import load_history
from django_chatgpt.testing import HTML, Answer, Call, Failure, FakeOpenAI
from django_chatgpt.testing.recorder import Request

pytestmark = pytest.mark.django_db

MODEL = "omni-moderation-latest"
ON, OFF = '{"on_topic": true}', '{"on_topic": false}'


@pytest.fixture
def fake(fake_openai: FakeOpenAI, settings: Settings) -> FakeOpenAI:
    settings.OPENAI_MAX_RETRIES = 0
    return fake_openai


@pytest.fixture
def moderated(fake: FakeOpenAI, settings: Settings) -> FakeOpenAI:
    settings.OPENAI_MODERATION_MODEL = MODEL
    fake.flag("poison", "illicit")
    return fake


@pytest.fixture
def held_back(moderated: FakeOpenAI, settings: Settings) -> FakeOpenAI:
    settings.OPENAI_MODERATE_OUTPUT = True
    return moderated


def refused(colour: Any, service: AIService, text: str, *args: Any, **options: Any) -> ContentFilterError:
    with pytest.raises(AIServiceError) as caught:
        colour.ask(service, text, *args, **options)
    assert caught.value.code in ("content_filter", "filter_unavailable")
    return caught.value  # type: ignore[return-value]


def said(events: list[TurnEvent]) -> str:
    return "".join(event.content for event in events if isinstance(event, Content))


def said_in(request: Request, words: str) -> bool:
    return any(words in text for text in request.texts)


def remembered(conversation_id: UUID) -> list[str]:
    """What the next question of a conversation brings along."""
    window = Window(100_000, tokens.count_content)
    return [line["content"] for line in load_history(conversation_id, window).messages]


def lines() -> list[tuple[str, str, str]]:
    return [(each.role, each.status, each.content) for each in AIMessage.objects.order_by("sequence")]


def validate(colour: Any, service: AIService, text: str) -> None:
    if colour.name == "sync":
        service.validate_content(text)
    else:
        async_to_sync(service.avalidate_content)(text)


class TestPatterns:
    @pytest.fixture(autouse=True)
    def _forbidden(self, settings: Settings) -> None:
        settings.OPENAI_FORBIDDEN_PATTERNS = [r"(?i)\bpassword\b", re.compile(r"^\d{16}$", re.MULTILINE)]

    def test_a_refused_question_is_stored_and_not_sent(
        self, colour: Any, user: Any, fake: FakeOpenAI
    ) -> None:
        error = refused(colour, AIService(user), "My PASSWORD is tea")
        assert error.code == "content_filter"
        fake.assert_nothing_asked()
        assert lines() == [("user", "refused", "My PASSWORD is tea")]
        assert AIMessage.objects.get().metadata == {"refused_by": r"(?i)\bpassword\b"}
        turn = AITurn.objects.get()
        assert (turn.status, turn.error_code, turn.active_conversation) == ("failed", "content_filter", None)
        assert turn.finished_at is not None
        assert not AIUsage.objects.exists()

    def test_the_conversation_goes_on_without_it(self, colour: Any, user: Any, fake: FakeOpenAI) -> None:
        refused(colour, AIService(user), "password?")
        conversation = AIConversation.objects.get()
        fake.reply("Hello.")
        assert colour.ask(AIService(user), "Hi", conversation.pk).content == "Hello."
        assert not said_in(fake.calls[0], "password")
        assert remembered(conversation.pk) == ["Hi", "Hello."]

    def test_an_idempotency_key_is_honoured(self, colour: Any, user: Any, fake: FakeOpenAI) -> None:
        for _ in range(2):
            error = refused(colour, AIService(user), "password?", idempotency_key="k")
            assert error.code == "content_filter"
        assert AITurn.objects.count() == AIMessage.objects.count() == 1

    def test_a_busy_conversation_is_a_conflict(self, colour: Any, user: Any, fake: FakeOpenAI) -> None:
        """The running turn has given its answer a number already."""
        conversation = AIConversation.objects.create(user=user)
        AITurn.objects.create(conversation=conversation, user=user, status="running")
        with pytest.raises(AIServiceError) as caught:
            colour.ask(AIService(user), "password?", conversation.pk)
        assert caught.value.code == "turn_running"
        assert not AIMessage.objects.exists()

    def test_the_flags_of_a_compiled_pattern_count(self, colour: Any, user: Any, fake: FakeOpenAI) -> None:
        refused(colour, AIService(user), "Card:\n1234567812345678\nthanks")
        assert colour.ask(AIService(user), "No. 12345678123456789").content

    def test_the_switch_turns_it_off(
        self, colour: Any, user: Any, moderated: FakeOpenAI, settings: Settings
    ) -> None:
        settings.OPENAI_CONTENT_FILTER = False
        settings.OPENAI_ALLOWED_TOPICS = ["tea"]
        settings.OPENAI_MODERATE_OUTPUT = True
        assert colour.ask(AIService(user), "password poison").content
        validate(colour, AIService(user), "password poison")
        assert len(moderated.requests) == len(moderated.calls) == 1

    def test_stateless_questions_too(self, colour: Any, user: Any, fake: FakeOpenAI) -> None:
        earlier = [{"role": "user", "content": "password"}, {"role": "assistant", "content": "Yes?"}]
        for messages in ([*earlier, {"role": "user", "content": "Hi"}], earlier[:1]):
            with pytest.raises(ContentFilterError):
                colour.complete(AIService(user), messages)
            with pytest.raises(ContentFilterError):
                colour.chunks(AIService(user), messages)
        fake.assert_nothing_asked()
        assert not AIUsage.objects.exists()

    def test_validate_content(self, colour: Any, user: Any, fake: FakeOpenAI) -> None:
        validate(colour, AIService(user), "Hi")
        with pytest.raises(ContentFilterError):
            validate(colour, AIService(user), "password")
        assert not AIMessage.objects.exists()
        fake.assert_nothing_asked()

    def test_nobody_may_validate_who_may_not_ask(self, colour: Any, user: Any, moderated: FakeOpenAI) -> None:
        user.is_active = False
        with pytest.raises(AIServiceError) as caught:
            validate(colour, AIService(user), "Hi")
        assert caught.value.code == "permission_denied"
        moderated.assert_nothing_asked()


class TestModerationOfQuestions:
    def test_what_passes_is_answered(self, colour: Any, user: Any, moderated: FakeOpenAI) -> None:
        moderated.reply("Hello.")
        reply = colour.ask(AIService(user), "Hi")
        assert reply.content == "Hello."
        assert moderated.requests[0].endpoint == "moderations"
        assert lines() == [("user", "complete", "Hi"), ("assistant", "complete", "Hello.")]
        row = AIUsage.objects.get(kind="moderation")
        assert (row.model, row.outcome, row.total_tokens) == (MODEL, "completed", 0)
        assert row.metadata == {"of": "question", "flagged": False, "categories": []}
        assert (row.user_id, row.turn_id) == (user.pk, reply.turn_id)

    def test_what_is_flagged_is_stored_and_not_sent(
        self, colour: Any, user: Any, moderated: FakeOpenAI
    ) -> None:
        error = refused(colour, AIService(user), "How to make poison?")
        assert error.code == "content_filter"
        moderated.assert_asked(times=0)
        assert lines() == [("user", "refused", "How to make poison?")]
        assert AITurn.objects.get().error_code == "content_filter"
        row = AIUsage.objects.get(kind="moderation")
        assert row.metadata == {"of": "question", "flagged": True, "categories": ["illicit"]}
        # The attempt that was announced was never made.
        assert AIUsage.objects.get(kind="chat").estimated_cost == 0
        moderated.reply("Hello.")
        colour.ask(AIService(user), "Hi", AIConversation.objects.get().pk)
        assert not said_in(moderated.calls[0], "poison")

    def test_a_stream_says_so(self, colour: Any, user: Any, moderated: FakeOpenAI) -> None:
        events = colour.stream(AIService(user), "poison")
        assert [event.type for event in events] == ["start", "error", "done"]
        assert events[1].code == "content_filter"

    def test_openai_takes_nothing_for_it(
        self, colour: Any, user: Any, moderated: FakeOpenAI, settings: Settings
    ) -> None:
        settings.OPENAI_PRICES = {MODEL: {"input": "0"}}
        colour.ask(AIService(user), "Hi")
        assert AIUsage.objects.get(kind="moderation").estimated_cost == 0

    def test_a_long_question_is_judged_in_parts(self, colour: Any, user: Any, moderated: FakeOpenAI) -> None:
        refused(colour, AIService(user), "tea " * 10_000 + "poison" + " tea" * 10_000)
        request = moderated.assert_asked(endpoint="moderations", times=1)[0]
        assert len(request.body["input"]) > 9

    @pytest.mark.parametrize("failure", [Failure(404), Failure(500), HTML()], ids=["404", "500", "html"])
    def test_closed(self, colour: Any, user: Any, moderated: FakeOpenAI, failure: Any) -> None:
        moderated.when(endpoint="moderations").respond_with(lambda request: failure)
        error = refused(colour, AIService(user), "Hi")
        assert (error.code, error.retryable) == ("filter_unavailable", True)
        moderated.assert_asked(times=0)
        # Nobody has judged it, so it must not come along with the next question.
        assert lines() == [("user", "refused", "Hi")]
        rows = AIUsage.objects.filter(kind="moderation")
        assert rows.count() == len(moderated.requests)
        assert {row.outcome for row in rows} == {"failed"}
        assert all(row.error_code for row in rows)

    def test_open(self, colour: Any, user: Any, moderated: FakeOpenAI, settings: Settings) -> None:
        settings.OPENAI_FILTER_FAILURE = "open"
        moderated.when(endpoint="moderations").respond_with(lambda request: Failure(404))
        moderated.reply("Hello.")
        assert colour.ask(AIService(user), "Hi").content == "Hello."
        assert lines()[0] == ("user", "complete", "Hi")

    def test_tried_once_more(self, colour: Any, user: Any, moderated: FakeOpenAI) -> None:
        moderated.when(endpoint="moderations").answer(Failure(500))
        assert colour.ask(AIService(user), "Hi").content
        outcomes = AIUsage.objects.filter(kind="moderation").order_by("timestamp", "pk")
        assert sorted(row.outcome for row in outcomes) == ["completed", "failed"]

    def test_stateless_questions_too(self, colour: Any, user: Any, moderated: FakeOpenAI) -> None:
        for text, flagged in (("Hi", False), ("poison", True)):
            messages = [{"role": "user", "content": text}]
            if flagged:
                with pytest.raises(ContentFilterError):
                    colour.complete(AIService(user), messages)
            else:
                assert colour.complete(AIService(user), messages).choices
        moderated.assert_asked(times=1)
        assert AIUsage.objects.filter(kind="moderation", turn=None).count() == 2

    def test_validate_content(self, colour: Any, user: Any, moderated: FakeOpenAI) -> None:
        validate(colour, AIService(user), "Hi")
        with pytest.raises(ContentFilterError):
            validate(colour, AIService(user), "poison")
        assert AIUsage.objects.filter(kind="moderation", outcome="completed").count() == 2


class TestTopics:
    @pytest.fixture(autouse=True)
    def _topics(self, settings: Settings, dialect: str) -> None:
        settings.OPENAI_ALLOWED_TOPICS = ["tea", "kettles"]
        settings.OPENAI_PRICES = {"gpt-6-luna": {"input": "1", "output": "2"}}

    def test_on_topic(self, colour: Any, user: Any, fake: FakeOpenAI) -> None:
        fake.script(ON, "Three minutes.")
        reply = colour.ask(AIService(user), "How long?")
        assert reply.content == "Three minutes."
        asked, answered = fake.calls
        assert said_in(asked, "kettles")
        assert not said_in(answered, "kettles")
        assert lines() == [("user", "complete", "How long?"), ("assistant", "complete", "Three minutes.")]
        rows = AIUsage.objects.filter(kind="chat")
        assert rows.count() == 2
        assert reply.cost == sum(row.estimated_cost or 0 for row in rows)
        assert AIConversation.objects.get().total_tokens == sum(row.total_tokens for row in rows)

    def test_off_topic(self, colour: Any, user: Any, fake: FakeOpenAI) -> None:
        fake.script(OFF)
        error = refused(colour, AIService(user), "Who won the race?")
        assert (error.code, error.message) == ("content_filter", OFF_TOPIC)
        assert len(fake.calls) == 1
        assert lines() == [("user", "refused", "Who won the race?")]
        row = AIUsage.objects.get()
        assert (row.outcome, row.usage_source) == ("completed", "provider")
        assert row.estimated_cost

    def test_a_stream_shows_nothing_of_the_judgement(self, colour: Any, user: Any, fake: FakeOpenAI) -> None:
        fake.script(ON, "Three minutes.")
        assert said(colour.stream(AIService(user), "How long?")) == "Three minutes."

    def test_a_follow_up_is_judged_with_what_was_said(self, colour: Any, user: Any, fake: FakeOpenAI) -> None:
        fake.script(ON, "Three minutes.", ON, "Five.")
        first = colour.ask(AIService(user), "How long does green tea take?")
        colour.ask(AIService(user), "And black?", first.conversation_id)
        assert said_in(fake.calls[2], "green tea")

    def test_another_model(self, colour: Any, user: Any, fake: FakeOpenAI, settings: Settings) -> None:
        settings.OPENAI_CLASSIFIER_MODEL = "gpt-5.4-mini"
        fake.script(ON, "Three minutes.")
        colour.ask(AIService(user), "How long?")
        assert [request.model for request in fake.calls] == ["gpt-5.4-mini", "gpt-6-luna"]
        models = AIUsage.objects.order_by("pk").values_list("model", flat=True)
        assert list(models) == ["gpt-5.4-mini", "gpt-6-luna"]

    @pytest.mark.parametrize("step", ["Perhaps.", Failure(500)], ids=["words", "500"])
    @pytest.mark.parametrize("failure", ["closed", "open"])
    def test_no_answer_to_go_by(
        self, colour: Any, user: Any, fake: FakeOpenAI, settings: Settings, step: Any, failure: str
    ) -> None:
        settings.OPENAI_FILTER_FAILURE = failure
        fake.script(step, "Hello.")
        if failure == "open":
            assert colour.ask(AIService(user), "Hi").content == "Hello."
        else:
            assert refused(colour, AIService(user), "Hi").code == "filter_unavailable"
            assert lines() == [("user", "refused", "Hi")]
        assert not AIUsage.objects.filter(outcome="running").exists()

    def test_stateless(self, colour: Any, user: Any, fake: FakeOpenAI) -> None:
        fake.script(OFF, ON, "Hello.", OFF)
        messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}]
        with pytest.raises(ContentFilterError):
            colour.complete(AIService(user), messages)
        assert colour.complete(AIService(user), messages).choices[0].message.content == "Hello."
        with pytest.raises(ContentFilterError):
            validate(colour, AIService(user), "Hi")
        assert AIUsage.objects.filter(kind="chat", outcome="completed").count() == 4


class TestHeldBackAnswers:
    def test_what_passes_is_shown(self, colour: Any, user: Any, held_back: FakeOpenAI) -> None:
        text = "A kettle boils water. " * 100
        held_back.reply(text, chunks=[text[start : start + 7] for start in range(0, len(text), 7)])
        events = colour.stream(AIService(user), "Hi")
        assert said(events) == text
        assert lines()[1] == ("assistant", "complete", text)
        judged = AIUsage.objects.filter(kind="moderation", metadata__of="answer").count()
        assert judged == len(held_back.assert_asked(endpoint="moderations")) - 1
        assert AIUsage.objects.filter(kind="chat").count() == 1

    def test_what_is_flagged_is_never_shown(self, colour: Any, user: Any, held_back: FakeOpenAI) -> None:
        fine = "All is well. " * (WINDOW // 10)
        chunks = [fine, "Take the poi", "son now. ", "More of it."]
        held_back.reply("".join(chunks), chunks=chunks, delay=0.05)
        events = colour.stream(AIService(user), "Hi")
        shown = said(events)
        assert fine.startswith(shown)
        (failed,) = [event for event in events if isinstance(event, Failed)]
        assert (failed.code, failed.message) == ("content_filter", ANSWER_REFUSED)
        question, answer = AIMessage.objects.order_by("sequence")
        assert question.status == "complete"
        assert (answer.status, answer.content) == ("refused", shown)
        assert "poison" in shown + answer.metadata["withheld"]
        assert "poison" not in AITurn.objects.get().partial_text
        assert "poison" not in str(remembered(question.conversation_id))
        row = AIUsage.objects.get(kind="chat")
        assert (row.outcome, row.error_code) == ("failed", "content_filter")
        assert row.usage_source in ("provider", "estimated")

    def test_whole(self, colour: Any, user: Any, held_back: FakeOpenAI) -> None:
        held_back.reply("poison")
        assert refused(colour, AIService(user), "Hi").message == ANSWER_REFUSED
        assert lines()[1] == ("assistant", "refused", "")

    @pytest.mark.parametrize("failure", ["closed", "open"])
    def test_nobody_there_to_judge(
        self, colour: Any, user: Any, held_back: FakeOpenAI, settings: Settings, failure: str
    ) -> None:
        settings.OPENAI_FILTER_FAILURE = failure
        held_back.reply("secret words")
        held_back.when(
            endpoint="moderations", where=lambda request: "secret" in str(request.body)
        ).respond_with(lambda request: Failure(404))
        if failure == "open":
            assert colour.ask(AIService(user), "Hi").content == "secret words"
        else:
            assert refused(colour, AIService(user), "Hi").code == "filter_unavailable"
            assert lines()[1] == ("assistant", "refused", "")

    def test_what_is_said_before_a_call_is_judged_first(
        self, colour: Any, user: Any, held_back: FakeOpenAI
    ) -> None:
        made: list[int] = []

        def look_up() -> str:
            """Look it up."""
            made.append(1)
            return "found"

        held_back.script(Answer("Some poison first.", calls=[Call("look_up", {})]))
        refused(colour, AIService(user), "Hi", functions=[look_up])
        assert not made

        held_back.script(Answer("I look.", calls=[Call("look_up", {})]), "Found.")
        events = colour.stream(AIService(user), "Hi", functions=[look_up])
        kinds = [event.type for event in events]
        assert kinds.index("content") < kinds.index("function_call_start")
        assert made == [1]

    def test_left_while_held_back(
        self, colour: Any, user: Any, held_back: FakeOpenAI, settings: Settings
    ) -> None:
        """What nobody has judged is not shown afterwards either."""
        settings.OPENAI_ON_DISCONNECT = "cancel"
        fine = "All is well. " * (WINDOW // 10)
        held_back.reply(chunks=[fine, "poison ", "and ", "more"], delay=0.3)
        colour.leave_after(AIService(user), Content, "Hi")
        answer = AIMessage.objects.get(role="assistant")
        assert answer.status == "cancelled"
        assert "poison" not in answer.content
        assert fine.startswith(answer.content)
        assert AITurn.objects.get().partial_text == answer.content

    def test_stateless(self, colour: Any, user: Any, held_back: FakeOpenAI) -> None:
        messages = [{"role": "user", "content": "Hi"}]
        held_back.script("Hello.", "poison", "Hello again.")
        assert colour.complete(AIService(user), messages).choices[0].message.content == "Hello."
        again = [{"role": "user", "content": "Hi again"}]
        with pytest.raises(ContentFilterError):
            colour.complete(AIService(user), again)
        chunks = colour.chunks(AIService(user), messages)
        assert (
            "".join(each.choices[0].delta.content or "" for each in chunks if each.choices) == "Hello again."
        )

    def test_stateless_chunks(self, colour: Any, user: Any, held_back: FakeOpenAI) -> None:
        held_back.reply(chunks=["Fine. " * WINDOW, "poi", "son"])
        with pytest.raises(ContentFilterError):
            colour.chunks(AIService(user), [{"role": "user", "content": "Hi"}])
        assert AIUsage.objects.get(kind="chat").error_code == "content_filter"


def test_nothing_is_asked_where_nothing_is_set(
    colour: Any, user: Any, fake: FakeOpenAI, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(text: str) -> Any:
        raise AssertionError("looked at a text")

    monkeypatch.setattr(patterns, "forms", never)
    settings.OPENAI_MODERATE_OUTPUT = True
    fake.reply("Hello.")
    assert colour.ask(AIService(user), "Hi").content == "Hello."
    assert len(fake.requests) == 1
    assert AIUsage.objects.count() == 1
