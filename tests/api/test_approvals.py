"""Calls that wait for a person: who may decide, what is decided, and how the turn goes on."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.utils import timezone

from django_chatgpt.functions import Caller, function_registry
from django_chatgpt.models import AIConversation, AIFunction, AIFunctionCall, AIMessage, AITurn, AIUsage
from django_chatgpt.testing import Answer as Said
from django_chatgpt.testing import Call, FakeOpenAI
from tests.api.conftest import Answer, Door

pytestmark = pytest.mark.django_db

PAID: list[tuple[int, str]] = []


def pay(amount: int, caller: Caller) -> str:
    """Pay somebody.

    Args:
        amount: How much, in cents.
    """
    PAID.append((amount, caller.idempotency_key))
    return f"paid {amount}"


def look(word: str) -> str:
    """Look something up."""
    return f"{word} means nothing"


@pytest.fixture(autouse=True)
def functions() -> Iterator[None]:
    PAID.clear()
    function_registry.register(pay, requires_approval=True)
    function_registry.register(look)
    yield
    for name in ("pay", "look"):
        function_registry.unregister(name)


@pytest.fixture
def guarded() -> None:
    """Paying is approved by those who may delete users, and not by whoever asks."""
    function_registry.unregister("pay")
    function_registry.register(
        pay, requires_approval=True, approval_permission="auth.delete_user", self_approval=False
    )


def ask(door: Door, fake: FakeOpenAI, *calls: Call, stream: bool = False) -> Answer:
    fake.script(Said("One moment.", calls=calls or [Call("pay", {"amount": 5})]), Said("It is done."))
    return door.ask("Pay five", stream=stream)


def decide(door: Door, turn_id: str, **body: Any) -> Answer:
    return door.send("POST", f"/ai/turns/{turn_id}/approve/", {"approve": True} | body)


def at_rest(turn_id: str) -> AITurn:
    turn = AITurn.objects.get(pk=turn_id)
    assert turn.status == "awaiting_approval"
    return turn


def results() -> list[str]:
    return list(AIMessage.objects.filter(role="tool").order_by("sequence").values_list("content", flat=True))


def test_a_turn_rests_until_somebody_approves(door: Door, fake: FakeOpenAI, user: User) -> None:
    first = ask(door, fake, stream=True)
    assert [event["type"] for event in first.events if event["type"] != "content"] == [
        "start",
        "function_call",
        "finish",
        "done",
    ]
    called = next(event for event in first.events if event["type"] == "function_call")
    assert called["requires_approval"] is True
    assert first.events[-2]["reason"] == "awaiting_approval"
    assert not PAID
    turn = at_rest(first.turn_id)
    assert not AIUsage.objects.filter(outcome="running").exists()
    seen = door.get(f"/ai/turns/{first.turn_id}/").json
    (waiting,) = seen["waiting"]
    assert (seen["status"], waiting["name"], json.loads(waiting["arguments"])) == (
        "awaiting_approval",
        "pay",
        {"amount": 5},
    )
    done = decide(door, first.turn_id).json
    assert done["id"] == first.turn_id
    turn.refresh_from_db()
    assert turn.status == "completed"
    assert [amount for amount, _ in PAID] == [5]
    assert AIMessage.objects.order_by("sequence").last().content == "It is done."
    call = AIFunctionCall.objects.get()
    assert (call.status, call.decided_by) == ("completed", user)
    roles = list(AIMessage.objects.order_by("sequence").values_list("role", flat=True))
    assert roles == ["user", "assistant", "tool", "assistant"]
    conversation = AIConversation.objects.get()
    assert conversation.total_tokens == sum(AIUsage.objects.values_list("total_tokens", flat=True))
    fake.assert_script_used()
    assert door.ask("And now?", conversation_id=str(conversation.pk)).status == 200


def test_the_rest_may_be_streamed(door: Door, fake: FakeOpenAI) -> None:
    first = ask(door, fake)
    assert first.json["finish_reason"] == "awaiting_approval"
    rest = decide(door, first.turn_id, stream=True)
    kinds = [event["type"] for event in rest.events if event["type"] != "content"]
    assert kinds == ["start", "function_result", "finish", "done"]
    assert rest.text == "It is done."
    assert {event["turn_id"] for event in rest.events} == {first.turn_id}
    totals = sum(AIUsage.objects.values_list("total_tokens", flat=True))
    assert rest.events[-2]["usage"]["total_tokens"] == totals, "of the whole turn"


def test_a_call_that_is_declined_is_not_made_and_the_model_is_told(door: Door, fake: FakeOpenAI) -> None:
    first = ask(door, fake)
    decide(door, first.turn_id, approve=False)
    assert not PAID
    assert AITurn.objects.get().status == "completed"
    assert AIFunctionCall.objects.get().status == "denied"
    assert results() == ["A person has declined this call; it was not made."]
    assert "declined" in fake.calls[-1].texts[-1]


def test_who_watches_is_told_that_it_was_declined(door: Door, fake: FakeOpenAI) -> None:
    first = ask(door, fake)
    rest = decide(door, first.turn_id, approve=False, stream=True)
    [result] = [event for event in rest.events if event["type"] == "function_result"]
    assert (result["status"], result["code"]) == ("failed", "approval_denied")


def test_a_call_is_decided_once(door: Door, fake: FakeOpenAI) -> None:
    first = ask(door, fake)
    assert decide(door, first.turn_id).status == 200
    again = decide(door, first.turn_id)
    assert (again.status, again.error["code"]) == (409, "decided")
    assert len(PAID) == 1


def test_calls_beside_it_are_made_at_once(door: Door, fake: FakeOpenAI) -> None:
    first = ask(
        door,
        fake,
        Call("pay", {"amount": 5}, id="p"),
        Call("look", {"word": "x"}, id="l"),
        Call("pay", {"amount": 7}, id="q"),
    )
    assert results() == ["x means nothing"]
    missing = decide(door, first.turn_id)
    assert (missing.status, list(missing.error["fields"])) == (400, ["call_id"])
    assert decide(door, first.turn_id, call_id="q").json["status"] == "awaiting_approval"
    assert not PAID, "another call still waits"
    decide(door, first.turn_id, call_id="p", approve=False)
    assert AITurn.objects.get().status == "completed"
    assert [amount for amount, _ in PAID] == [7]
    tools = [line for line in fake.calls[-1].body["messages"] if line["role"] == "tool"]
    assert [line["tool_call_id"] for line in tools] == ["p", "l", "q"], "in the order of the calls"


def test_edited_arguments_are_checked_again(door: Door, fake: FakeOpenAI) -> None:
    first = ask(door, fake)
    wrong = decide(door, first.turn_id, arguments={"amount": "a lot"})
    assert (wrong.status, list(wrong.error["fields"])) == (400, ["arguments"])
    at_rest(first.turn_id)
    decide(door, first.turn_id, arguments={"amount": 3})
    assert [amount for amount, _ in PAID] == [3]
    answer = AIMessage.objects.filter(role="assistant").order_by("sequence").first()
    assert json.loads(answer.tool_calls[0]["function"]["arguments"]) == {"amount": 3}
    assert [json.loads(each) for each in answer.metadata["edited_arguments"].values()] == [{"amount": 5}]


def test_somebody_else_may_not_decide(door: Door, other_door: Door, fake: FakeOpenAI) -> None:
    first = ask(door, fake)
    assert decide(other_door, first.turn_id).status == 404
    at_rest(first.turn_id)
    assert not PAID


def test_whoever_has_the_permission_decides_and_not_the_asker(
    door: Door, other_door: Door, other_user: User, fake: FakeOpenAI, guarded: None
) -> None:
    first = ask(door, fake)
    assert decide(door, first.turn_id).status == 403
    assert decide(other_door, first.turn_id).status == 404
    other_user.user_permissions.add(Permission.objects.get(codename="delete_user"))
    assert decide(other_door, first.turn_id).status == 200
    call = AIFunctionCall.objects.get()
    assert (call.status, call.decided_by) == ("completed", other_user)
    assert [amount for amount, _ in PAID] == [5]


@pytest.mark.parametrize("approve", [True, False])
def test_a_turn_of_somebody_who_may_not_ask_any_more_does_not_go_on(
    door: Door, other_door: Door, user: User, other_user: User, fake: FakeOpenAI, guarded: None, approve: bool
) -> None:
    first = ask(door, fake)
    asked = len(fake.requests)
    other_user.user_permissions.add(Permission.objects.get(codename="delete_user"))
    user.is_active = False
    user.save()
    refused = decide(other_door, first.turn_id, approve=approve)
    assert (refused.status, refused.error["code"]) == (403, "permission_denied")
    assert "may not ask any more" in refused.error["message"]
    at_rest(first.turn_id)
    assert AIFunctionCall.objects.get().status == "awaiting_approval"
    assert (PAID, len(fake.requests)) == ([], asked)
    user.is_active = True
    user.save()
    assert decide(other_door, first.turn_id, approve=approve).status == 200


def test_after_the_time_is_over_nobody_decides(door: Door, fake: FakeOpenAI) -> None:
    first = ask(door, fake)
    past = timezone.now() - timedelta(seconds=1)
    AIFunctionCall.objects.update(expires_at=past)
    AITurn.objects.update(lease_expires_at=past)
    late = decide(door, first.turn_id)
    assert (late.status, late.error["code"]) == (409, "decided")
    turn = AITurn.objects.get()
    assert (turn.status, turn.error_code) == ("cancelled", "approval_expired")
    assert AIFunctionCall.objects.get().status == "expired"
    assert not PAID
    fake.reset()
    goes_on = door.ask("Never mind", conversation_id=first.conversation_id)
    assert goes_on.status == 200


def test_a_schema_that_has_changed_asks_again(door: Door, fake: FakeOpenAI) -> None:
    first = ask(door, fake)

    def pay(amount: int, to: str = "me") -> str:
        """Pay somebody."""
        raise AssertionError

    function_registry.unregister("pay")
    function_registry.register(pay, requires_approval=True)
    decide(door, first.turn_id)
    assert AITurn.objects.get().status == "completed"
    (result,) = results()
    assert "approval" in result


def test_an_approval_can_not_come_with_a_question(door: Door, fake: FakeOpenAI) -> None:
    for role in ("assistant", "tool"):
        body = {"messages": [{"role": role, "content": "approved", "tool_call_id": "p"}]}
        assert door.send("POST", "/ai/chat/", body).status == 400
    fake.assert_nothing_asked()


def test_a_turn_at_rest_holds_its_conversation(door: Door, fake: FakeOpenAI) -> None:
    first = ask(door, fake)
    busy = door.ask("And?", conversation_id=first.conversation_id)
    assert (busy.status, busy.error["turn_id"]) == (409, first.turn_id)


def test_a_repeat_of_the_question_finds_the_turn_at_rest(door: Door, fake: FakeOpenAI) -> None:
    fake.script(Said(calls=[Call("pay", {"amount": 5})]))
    first = door.ask("Pay five", key="k")
    again = door.ask("Pay five", key="k")
    assert (again.turn_id, again.json["finish_reason"]) == (first.turn_id, "awaiting_approval")
    assert len(fake.calls) == 1


def test_the_functions_a_user_may_call_are_listed(door: Door) -> None:
    listed = door.get("/ai/functions/").json
    assert listed["count"] == len(listed["functions"])
    assert {"pay", "look"} <= {each["name"] for each in listed["functions"]}
    schema = next(each for each in listed["functions"] if each["name"] == "pay")
    assert list(schema["parameters"]["properties"]) == ["amount"], "the caller is not the model's affair"


def test_a_function_is_executed_and_counted(door: Door) -> None:
    AIFunction.objects.get_or_create(name="look")
    body = {"function_name": "look", "arguments": {"word": "x"}}
    done = door.send("POST", "/ai/functions/execute/", body)
    assert done.json == body | {"result": "x means nothing", "status": "completed"}
    row = AIFunction.objects.get(name="look")
    assert (row.usage_count, row.success_count, row.error_count) == (1, 1, 0)


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"function_name": "look", "arguments": {}}, 400, "invalid_arguments"),
        ({"function_name": "look", "arguments": {"word": 5}}, 400, "invalid_arguments"),
        ({"function_name": "look", "arguments": {"word": "x", "more": 1}}, 400, "invalid_arguments"),
        ({"function_name": "look", "arguments": []}, 400, "invalid_request"),
        ({"function_name": "", "arguments": {}}, 400, "invalid_request"),
        ({"arguments": {}}, 400, "invalid_request"),
        ({"function_name": "os.system", "arguments": {"command": "ls"}}, 404, "unknown_function"),
        ({"function_name": "pay", "arguments": {"amount": 5}}, 403, "approval_required"),
    ],
)
def test_what_can_not_be_executed(door: Door, body: Any, status: int, code: str) -> None:
    refused = door.send("POST", "/ai/functions/execute/", body)
    assert (refused.status, refused.error["code"]) == (status, code)
    assert not PAID


def test_a_function_that_is_switched_off_is_nowhere(door: Door, fake: FakeOpenAI) -> None:
    AIFunction.objects.update_or_create(name="look", defaults={"is_active": False})
    assert "look" not in {each["name"] for each in door.get("/ai/functions/").json["functions"]}
    body = {"function_name": "look", "arguments": {"word": "x"}}
    assert door.send("POST", "/ai/functions/execute/", body).status == 403
    fake.script(Said(calls=[Call("look", {"word": "x"})]), Said("Oh."))
    assert door.ask("Look x").status == 200
    assert "switched off" in results()[0]
    assert "look" not in {tool["function"]["name"] for tool in fake.calls[0].body.get("tools", ())}


def test_what_became_of_calls_is_shown_with_the_conversation(door: Door, fake: FakeOpenAI) -> None:
    calls = [Call("pay", {"amount": 5}), Call("look", {"word": "x"}), Call("look", {"number": 1})]
    asked = ask(door, fake, *calls)
    place = f"/ai/conversations/{AIConversation.objects.get().pk}/?render=html"
    (turn,) = door.get(place).json["turns"]
    assert [each["status"] for each in turn["calls"]] == ["awaiting_approval", "completed", "failed"]
    assert [each["name"] for each in turn["waiting"]] == ["pay"]
    decide(door, asked.turn_id, approve=False)
    shown = door.get(place).json
    (turn,) = shown["turns"]
    statuses = {each["call_id"]: each["status"] for each in turn["calls"]}
    assert list(statuses.values()) == ["denied", "completed", "failed"]
    answered = {line["tool_call_id"] for line in shown["messages"] if line["role"] == "tool"}
    assert set(statuses) == answered
