"""Turns that end in the worst moment: calls approved, results missing, ids used twice, nobody looking."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.contrib.auth.models import User
from django.db import OperationalError
from django.utils import timezone
from pytest_django import Settings

from django_chatgpt.core.effects import Stopped
from django_chatgpt.core.events import Finished
from django_chatgpt.core.history import NO_ANSWER, UNKNOWN_RESULT
from django_chatgpt.exceptions import AIServiceError, ContentFilterError
from django_chatgpt.functions import Function, function_registry
from django_chatgpt.models import (
    AIConfiguration,
    AIConversation,
    AIFunctionCall,
    AIMessage,
    AITurn,
    AIUsage,
)
from django_chatgpt.runtime import inline
from django_chatgpt.runtime.tasks import wait_for_turns
from django_chatgpt.services import AIService, approvals, chat, follow
from django_chatgpt.services.turns import TurnLog
from django_chatgpt.storage import calls as call_storage
from django_chatgpt.testing import Answer, Call, Failure, FakeOpenAI

pytestmark = pytest.mark.django_db

PAID: list[int] = []
COLOURS = ["sync", "async"]


def pay(amount: int) -> str:
    """Pay somebody."""
    PAID.append(amount)
    return f"paid {amount}"


def look(word: str) -> str:
    """Look something up."""
    return f"{word} means nothing"


@pytest.fixture(autouse=True)
def functions() -> Iterator[None]:
    PAID.clear()
    function_registry.register(pay, requires_approval=True, timeout=40)
    function_registry.register(look)
    yield
    for name in ("pay", "look"):
        function_registry.unregister(name)


def rest(user: User, fake: FakeOpenAI, *then: Any, **options: Any) -> AITurn:
    """A turn in which paying waits for approval."""
    fake.script(Answer(calls=[Call("pay", {"amount": 5})]), *then)
    AIService(user).ask("Pay five", **options)
    return AITurn.objects.get(status="awaiting_approval")


def approve(user: User, turn: AITurn) -> chat.Prepared:
    prepared = approvals.decide(user, turn.pk, approvals.Decision(approve=True))
    assert isinstance(prepared, chat.Prepared)
    return prepared


def test_an_approved_call_may_take_longer_than_the_lease(user: User, fake_openai: FakeOpenAI) -> None:
    turn = rest(user, fake_openai)
    before = timezone.now()
    approve(user, turn)
    turn.refresh_from_db()
    assert turn.lease_expires_at is not None
    assert turn.lease_expires_at > before + timedelta(seconds=60)


def test_what_an_approved_call_returned_is_kept_if_the_turn_then_fails(
    user: User, fake_openai: FakeOpenAI, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepared = approve(user, rest(user, fake_openai))

    def away(*args: Any) -> bool:
        raise RuntimeError

    monkeypatch.setattr(TurnLog, "save_results", away)
    list(chat.run(prepared))
    assert PAID == [5]
    assert AITurn.objects.get().status == "failed"
    assert AIFunctionCall.objects.get().status == "completed"
    assert AIMessage.objects.get(role="tool").content == "paid 5"


def test_a_decision_that_can_not_be_carried_out_is_taken_back(
    user: User, fake_openai: FakeOpenAI, monkeypatch: pytest.MonkeyPatch
) -> None:
    turn = rest(user, fake_openai)

    def broken(*args: Any, **options: Any) -> Any:
        raise RuntimeError

    with monkeypatch.context() as patched:
        patched.setattr(chat, "prepare", broken)
        with pytest.raises(RuntimeError):
            approvals.decide(user, turn.pk, approvals.Decision(approve=True))
    turn.refresh_from_db()
    assert turn.status == "awaiting_approval"
    assert AIFunctionCall.objects.get().status == "awaiting_approval"
    list(chat.run(approve(user, turn)))
    assert PAID == [5]


def test_the_rules_of_the_question_still_hold_after_an_approval(user: User, fake_openai: FakeOpenAI) -> None:
    configuration = AIConfiguration.objects.create(name="c", model="m", system_prompt="Be careful.")
    plain = AIConversation.objects.create(user=user)
    turn = rest(
        user,
        fake_openai,
        "Done.",
        functions=[pay],
        conversation=plain,
        configuration_id=configuration.pk,
    )
    list(chat.run(approve(user, turn)))
    body = fake_openai.calls[-1].body
    assert [tool["function"]["name"] for tool in body["tools"]] == ["pay"]
    assert body["messages"][0] == {"role": "system", "content": "Be careful."}
    assert body["model"] == "m"


def test_call_ids_that_a_server_uses_twice(user: User, fake_openai: FakeOpenAI) -> None:
    again = Call("look", {"word": "x"}, id="call_0")
    fake_openai.script(Answer(calls=[again]), Answer(calls=[again]), "Done.")
    assert AIService(user).ask("Look").content == "Done."
    ids = list(AIFunctionCall.objects.values_list("call_id", flat=True))
    assert len(ids) == len(set(ids)) == 2
    assert "call_0" in ids


def test_a_cut_in_the_second_step_writes_the_results_of_the_first_once(
    user: User, fake_openai: FakeOpenAI
) -> None:
    def stop(word: str) -> str:
        """Be stopped."""
        raise KeyboardInterrupt

    fake_openai.script(
        Answer(calls=[Call("look", {"word": "x"})]), Answer(calls=[Call("stop", {"word": "y"})])
    )
    events = AIService(user).stream("Go", functions=[look, stop])
    with pytest.raises(KeyboardInterrupt):
        list(events)
    assert AIMessage.objects.filter(role="tool").count() == 1
    statuses = dict(AIFunctionCall.objects.values_list("name", "status"))
    assert statuses == {"look": "completed", "stop": "unknown"}
    assert AITurn.objects.get().status == "interrupted"


def test_a_stream_that_nobody_iterates_over_ends_when_it_is_closed(
    user: User, fake_openai: FakeOpenAI
) -> None:
    AIService(user).stream("Hi").close()
    assert AITurn.objects.get().status == "completed"


def test_ctrl_c_stays_what_it_is(
    user: User, fake_openai: FakeOpenAI, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(world: Any, effect: Any) -> Any:
        if type(effect).__name__ == "Complete":
            raise KeyboardInterrupt
        return original(world, effect)

    original = inline.InlineWorld.perform
    monkeypatch.setattr(inline.InlineWorld, "perform", interrupted)
    with pytest.raises(KeyboardInterrupt):
        AIService(user).chat_completion([{"role": "user", "content": "Hi"}])
    assert AIUsage.objects.get().outcome == "interrupted"


def test_a_turn_that_was_deleted_meanwhile_still_pays_its_bill(user: User, fake_openai: FakeOpenAI) -> None:
    events = AIService(user).stream("Hi")
    next(events)
    AIConversation.objects.all().delete()
    assert [event.type for event in events][-2:] == ["error", "done"]
    row = AIUsage.objects.get()
    assert (row.outcome, row.usage_source) == ("completed", "provider")


def test_a_retry_of_a_turn_that_is_over_is_not_made(user: User, fake_openai: FakeOpenAI) -> None:
    prepared = chat.begin(chat.Ask(user=user, text="Hi"))
    assert isinstance(prepared, chat.Prepared)
    turn = AITurn.objects.get()
    turn.status = "interrupted"
    turn.save()
    with pytest.raises(Stopped):
        prepared.spec.store.checkpoint("x")
    list(chat.run(prepared))
    assert not AIUsage.objects.filter(outcome="running").exists()
    turn.refresh_from_db()
    assert turn.status == "interrupted"


async def _to_the_end(prepared: chat.Prepared) -> None:
    chat.launch(prepared)
    await wait_for_turns()


@pytest.mark.parametrize("run", [lambda it: list(chat.run(it)), async_to_sync(_to_the_end)], ids=COLOURS)
@pytest.mark.parametrize(
    ("answer", "row"),
    [
        (Failure(503, retry_after=0), ("failed", "provider_unavailable")),
        (Answer(calls=[Call("look", {"word": "x"})]), ("completed", "")),
    ],
    ids=["retry", "record_calls"],
)
def test_a_wish_to_stop_that_is_seen_between_two_attempts_leaves_none_of_them_open(
    run: Any, answer: Any, row: tuple[str, str], user: User, fake_openai: FakeOpenAI
) -> None:
    fake_openai.script(answer)
    prepared = chat.begin(chat.Ask(user=user, text="Look"))
    assert isinstance(prepared, chat.Prepared)
    AITurn.objects.update(cancel_requested_at=timezone.now())
    run(prepared)
    assert AITurn.objects.get().status == "cancelled"
    assert AIUsage.objects.values_list("outcome", "error_code").get() == row


class TestTheProvidersFilter:
    """What it has refused once does not come along with the next question, or that were refused, too."""

    @staticmethod
    def follow_up(fake: FakeOpenAI) -> list[tuple[str, str]]:
        """What is sent with the next question."""
        conversation = AIConversation.objects.get()
        AIService(conversation.user).ask("And now?", conversation)
        return [(line["role"], line["content"] or "") for line in fake.calls[-1].messages]

    REFUSAL = Failure(400, code="content_filter")

    def test_a_question(self, colour: Any, dialect: str, user: User, fake_openai: FakeOpenAI) -> None:
        fake_openai.script("Hello.", self.REFUSAL)
        first = colour.ask(AIService(user), "Hi")
        with pytest.raises(ContentFilterError):
            colour.ask(AIService(user), "Poison!", first.conversation_id)
        assert AIMessage.objects.get(content="Poison!").status == "refused"
        sent = self.follow_up(fake_openai)
        assert sent == [("user", "Hi"), ("assistant", "Hello."), ("user", "And now?")]

    def test_what_a_function_returned(self, colour: Any, user: User, fake_openai: FakeOpenAI) -> None:
        """That it was called is still known: it need not be called again."""
        steps = [Answer(calls=[Call("look", {"word": word})]) for word in ("tea", "poison")]
        fake_openai.script(*steps, self.REFUSAL)
        with pytest.raises(ContentFilterError):
            colour.ask(AIService(user), "Look", functions=[look])
        sent = self.follow_up(fake_openai)
        assert [role for role, _ in sent] == [
            "user",
            *["assistant", "tool"] * 2,
            "assistant",
            "user",
        ]
        assert [text for role, text in sent if role == "tool"] == ["tea means nothing", UNKNOWN_RESULT]
        assert sent[-2] == ("assistant", NO_ANSWER)

    def test_an_answer(self, colour: Any, user: User, fake_openai: FakeOpenAI) -> None:
        fake_openai.script(Answer("Well, poison", error_after=1, error=self.REFUSAL))
        with pytest.raises(ContentFilterError):
            colour.ask(AIService(user), "Hi")
        answer = AIMessage.objects.get(role="assistant")
        assert (answer.status, answer.content) == ("refused", "Well")
        sent = self.follow_up(fake_openai)
        assert sent == [("user", "Hi"), ("assistant", NO_ANSWER), ("user", "And now?")]

    def test_a_call_that_a_person_has_approved(self, user: User, fake_openai: FakeOpenAI) -> None:
        prepared = approve(user, rest(user, fake_openai, self.REFUSAL))
        list(chat.run(prepared))
        statuses = AIMessage.objects.order_by("sequence").values_list("role", "status")
        assert list(statuses) == [("user", "complete"), ("assistant", "complete"), ("tool", "refused")]


def test_a_question_that_got_no_answer_is_followed_by_a_line_that_says_so(
    user: User, fake_openai: FakeOpenAI
) -> None:
    """Some servers refuse two questions in a row, which would end the conversation for good."""
    fake_openai.script(Failure(401), "Hello.")
    service = AIService(user)
    with pytest.raises(AIServiceError):
        service.ask("Hi")
    service.ask("Hi?", AIConversation.objects.get())
    assert [(line["role"], line["content"]) for line in fake_openai.calls[-1].messages] == [
        ("user", "Hi"),
        ("assistant", NO_ANSWER),
        ("user", "Hi?"),
    ]


def test_a_configuration_that_is_switched_off_answers_no_more(user: User, fake_openai: FakeOpenAI) -> None:
    configuration = AIConfiguration.objects.create(name="c", model="old", system_prompt="Be old.")
    first = AIService(user, configuration).ask("Hi")
    AIConfiguration.objects.update(is_active=False)
    AIService(user).ask("And now?", first.conversation_id)
    assert fake_openai.calls[-1].model != "old"
    assert "Be old." not in fake_openai.calls[-1].texts


@pytest.mark.django_db(transaction=True)
def test_a_provider_that_thinks_is_no_silence_for_the_browser(
    user: User, fake_openai: FakeOpenAI, settings: Settings
) -> None:
    """Under WSGI a heartbeat is the only way to notice that a client has gone."""
    fake_openai.reply("At last", wait=0.5)
    prepared = chat.begin(chat.Ask(user=user, text="Hi"))
    assert isinstance(prepared, chat.Prepared)
    seen = list(chat.run(prepared, release=True, heartbeat=0.1))
    assert seen.count(None) >= 2
    assert seen.index(None) < next(n for n, e in enumerate(seen) if e is not None and e.type == "content")
    assert AITurn.objects.get().status == "completed"


@pytest.mark.django_db(transaction=True)
def test_a_function_that_takes_time_is_no_silence_either(user: User, fake_openai: FakeOpenAI) -> None:
    def slow(word: str) -> str:
        """Take time."""
        time.sleep(0.4)
        return word

    fake_openai.script(Answer(calls=[Call("slow", {"word": "x"})]), "Done.")
    prepared = chat.begin(chat.Ask(user=user, text="Hi", functions=[Function.of(slow)]))
    assert isinstance(prepared, chat.Prepared)
    kinds = [event and event.type for event in chat.run(prepared, release=True, heartbeat=0.1)]
    assert None in kinds[kinds.index("function_call") : kinds.index("function_result")]
    assert AIFunctionCall.objects.get().status == call_storage.Status.COMPLETED


def test_an_ending_that_was_kept_though_the_database_did_not_say_so(
    colour: Any, user: User, fake_openai: FakeOpenAI, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It went away while it committed: the second try finds what the first has done."""
    writing, lost = TurnLog._writing, list[str]()

    @contextmanager
    def torn(log: TurnLog) -> Iterator[None]:
        with writing(log):
            yield
        if not lost and AITurn.objects.filter(status="completed").exists():
            lost.append("the answer to COMMIT")
            raise OperationalError("server closed the connection unexpectedly")

    monkeypatch.setattr(TurnLog, "_writing", torn)
    fake_openai.reply("Hello")
    events = colour.stream(AIService(user), "Hi")
    assert lost
    finished = events[-2]
    assert isinstance(finished, Finished)
    answer = AIMessage.objects.get(role="assistant")
    assert (answer.content, answer.status, finished.message_id) == ("Hello", "complete", answer.pk)
    turn = AITurn.objects.get()
    assert (turn.status, turn.error_code) == ("completed", "")
    assert AIUsage.objects.get().outcome == "completed"
    assert [each for each in follow.follow(follow.Watch(turn.pk, user.pk)) if each is not None] == events
