"""Questions over a socket: what comes back, in which frames."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth.models import User
from django.test.utils import override_settings

from django_chatgpt.consumers import chat as chat_module
from django_chatgpt.consumers import frames
from django_chatgpt.core import events
from django_chatgpt.functions import function_registry
from django_chatgpt.models import AIMessage, AITurn
from django_chatgpt.runtime.tasks import wait_for_turns
from django_chatgpt.services import AIService, approvals
from django_chatgpt.testing import Answer, Call, Failure, FakeOpenAI, Gate
from tests.consumers.pages import ABSENT, Open, Page, kinds_of, text_of

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.sqlite_only]


def look(word: str) -> str:
    """Look something up."""
    return f"{word} means nothing"


def fail(word: str) -> str:
    """Fail."""
    raise ValueError("secret")


@pytest.fixture
def functions() -> Iterator[None]:
    function_registry.register(look)
    function_registry.register(fail)
    function_registry.register(look, name="pay", requires_approval=True)
    yield
    for name in ("look", "fail", "pay"):
        function_registry.unregister(name)


async def test_a_question(page: Page, fake: FakeOpenAI) -> None:
    fake.reply(chunks=["Once ", "upon ", "a time"])
    seen = await page.ask("Tell me a tale", ref="q1")
    assert kinds_of(seen) == ["processing_start", "content_chunk", "message_complete"]
    assert text_of(seen) == "Once upon a time"
    assert [frame["id"] for frame in seen] == list(range(1, len(seen) + 1))
    turn = await AITurn.objects.aget()
    assert {frame["turn_id"] for frame in seen} == {str(turn.pk)}
    assert seen[0]["conversation_id"] == str(turn.conversation_id)
    assert (seen[0]["ref"], seen[-1]["ref"]) == ("q1", "q1")
    message = await AIMessage.objects.aget(role="assistant")
    end = seen[-1]
    assert (end["reason"], end["message_id"], end["model"]) == ("stop", str(message.pk), "gpt-6-luna")
    assert end["usage"]["total_tokens"] > 0
    assert float(end["cost"]) > 0
    again = await page.ask("Go on", conversation_id=seen[0]["conversation_id"])
    assert again[0]["conversation_id"] == seen[0]["conversation_id"]
    assert "ref" not in again[0]


def test_every_event_has_its_frames() -> None:
    """All but those that HTTP has no word for either, or that say what a frame has said already."""
    known = set(events.TurnEvent.__subclasses__())
    assert known - set(frames.EVENTS) == {events.Discarded, events.Done}
    assert {kind for kinds in frames.EVENTS.values() for kind in kinds} <= set(frames.CHAT)


async def test_a_ping_during_a_long_answer(page: Page, fake: FakeOpenAI, gate: Gate) -> None:
    fake.script(Answer(chunks=["One ", "two"], stall_after=1, stall=gate))
    await page.send("chat_message", message="Count")
    await page.read_to("content_chunk")
    assert await page.answer("ping", ref="p") == {"type": "pong", "ref": "p"}
    assert (await page.answer("get_conversations"))["type"] == "conversations_list"
    gate.open()
    await page.read_to("message_complete")
    assert text_of(page.seen) == "One two"


async def test_functions(page: Page, fake: FakeOpenAI, functions: None) -> None:
    calls = [Call("look", {"word": "a"}, fragments=2), Call("fail", {"word": "b"})]
    fake.script(Answer(chunks=["One moment."], calls=calls), Answer("It is done."))
    seen = await page.ask()
    assert set(kinds_of(seen)) == {
        "processing_start",
        "content_chunk",
        "function_call_start",
        "function_arguments_chunk",
        "function_execution_start",
        "function_execution_complete",
        "function_execution_error",
        "message_complete",
    }
    by_kind = {frame["type"]: frame for frame in seen}
    done, failed = by_kind["function_execution_complete"], by_kind["function_execution_error"]
    assert (done["name"], done["result"], done["status"]) == ("look", "a means nothing", "completed")
    assert (failed["name"], failed["status"], failed["code"]) == ("fail", "failed", "function_failed")
    assert "secret" not in str(seen)
    started = [frame for frame in seen if frame["type"] == "function_call_start"]
    written = [frame for frame in seen if frame["type"] == "function_arguments_chunk"]
    for start in started:
        arguments = "".join(f["arguments"] for f in written if f["call_id"] == start["call_id"])
        [whole] = [
            f for f in seen if f["type"] == "function_execution_start" and f["call_id"] == start["call_id"]
        ]
        assert whole["arguments"] == arguments


async def test_a_call_that_waits_for_a_person(
    page: Page, user: User, fake: FakeOpenAI, functions: None
) -> None:
    fake.script(Answer(calls=[Call("pay", {"word": "rent"})]), Answer("Paid."))
    seen = await page.ask()
    [asked] = [frame for frame in seen if frame["type"] == "function_execution_start"]
    assert asked["requires_approval"] is True
    end = seen[-1]
    assert end["reason"] == "awaiting_approval"
    [waiting] = end["waiting"]
    assert (waiting["call_id"], waiting["name"]) == (asked["call_id"], "pay")
    assert waiting["expires_at"]
    decide = sync_to_async(approvals.decide)
    prepared = await decide(user, await _turn_id(), approvals.Decision(True))
    task = chat_module.chat.launch(prepared)
    await page.send("resume", turn_id=end["turn_id"], after=end["id"])
    rest = await page.read_to("message_complete")
    assert text_of(rest) == "Paid."
    assert rest[-1]["reason"] == "stop"
    assert "waiting" not in rest[-1]
    task.leave()


async def _turn_id() -> Any:
    return (await AITurn.objects.aget()).pk


async def test_what_the_provider_says_no_to(page: Page, fake: FakeOpenAI) -> None:
    fake.script(Failure(500))
    seen = await page.ask(ref="q")
    assert kinds_of(seen) == ["processing_start", "error"]
    error = seen[-1]
    assert (error["error"]["code"], error["ref"]) == ("provider_unavailable", "q")
    assert error["turn_id"] == seen[0]["turn_id"]
    assert error["id"] == 2
    assert kinds_of(await page.ask())[-1] == "message_complete"


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"message": ""}, "message"),
        ({"message": "a\x00b"}, "message"),
        ({"message": "a\ud800b"}, "message"),
        ({"message": None}, "message"),
        ({"message": "Hi", "messages": []}, "messages"),
        ({"message": None, "messages": [{"role": "system", "content": "Hi"}]}, "messages.0.role"),
        ({"message": "Hi", "temperature": "hot"}, "temperature"),
        ({"message": "Hi", "max_tokens": 0}, "max_tokens"),
        ({"message": "Hi", "use_functions": 1}, "use_functions"),
        ({"message": "Hi", "colour": "red"}, "colour"),
        ({"message": "Hi", "idempotency_key": "ü"}, "idempotency_key"),
        ({"message": "Hi", "ref": 5}, "ref"),
        ({"message": "x" * 200_001}, "message"),
    ],
    ids=lambda value: str(value)[:40],
)
async def test_a_bad_question(page: Page, fake: FakeOpenAI, fields: dict[str, Any], named: str) -> None:
    await page.send("chat_message", **fields)
    frame = await page.read()
    assert frame["error"]["code"] == "invalid_request"
    assert named in frame["error"]["fields"]
    assert "turn_id" not in frame
    fake.assert_nothing_asked()
    assert await page.answer("ping") == {"type": "pong"}


async def test_several_conversations_at_once(page: Page, fake: FakeOpenAI, gate: Gate) -> None:
    fake.when(question="slow").answer(Answer(chunks=["One ", "two"], stall_after=1, stall=gate))
    await page.send("chat_message", message="slow", ref="slow")
    slow = (await page.read_to("content_chunk"))[0]
    fake.reply("Quick")
    assert text_of(await page.ask("quick")) == "Quick"
    busy = await page.answer("chat_message", message="again", conversation_id=slow["conversation_id"])
    assert (busy["error"]["code"], busy["error"]["turn_id"]) == ("turn_running", slow["turn_id"])
    gate.open()
    assert text_of(await page.read_to("message_complete")) == "two"


async def test_too_many_answers_at_once(
    page: Page, fake: FakeOpenAI, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chat_module, "MOST_TURNS", 1)
    fake.script(Answer(chunks=["One ", "two"], stall_after=1, stall=gate))
    await page.send("chat_message", message="slow")
    await page.read_to("content_chunk")
    for kind, fields in (("chat_message", {"message": "Hi"}), ("resume", {"turn_id": ABSENT})):
        error = await page.error(kind, **fields)
        assert (error["code"], error["retry_after"]) == ("rate_limited", 1)
    gate.open()
    await page.read_to("message_complete")
    assert (await page.ask())[-1]["type"] == "message_complete"


async def test_a_repeat_with_the_same_key(
    page: Page, visit: Open, user: User, fake: FakeOpenAI, gate: Gate
) -> None:
    fake.script(Answer(chunks=["One ", "two"], stall_after=1, stall=gate))
    await page.send("chat_message", message="Hi", idempotency_key="k1")
    first = await page.read_to("content_chunk")
    shown = await page.answer("chat_message", message="Hi", idempotency_key="k1")
    assert (shown["error"]["code"], shown["error"]["turn_id"]) == ("conflict", first[0]["turn_id"])
    other = await visit(user)
    await other.send("chat_message", message="Hi", idempotency_key="k1")
    gate.open()
    assert text_of(await other.read_to("message_complete")) == "One two"
    await page.read_to("message_complete")
    assert [f for f in other.seen if "id" in f] == [f for f in page.seen if "id" in f]
    assert len(fake.calls) == 1


async def test_limits_are_looked_at_with_each_question(page: Page, fake: FakeOpenAI) -> None:
    with override_settings(OPENAI_RATE_LIMITS={"user": "1/h"}):
        assert (await page.ask())[-1]["type"] == "message_complete"
        error = await page.error("chat_message", message="Hi")
    assert error["code"] == "rate_limited"
    assert 0 < error["retry_after"] <= 7200
    with override_settings(OPENAI_BUDGETS=[{"scope": "user", "period": "day", "limit": "0.0000001"}]):
        seen = await page.ask()
    error = seen[-1]["error"]
    assert error["code"] == "quota_exceeded"
    assert 0 < error["retry_after"] <= 90_000
    seen += await page.ask()
    assert seen[-1]["type"] == "message_complete"
    [told] = [frame["payload"] for frame in seen if frame["type"] == "notification"]
    assert (told["event"], told["kind"], told["severity"]) == ("alert", "budget", "error")


async def test_conversations(page: Page, visit: Open, user: User, other_user: User) -> None:
    started = await page.answer("start_conversation", title="Rivers", ref="s")
    assert (started["type"], started["ref"]) == ("conversation_started", "s")
    assert started["conversation"]["title"] == "Rivers"
    listed = await page.answer("get_conversations", page_size=1)
    assert listed["type"] == "conversations_list"
    assert [each["id"] for each in listed["conversations"]] == [started["conversation_id"]]
    assert listed["pagination"]["total_count"] == 1
    other = await visit(other_user)
    for page_of, conversation_id in ((other, started["conversation_id"]), (page, ABSENT)):
        missing = await page_of.answer("end_conversation", conversation_id=conversation_id)
        assert missing["error"]["code"] == "not_found"
    assert (await other.answer("get_conversations"))["conversations"] == []
    ended = await page.answer("end_conversation", conversation_id=started["conversation_id"])
    assert (ended["type"], ended["conversation"]["is_active"]) == ("conversation_ended", False)
    for fields in ({"page": 0}, {"page_size": 101}, {"page": "1"}):
        assert (await page.error("get_conversations", **fields))["code"] == "invalid_request"
    missing = await page.answer("start_conversation", configuration_id=ABSENT)
    assert missing["error"]["code"] == "not_found"


async def test_calling_a_function(page: Page, functions: None) -> None:
    called = await page.answer("function_call", function_name="look", arguments={"word": "a"}, ref="f")
    assert called == {
        "type": "direct_function_result",
        "function_name": "look",
        "arguments": {"word": "a"},
        "result": "a means nothing",
        "status": "completed",
        "ref": "f",
    }
    for fields, code in (
        ({"function_name": "none"}, "unknown_function"),
        ({"function_name": "look"}, "invalid_arguments"),
        ({"function_name": "fail", "arguments": {"word": "a"}}, "function_failed"),
        ({"function_name": "pay", "arguments": {"word": "a"}}, "approval_required"),
    ):
        error = await page.error("function_call", **fields)
        assert error["code"] == code
        assert "secret" not in str(error)


async def test_cancel(
    page: Page, visit: Open, user: User, other_user: User, fake: FakeOpenAI, gate: Gate
) -> None:
    """Whoever listens hears it as the end; whoever does not is told it once."""
    fake.script(Answer(chunks=["Half ", "an answer"], stall_after=1, stall=gate))
    await page.send("chat_message", message="Hi")
    turn_id = (await page.read_to("content_chunk"))[0]["turn_id"]
    stranger = await visit(other_user)
    assert (await stranger.error("cancel", turn_id=turn_id))["code"] == "not_found"
    elsewhere = await visit(user)
    told = await elsewhere.answer("cancel", turn_id=turn_id, ref="c")
    assert (told["type"], told["reason"], told["ref"]) == ("message_complete", "cancelled", "c")
    end = await page.read()
    assert end == {name: value for name, value in told.items() if name != "ref"}
    assert text_of(page.seen) == "Half "
    fake.wait_for(1, disconnected=True)
    late = await page.answer("cancel", turn_id=turn_id)
    assert late == end
    assert (await AITurn.objects.aget()).status == "cancelled"


async def test_cancelling_what_one_listens_to(page: Page, fake: FakeOpenAI, gate: Gate) -> None:
    fake.script(Answer(chunks=["Half ", "an answer"], stall_after=1, stall=gate))
    await page.send("chat_message", message="Hi")
    turn_id = (await page.read_to("content_chunk"))[0]["turn_id"]
    assert (await page.answer("cancel", turn_id=turn_id))["reason"] == "cancelled"
    assert await page.answer("ping") == {"type": "pong"}, "it is told once"


async def test_a_turn_of_http_is_shown_here(page: Page, user: User, fake: FakeOpenAI) -> None:
    fake.reply(chunks=["One ", "two"])
    reply = await AIService(user).aask("Hi")
    await wait_for_turns()
    await page.send("resume", turn_id=str(reply.turn_id), ref="r")
    seen = await page.read_to("message_complete")
    assert kinds_of(seen) == ["processing_start", "content_chunk", "message_complete"]
    assert text_of(seen) == "One two"
    assert (seen[0]["ref"], seen[-1]["cost"]) == ("r", str(frames.money(reply.cost)))


async def test_taken_up_after_every_event(
    page: Page, visit: Open, user: User, other_user: User, fake: FakeOpenAI, functions: None
) -> None:
    calls = [Call("look", {"word": "a"}, fragments=3), Call("fail", {"word": "b"})]
    fake.script(Answer(chunks=["One ", "moment."], calls=calls), Answer(chunks=["It ", "is ", "done."]))
    seen = await page.ask()
    turn_id = seen[0]["turn_id"]
    for frame in seen[:-1]:
        await page.send("resume", turn_id=turn_id, after=frame["id"])
        assert await page.read_to("message_complete") == [each for each in seen if each["id"] > frame["id"]]
    for after in (seen[-1]["id"], seen[-1]["id"] + 1, 10**17):
        assert await page.answer("resume", turn_id=turn_id, after=after) == seen[-1], "the last word again"
    stranger = await visit(other_user)
    for fields in ({"turn_id": turn_id}, {"turn_id": ABSENT}):
        assert (await stranger.error("resume", **fields))["code"] == "not_found"
    for after in (-1, "1", 1.5, 10**18):
        error = await page.error("resume", turn_id=turn_id, after=after)
        assert set(error["fields"]) == {"after"}


async def test_two_listeners_of_one_turn_on_one_socket(page: Page, fake: FakeOpenAI, gate: Gate) -> None:
    fake.script(Answer(chunks=["One ", "two"], stall_after=1, stall=gate))
    await page.send("chat_message", message="Hi")
    turn_id = (await page.read_to("content_chunk"))[0]["turn_id"]
    error = await page.error("resume", turn_id=turn_id)
    assert (error["code"], error["turn_id"]) == ("conflict", turn_id)
    gate.open()
    assert text_of(await page.read_to("message_complete")) == "two"


async def test_a_turn_that_a_worker_answers(
    page: Page, fake: FakeOpenAI, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The socket is told its beginning at once, and the rest as the worker says it."""
    pytest.importorskip("celery")
    from django_chatgpt.tasks import process_ai_message_async

    waiting: list[Any] = []
    monkeypatch.setattr(chat_module.chat.runners, "enqueue", waiting.append)
    fake.reply(chunks=["One ", "two"])
    with override_settings(OPENAI_TURN_RUNNER="celery"):
        await page.send("chat_message", message="Hi", ref="q")
        begun = await page.read()
        assert (begun["type"], begun["id"], begun["ref"]) == ("processing_start", 1, "q")
        assert [str(each) for each in waiting] == [begun["turn_id"]]
        fake.assert_nothing_asked()
        await sync_to_async(process_ai_message_async)(begun["turn_id"])
        seen = await page.read_to("message_complete", "error")
    assert (text_of(seen), seen[-1]["reason"]) == ("One two", "stop")
