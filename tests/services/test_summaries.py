"""What a conversation has no room for any more, summed up: when, of what, and what becomes of it."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from pytest_django import Settings

from django_chatgpt.adapter import Adapter
from django_chatgpt.core.events import Content, Finished, Started
from django_chatgpt.core.summary import PREFACE
from django_chatgpt.exceptions import QuotaExceededError
from django_chatgpt.functions import function_registry
from django_chatgpt.models import AIConversation, AIMessage, AITurn, AIUsage
from django_chatgpt.services import AIService, approvals, chat, summaries, tokens
from django_chatgpt.storage.summaries import KEY
from django_chatgpt.testing import Answer, Call, Failure, FakeOpenAI, Request

if TYPE_CHECKING:
    from tests.services.conftest import Async, Sync

    Colour = Sync | Async

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def site(settings: Settings) -> None:
    """A model for which an exchange of the conversation takes 208 of the 1,100 tokens that it takes in."""
    settings.OPENAI_SUMMARIZE_HISTORY = True
    settings.OPENAI_DEFAULT_MODEL = "gpt-4o"
    settings.OPENAI_CONTEXT_WINDOW = {"gpt-4o": 2_000}
    settings.OPENAI_MAX_TOKENS = 400
    settings.OPENAI_PRICES = {"gpt-4o": {"input": 1, "output": 1}}
    settings.OPENAI_MAX_RETRIES = 0


@pytest.fixture
def conversation(user: User) -> AIConversation:
    """Of forty messages; the site keeps something with it."""
    conversation = AIConversation.objects.create(user=user, metadata={"theme": "tea"})
    AIMessage.objects.bulk_create(
        AIMessage(
            conversation=conversation,
            sequence=number,
            role=("assistant", "user")[number % 2],
            content=f"Line {number}. " + "word " * 95,
            token_count=100,
        )
        for number in range(1, 41)
    )
    return conversation


def is_about_notes(request: Request) -> bool:
    return any("You keep the notes" in text for text in request.texts)


def noted(fake: FakeOpenAI) -> list[Request]:
    return [call for call in fake.calls if is_about_notes(call)]


def numbered(fake: FakeOpenAI, *others: Any) -> None:
    """Have notes answered by "Notes 1" and so on, or first by `others`."""
    rule = fake.when(where=is_about_notes).answer(*others)
    rule.respond_with(lambda request: f"Notes {len(noted(fake))}")


def kept(conversation: AIConversation) -> Any:
    conversation.refresh_from_db()
    assert conversation.metadata["theme"] == "tea"
    return conversation.metadata.get(KEY)


def told(request: Request) -> list[str]:
    """The system lines of a request, in either dialect."""
    if "input" in request.body:
        return [request.body["instructions"]] if "instructions" in request.body else []
    return [text_of(line) for line in request.messages if line["role"] == "system"]


def text_of(line: dict[str, Any]) -> str:
    content = line["content"]
    return content if isinstance(content, str) else "".join(part["text"] for part in content)


def test_it_is_made_once_kept_and_sent_from_then_on(
    colour: Colour, dialect: str, user: User, conversation: AIConversation, fake_openai: FakeOpenAI
) -> None:
    numbered(fake_openai)
    fake_openai.script("Hello.", "Well.")
    reply = colour.ask(AIService(user), "And now?", conversation)
    assert reply.content == "Hello."
    about, asked = fake_openai.calls
    assert "Line 30." in about.question
    assert "Line 36." in about.question, "some of what is still sent, too"
    assert "And now?" not in about.question
    assert told(asked) == [f"{PREFACE}Notes 1"]
    assert kept(conversation) == {"text": "Notes 1", "covers": 36}
    rows = AIUsage.objects.filter(turn=reply.turn_id, kind="chat", outcome="completed")
    assert rows.count() == 2
    conversation.refresh_from_db()
    assert reply.cost == sum(row.estimated_cost or Decimal(0) for row in rows) == conversation.total_cost
    assert reply.usage.total_tokens == sum(row.total_tokens for row in rows) == conversation.total_tokens
    colour.ask(AIService(user), "And then?", conversation)
    assert len(noted(fake_openai)) == 1
    assert told(fake_openai.calls[-1]) == [f"{PREFACE}Notes 1"]


def test_it_is_extended_only_when_noticeably_more_was_left_out(
    user: User, conversation: AIConversation, fake_openai: FakeOpenAI
) -> None:
    numbered(fake_openai)
    fake_openai.respond_with(lambda request: "Well. " + "word " * 95)
    for number in range(12):
        AIService(user).ask(f"Question {number} " + "word " * 95, conversation)
    about = noted(fake_openai)
    assert 3 <= len(about) <= 5
    assert "Your notes so far:\nNotes 1" in about[1].question
    assert "Line 30." not in about[1].question
    assert kept(conversation)["text"] == f"Notes {len(about)}"


def test_nothing_is_left_out_that_it_does_not_cover(
    user: User, conversation: AIConversation, fake_openai: FakeOpenAI
) -> None:
    numbered(fake_openai)
    for number in range(8):
        AIService(user).ask(f"Question {number} " + "word " * 95, conversation)
        sent = [text_of(line) for line in fake_openai.calls[-1].messages if line["role"] == "user"]
        first = conversation.messages.get(content=sent[0])
        assert first.sequence <= kept(conversation)["covers"] + 1


@pytest.mark.parametrize("failure", [Failure(500), Answer(""), Answer("x y z", cut_after=1)], ids=repr)
def test_a_question_is_answered_without_it_where_it_fails(
    colour: Colour,
    dialect: str,
    failure: Any,
    user: User,
    conversation: AIConversation,
    fake_openai: FakeOpenAI,
) -> None:
    numbered(fake_openai, failure)
    fake_openai.script("Hello.")
    assert colour.ask(AIService(user), "And now?", conversation).content == "Hello."
    assert told(fake_openai.calls[-1]) == []
    assert kept(conversation) is None
    assert not AIUsage.objects.filter(outcome="running").exists()
    assert AIUsage.objects.count() == 2
    colour.ask(AIService(user), "And then?", conversation)
    assert kept(conversation)["text"] == "Notes 2"


def test_a_question_is_answered_without_it_where_it_can_not_even_be_asked_for(
    user: User,
    conversation: AIConversation,
    fake_openai: FakeOpenAI,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def broken(*args: Any) -> Any:
        raise RuntimeError

    monkeypatch.setattr(summaries.storage, "said", broken)
    fake_openai.script("Hello.")
    assert AIService(user).ask("And now?", conversation).content == "Hello."
    assert len(fake_openai.calls) == 1


def test_somebody_who_leaves_meanwhile_leaves_nothing_half_done(
    colour: Colour,
    user: User,
    conversation: AIConversation,
    fake_openai: FakeOpenAI,
    settings: Settings,
) -> None:
    settings.OPENAI_ON_DISCONNECT = "cancel"
    fake_openai.when(where=is_about_notes).answer(Answer("Notes and more notes", stall_after=1))
    colour.leave_after(AIService(user), Started, "And now?", conversation)
    turn = AITurn.objects.get()
    assert (turn.status, turn.partial_text) == ("cancelled", "")
    assert AIMessage.objects.filter(turn=turn).values_list("role", "status").get() == ("user", "complete")
    assert not AIUsage.objects.filter(outcome="running").exists()
    assert kept(conversation) is None


def test_a_stop_is_heard_while_it_is_made(
    user: User, conversation: AIConversation, fake_openai: FakeOpenAI
) -> None:
    """Before the model is asked for the answer."""
    numbered(fake_openai)
    prepared = chat.begin(chat.Ask(user=user, text="And now?", conversation_id=conversation.pk))
    assert isinstance(prepared, chat.Prepared)
    AITurn.objects.update(cancel_requested_at=timezone.now())
    events = list(chat.run(prepared))
    assert [event and event.type for event in events] == ["start", "finish", "done"]
    assert isinstance(events[1], Finished)
    assert events[1].reason == "cancelled"
    assert len(fake_openai.calls) == 1
    assert AIUsage.objects.get().outcome == "completed", "what was paid for is kept"
    assert kept(conversation)["text"] == "Notes 1"


def test_off_it_costs_nothing(
    colour: Colour,
    user: User,
    conversation: AIConversation,
    fake_openai: FakeOpenAI,
    settings: Settings,
) -> None:
    settings.OPENAI_SUMMARIZE_HISTORY = False
    conversation.metadata[KEY] = {"text": "Old notes", "covers": 36}
    conversation.save()
    with CaptureQueriesContext(connection) as queries:
        colour.ask(AIService(user), "And now?", conversation)
    read = [each["sql"] for each in queries if each["sql"].startswith("SELECT")]
    assert not [sql for sql in read if "ai_conversation" in sql and "metadata" in sql]
    assert len(fake_openai.calls) == 1
    assert told(fake_openai.calls[0]) == []


def test_a_short_conversation_needs_none(colour: Colour, user: User, fake_openai: FakeOpenAI) -> None:
    first = colour.ask(AIService(user), "Hi")
    colour.ask(AIService(user), "And now?", first.conversation_id)
    assert noted(fake_openai) == []


def test_what_must_not_be_sent_is_not_sent_for_it_either(
    user: User, conversation: AIConversation, fake_openai: FakeOpenAI, settings: Settings
) -> None:
    settings.OPENAI_ADAPTER = f"{__name__}.Redacting"
    secret = "swordfish"
    text = "word " * ((summaries.LINE_CHARACTERS - 4) // 5) + secret
    conversation.messages.filter(sequence=35).update(content=text)
    conversation.messages.filter(sequence=33).update(content=f"It is {secret}.")
    numbered(fake_openai)
    AIService(user).ask("And now?", conversation)
    [about] = noted(fake_openai)
    assert "It is ***." in about.question
    assert "sword" not in about.question


class Redacting(Adapter):
    """Of a site with a password."""

    def redact(self, text: str) -> str:
        return text.replace("swordfish", "***")


def test_what_is_asked_fits_the_window_however_much_was_said(
    user: User, conversation: AIConversation, fake_openai: FakeOpenAI
) -> None:
    conversation.messages.update(content="日本語 " * 5_000, token_count=None)
    conversation.messages.filter(sequence=40).update(content="Well.")
    numbered(fake_openai)
    AIService(user).ask("And now?", conversation)
    [about] = noted(fake_openai)
    size = sum(tokens.count_message(line, "gpt-4o") for line in about.body["messages"])
    assert size < 2_000 - 400 - 500


def test_notes_that_are_too_long_are_cut(
    user: User, conversation: AIConversation, fake_openai: FakeOpenAI
) -> None:
    numbered(fake_openai, "note " * 900)
    AIService(user).ask("And now?", conversation)
    text = kept(conversation)["text"]
    assert text.startswith("note note")
    assert tokens.count_text(PREFACE + text, "gpt-4o") <= 1_100 // 8


def test_a_question_that_leaves_no_room_goes_without(
    colour: Colour, user: User, conversation: AIConversation, fake_openai: FakeOpenAI
) -> None:
    numbered(fake_openai)
    colour.ask(AIService(user), "And now?", conversation)
    colour.ask(AIService(user), "word " * 1_085, conversation)
    assert told(fake_openai.calls[-1]) == []
    assert len(noted(fake_openai)) == 1
    assert kept(conversation)["text"] == "Notes 1"


def test_a_question_is_judged_before_anything_is_summed_up(
    user: User, conversation: AIConversation, fake_openai: FakeOpenAI, settings: Settings
) -> None:
    settings.OPENAI_ALLOWED_TOPICS = ["tea"]
    numbered(fake_openai)
    fake_openai.script('{"on_topic": true}', "Hello.")
    assert AIService(user).ask("And now?", conversation).content == "Hello."
    order = [is_about_notes(call) for call in fake_openai.calls]
    assert order == [False, True, False]
    assert AIUsage.objects.filter(outcome="completed").count() == 3


def test_a_turn_that_rested_knows_it(
    user: User, conversation: AIConversation, fake_openai: FakeOpenAI, pay: None
) -> None:
    numbered(fake_openai)
    fake_openai.script(Answer(calls=[Call("pay", {"amount": 5})]), "Paid.")
    AIService(user).ask("Pay five", conversation)
    prepared = approvals.decide(user, AITurn.objects.get().pk, approvals.Decision(approve=True))
    assert isinstance(prepared, chat.Prepared)
    events = list(chat.run(prepared))
    assert [event.content for event in events if isinstance(event, Content)]
    assert told(fake_openai.calls[-1]) == [f"{PREFACE}Notes 1"]
    assert len(noted(fake_openai)) == 1


@pytest.fixture
def pay() -> Any:
    def pay(amount: int) -> str:
        """Pay somebody."""
        return f"paid {amount}"

    function_registry.register(pay, requires_approval=True)
    yield
    function_registry.unregister("pay")


def test_it_goes_with_its_conversation(
    user: User, conversation: AIConversation, fake_openai: FakeOpenAI
) -> None:
    numbered(fake_openai)
    AIService(user).ask("And now?", conversation)
    assert kept(conversation)
    conversation.delete()
    assert not AIConversation.objects.filter(metadata__has_key=KEY).exists()


def test_what_is_no_summary_is_not_taken_for_one(
    user: User, conversation: AIConversation, fake_openai: FakeOpenAI
) -> None:
    conversation.metadata[KEY] = "mine"
    conversation.save()
    numbered(fake_openai)
    AIService(user).ask("And now?", conversation)
    assert kept(conversation)["text"] == "Notes 1"


def test_a_budget_holds_for_it_too(
    user: User, conversation: AIConversation, fake_openai: FakeOpenAI, settings: Settings
) -> None:
    """Each of both calls may take 1,103 tokens in and 400 out, and both are reserved."""
    settings.OPENAI_BUDGETS = [{"scope": "user", "period": "day", "limit": "0.0029"}]
    with pytest.raises(QuotaExceededError):
        AIService(user).ask("And now?", conversation)
    fake_openai.assert_nothing_asked()
    settings.OPENAI_BUDGETS = [{"scope": "user", "period": "day", "limit": "0.0031"}]
    numbered(fake_openai)
    assert AIService(user).ask("And now?", conversation).cost
    assert len(fake_openai.calls) == 2
    assert not AIUsage.objects.filter(outcome="running").exists()
