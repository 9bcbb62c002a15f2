"""Approvals in the admin: who may decide, what of, once, and the turn goes on under any server."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.contrib.auth.models import User
from django.test import AsyncClient, Client
from django.utils import timezone

from django_chatgpt.functions import function_registry
from django_chatgpt.models import AIConversation, AIFunctionCall, AIMessage, AITurn
from django_chatgpt.runtime.tasks import wait_for_turns
from django_chatgpt.services import AIService
from django_chatgpt.testing import Answer, Call, FakeOpenAI
from tests.admin.makers import address
from tests.admin.staff import staff_browser

pytestmark = pytest.mark.django_db

PAID: list[int] = []
MAY = ("view_aifunctioncall", "auth.delete_user")


def pay(amount: int) -> str:
    """Pay somebody.

    Args:
        amount: How much.
    """
    PAID.append(amount)
    return f"paid {amount}"


@pytest.fixture(autouse=True)
def function() -> Iterator[None]:
    PAID.clear()
    function_registry.register(
        pay, requires_approval=True, approval_permission="auth.delete_user", self_approval=False
    )
    yield
    function_registry.unregister("pay")


def ask(fake: FakeOpenAI, user: User, *amounts: int) -> list[AIFunctionCall]:
    calls = [Call("pay", {"amount": amount}) for amount in amounts or (5,)]
    fake.script(Answer("One moment.", calls=calls), Answer("It is done."))
    reply = AIService(user).ask("Pay, please")
    assert reply.finish_reason == "awaiting_approval"
    return list(AIFunctionCall.objects.filter(turn_id=reply.turn_id).order_by("id"))


@pytest.fixture
def call(fake_openai: FakeOpenAI, user: User) -> AIFunctionCall:
    [call] = ask(fake_openai, user)
    return call


def page_of(call: AIFunctionCall) -> str:
    return address(AIFunctionCall, "decide", call.pk)


def agreed(**arguments: Any) -> dict[str, str]:
    return {"approve": "1", "arguments": json.dumps(arguments or {"amount": 5})}


def said(answer: Any) -> list[str]:
    return [str(message) for message in answer.context["messages"]]


def test_an_approved_call_is_made_and_the_turn_goes_on(call: AIFunctionCall) -> None:
    browser = staff_browser(*MAY)
    listed = browser.get(address(AIFunctionCall, "changelist"))
    assert "1 waits for approval" in listed.text
    page = browser.get(page_of(call))
    assert "Pay somebody." in page.text
    assert "&quot;amount&quot;: 5" in page.text
    answer = browser.post(page_of(call), agreed(), follow=True)
    assert said(answer) == ["Approved. The turn went on: it is completed."]
    assert PAID == [5]
    call.refresh_from_db()
    assert (call.status, call.decided_by) == ("completed", User.objects.get(username="clerk"))
    assert AIMessage.objects.order_by("sequence").last().content == "It is done."
    assert "0 wait for approval" in answer.text
    assert "edited_arguments" not in AIMessage.objects.get(sequence=2).metadata
    history = browser.get(address(AIFunctionCall, "history", call.pk)).text
    assert "Approved." in history


def test_a_denied_call_is_not_made(call: AIFunctionCall) -> None:
    answer = staff_browser(*MAY).post(page_of(call), {"deny": "1", "arguments": "{broken"}, follow=True)
    assert said(answer) == ["Denied. The turn went on: it is completed."]
    call.refresh_from_db()
    assert (call.status, PAID) == ("denied", [])


def test_arguments_can_be_changed_and_are_checked(call: AIFunctionCall) -> None:
    browser = staff_browser(*MAY)
    for wrong in ('{"amount": "much"}', "[]", "{"):
        answer = browser.post(page_of(call), {"approve": "1", "arguments": wrong})
        assert answer.context["form"].errors["arguments"]
        assert AIFunctionCall.objects.get().status == "awaiting_approval"
    browser.post(page_of(call), agreed(amount=3))
    assert PAID == [3]
    assert AIMessage.objects.get(sequence=2).metadata["edited_arguments"]


def test_several_calls_are_decided_one_by_one(fake_openai: FakeOpenAI, user: User) -> None:
    first, second = ask(fake_openai, user, 1, 2)
    browser = staff_browser(*MAY)
    answer = browser.post(page_of(first), agreed(amount=1), follow=True)
    assert said(answer) == ["Approved. The turn waits for other decisions."]
    assert PAID == []
    browser.post(page_of(second), {"deny": "1"})
    assert PAID == [1]


def test_the_second_to_decide_is_told_who_was_first(call: AIFunctionCall) -> None:
    first, second = staff_browser(*MAY), staff_browser(*MAY, name="late")
    second.get(page_of(call))
    first.post(page_of(call), agreed())
    answer = second.post(page_of(call), {"deny": "1"}, follow=True)
    assert said(answer) == ["clerk has decided about this call already: it is completed."]
    assert "does not wait for a decision any more" in answer.text
    assert 'name="approve"' not in answer.text
    assert PAID == [5]


def test_nobody_decides_after_its_time(call: AIFunctionCall) -> None:
    past = timezone.now() - timedelta(minutes=1)
    AIFunctionCall.objects.update(expires_at=past)
    AITurn.objects.update(lease_expires_at=past)
    browser = staff_browser(*MAY)
    assert 'name="approve"' not in browser.get(page_of(call)).text
    answer = browser.post(page_of(call), agreed(), follow=True)
    assert said(answer) == ["This call does not wait for a decision any more: it is expired."]
    assert PAID == []


def test_who_may_look_and_who_may_decide(call: AIFunctionCall, user: User) -> None:
    looker = staff_browser("view_aifunctioncall", name="looker")
    page = looker.get(page_of(call))
    assert page.status_code == 200
    assert "You may not decide" in page.text
    assert "&quot;amount&quot;" not in page.text
    assert looker.post(page_of(call), agreed()).status_code == 403
    reader = staff_browser("view_aifunctioncall", "view_aimessage", "view_aiconversation", name="reader")
    assert "&quot;amount&quot;: 5" in reader.get(page_of(call)).text
    assert address(AIConversation, "transcript", call.turn.conversation_id) in reader.get(page_of(call)).text
    decider = staff_browser("auth.delete_user", name="decider")
    assert decider.get(page_of(call)).status_code == 403
    assert decider.post(page_of(call), agreed()).status_code == 403
    user.is_staff = user.is_superuser = True
    user.save()
    asker = Client()
    asker.force_login(user)
    assert asker.post(page_of(call), agreed()).status_code == 403
    assert AIFunctionCall.objects.get().status == "awaiting_approval"


def test_a_decision_needs_a_csrf_token(call: AIFunctionCall, staff_user: User) -> None:
    browser = Client(enforce_csrf_checks=True)
    browser.force_login(staff_user)
    assert browser.post(page_of(call), agreed()).status_code == 403
    assert PAID == []


def test_a_call_whose_function_is_gone_can_be_looked_at(call: AIFunctionCall, admin_browser: Client) -> None:
    function_registry.unregister("pay")
    page = admin_browser.get(page_of(call))
    assert "nobody: the function is gone" in page.text
    assert admin_browser.post(page_of(call), agreed()).status_code == 403
    function_registry.register(pay, requires_approval=True)


def test_what_can_not_be_paid_for_is_said_and_not_decided(call: AIFunctionCall, settings: Any) -> None:
    settings.OPENAI_PRICES = {"gpt-6-luna": {"input": "1", "output": "2"}}
    settings.OPENAI_BUDGETS = [{"scope": "site", "period": "day", "limit": "0.00000001"}]
    answer = staff_browser(*MAY).post(page_of(call), agreed(), follow=True)
    assert "budget" in said(answer)[0]
    assert AIFunctionCall.objects.get().status == "awaiting_approval"


def test_what_is_wrong_with_anything_else_is_not_said_of_the_arguments(
    call: AIFunctionCall, settings: Any
) -> None:
    settings.OPENAI_BUDGETS = [{"scope": "site", "period": "day", "limit": "1"}]
    settings.OPENAI_PRICES = {}
    AITurn.objects.update(options={"model": "nobodys"})
    page = staff_browser(*MAY).post(page_of(call), {"deny": "1"})
    assert "nobodys has no known price" in str(page.context["form"].non_field_errors())
    assert "arguments" not in page.context["form"].errors or not page.context["form"].errors["arguments"]


def test_a_worker_goes_on_where_workers_answer(
    call: AIFunctionCall, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from django_chatgpt.services import runners

    monkeypatch.setattr(runners, "queues", lambda: True)
    monkeypatch.setattr(runners, "send", lambda *args, **kwargs: None)
    settings.OPENAI_TURN_RUNNER = "celery"
    answer = staff_browser(*MAY).post(page_of(call), agreed(), follow=True)
    assert said(answer) == ["Approved. A worker goes on with the turn."]
    assert (AITurn.objects.get().status, PAID) == ("queued", [])


def test_under_asgi_nobody_waits_for_the_turn(call: AIFunctionCall, staff_user: User) -> None:
    browser = AsyncClient()
    browser.force_login(staff_user)

    async def decide() -> Any:
        answer = await browser.post(page_of(call), agreed())
        await wait_for_turns()
        return answer

    assert async_to_sync(decide)().status_code == 302
    assert PAID == [5]
    assert AITurn.objects.get().status == "completed"
    assert AIMessage.objects.order_by("sequence").last().content == "It is done."
