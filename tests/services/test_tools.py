"""Turns in which the model calls functions of the site, and whatever can go wrong with that."""

from __future__ import annotations

import asyncio
import json
import logging
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
from asgiref.sync import async_to_sync
from django.contrib.auth.models import User
from pytest_django import Settings

from django_chatgpt.core.events import CallRequested, CallReturned, Content, Finished
from django_chatgpt.exceptions import ToolFailedError
from django_chatgpt.functions import Caller, Function
from django_chatgpt.models import AIFunction, AIFunctionCall, AIMessage, AITurn, AIUsage
from django_chatgpt.services import AIService, chat
from django_chatgpt.testing import Answer, Call, FakeOpenAI

if TYPE_CHECKING:
    from tests.services.conftest import Async, Sync

    Colour = Sync | Async


def add(a: int, b: int = 1) -> int:
    """Add two numbers."""
    return a + b


async def double(a: int) -> int:
    """Double a number."""
    await asyncio.sleep(0)
    return 2 * a


def fail(a: int) -> int:
    """Fail."""
    raise RuntimeError("the password is hunter2")


def refuse(a: int) -> int:
    """Say no."""
    raise ToolFailedError("Ask for a smaller number.")


def linger(a: int) -> int:
    """Take a while."""
    time.sleep(0.4)
    return a


async def hang(a: int) -> int:
    """Never return."""
    await asyncio.Event().wait()
    return a


FUNCTIONS = [
    Function("add", add),
    Function("double", double),
    Function("fail", fail),
    Function("refuse", refuse),
    Function("hang", hang, timeout=0.2),
    Function("secret", add, permission="auth.delete_user"),
]


def test_three_parallel_calls_with_mixed_fragments_come_out_in_order(
    colour: Colour, dialect: str, user: User, fake_openai: FakeOpenAI
) -> None:
    calls = [
        Call("add", {"a": 1, "b": 2}, id="call_x", fragments=5),
        Call("double", {"a": 21}, id="call_y", fragments=3),
        Call("add", {"a": 5}, id="call_z", fragments=4),
    ]
    fake_openai.script(Answer("Let me count.", calls=calls, interleave=True), "Done.")
    events = colour.stream(AIService(user), "Count", functions=FUNCTIONS)
    requested = [event.call for event in events if isinstance(event, CallRequested)]
    assert [(call.name, json.loads(call.arguments)) for call in requested] == [
        ("add", {"a": 1, "b": 2}),
        ("double", {"a": 21}),
        ("add", {"a": 5}),
    ]
    assert [e.result.output for e in events if isinstance(e, CallReturned)] == ["3", "42", "6"]
    lines = AIMessage.objects.order_by("sequence")
    assert [line.role for line in lines] == ["user", "assistant", "tool", "tool", "tool", "assistant"]
    assert [line.content for line in lines if line.role == "tool"] == ["3", "42", "6"]
    finished = next(event for event in events if isinstance(event, Finished))
    assert finished.usage.total_tokens == sum(AIUsage.objects.values_list("total_tokens", flat=True))
    assert AIUsage.objects.count() == 2
    assert set(AIFunctionCall.objects.values_list("status", flat=True)) == {"completed"}


@dataclass
class Case:
    """A call that can't succeed, and what the model is told."""

    call: Call
    code: str
    told: str


CASES = {
    "wrong type": Case(Call("add", {"a": "many"}), "invalid_arguments", "a"),
    "missing": Case(Call("add", {"b": 1}), "invalid_arguments", "a"),
    "extra": Case(Call("add", {"a": 1, "b": 1, "c": 1}), "invalid_arguments", "c"),
    "broken JSON": Case(Call("add", '{"a": 1'), "invalid_arguments", "JSON"),
    "unknown": Case(Call("launch_rockets", {}), "unknown_function", "no function"),
    "misspelt": Case(Call("ad", {"a": 1}), "unknown_function", "Did you mean add?"),
    "exception": Case(Call("fail", {"a": 1}), "function_failed", "failed"),
    "refusal": Case(Call("refuse", {"a": 1}), "function_failed", "Ask for a smaller number."),
    "timeout": Case(Call("hang", {"a": 1}), "function_timeout", "hang"),
    "forbidden": Case(Call("secret", {"a": 1}), "permission_denied", "may not"),
}


@pytest.mark.parametrize("name", CASES)
def test_whatever_goes_wrong_the_model_is_told_and_the_turn_goes_on(
    colour: Colour,
    dialect: str,
    name: str,
    user: User,
    fake_openai: FakeOpenAI,
    caplog: pytest.LogCaptureFixture,
) -> None:
    case = CASES[name]
    for function in FUNCTIONS:
        AIFunction.objects.create(name=function.name)
    fake_openai.script(Answer(calls=[case.call, Call("double", {"a": 4})]), "Never mind.")
    with caplog.at_level(logging.INFO):
        events = colour.stream(AIService(user), "Go", functions=FUNCTIONS)
    assert "".join(event.content for event in events if isinstance(event, Content)) == "Never mind."
    failed, fine = (event.result for event in events if isinstance(event, CallReturned))
    assert (failed.status, failed.error_code) == ("failed", case.code)
    assert case.told in failed.output
    assert (fine.status, fine.output) == ("completed", "8"), "its siblings are none the worse"
    assert case.told in "\n".join(fake_openai.calls[1].texts), "the model was told"
    assert "hunter2" not in "".join(fake_openai.calls[1].texts)
    assert AITurn.objects.get().status == "completed"
    assert not AIUsage.objects.exclude(outcome="completed").exists()
    row = AIFunctionCall.objects.get(name=case.call.name)
    assert (row.status, row.error_code) == ("failed", case.code)
    counted = AIFunction.objects.filter(name=case.call.name).first()
    if counted is not None:
        assert (counted.usage_count, counted.error_count) == (1, 1)
    double_row = AIFunction.objects.get(name="double")
    assert (double_row.success_count, double_row.success_rate) == (1, 100)


def test_who_may_not_call_a_function_is_not_told_of_it(
    colour: Colour, user: User, fake_openai: FakeOpenAI
) -> None:
    colour.ask(AIService(user), "Go", functions=FUNCTIONS)
    offered = {tool["function"]["name"] for tool in fake_openai.calls[0].body["tools"]}
    assert offered == {"add", "double", "fail", "refuse", "hang"}


def test_a_model_that_calls_for_ever_is_stopped_at_the_cap(
    colour: Colour, dialect: str, user: User, fake_openai: FakeOpenAI, settings: Settings
) -> None:
    settings.OPENAI_MAX_TOOL_STEPS = 3
    fake_openai.script(*[Answer(calls=[Call("add", {"a": 1})])] * 3, "Enough.")
    reply = colour.ask(AIService(user), "Go", functions=FUNCTIONS)
    assert reply.content == "Enough."
    assert len(reply.function_calls) == 3
    assert [call.body.get("tool_choice") for call in fake_openai.calls] == [None, None, None, "none"]


def test_the_caller_is_given_and_the_key_is_stable(
    colour: Colour, user: User, fake_openai: FakeOpenAI
) -> None:
    seen: list[Caller] = []

    def who(caller: Caller) -> str:
        """Tell who asks."""
        seen.append(caller)
        return "you"

    fake_openai.script(Answer(calls=[Call("who", {}, id="call_1")]), "You.")
    reply = colour.ask(AIService(user), "Who?", functions=[who])
    (caller,) = seen
    assert (caller.user, caller.conversation_id, caller.turn_id) == (
        user,
        reply.conversation_id,
        reply.turn_id,
    )
    assert caller.call_id == "call_1"
    assert len(caller.idempotency_key) == 64


def test_a_stop_while_a_function_runs(user: User, fake_openai: FakeOpenAI) -> None:
    """From another process, as the database tells it."""

    def stopping(a: int) -> int:
        """Be stopped meanwhile."""
        from django.utils import timezone

        AITurn.objects.update(cancel_requested_at=timezone.now())
        return a

    fake_openai.script(Answer(calls=[Call("stopping", {"a": 7})]))
    events = list(AIService(user).stream("Go", functions=[stopping]))
    assert next(event for event in events if isinstance(event, Finished)).reason == "cancelled"
    assert AITurn.objects.get().status == "cancelled"
    assert AIMessage.objects.get(role="tool").content == "7", "what it returned is kept"
    assert len(fake_openai.calls) == 1
    assert not AIUsage.objects.filter(outcome="running").exists()


@pytest.mark.django_db(transaction=True)
def test_a_turn_that_is_stopped_does_not_wait_for_a_coroutine(user: User, fake_openai: FakeOpenAI) -> None:
    begun = threading.Event()

    async def endless(a: int) -> int:
        """Never return."""
        begun.set()
        await asyncio.Event().wait()
        return a

    quick = Function("quick", add)
    fake_openai.script(Answer(calls=[Call("quick", {"a": 1}), Call("endless", {"a": 1})]))

    async def run() -> None:
        ask = chat.Ask(user=user, text="Go", functions=[quick, Function.of(endless)])
        task = await chat.alaunch(lambda: chat.begin(ask))
        assert not isinstance(task, AITurn)
        await asyncio.to_thread(begun.wait, 5)
        await asyncio.sleep(0.1)
        task.stop()
        async with asyncio.timeout(5):
            async for _ in task.events():
                pass

    asyncio.run(run())
    assert AITurn.objects.get().status == "cancelled"
    statuses = dict(AIFunctionCall.objects.values_list("name", "status"))
    assert statuses == {"quick": "completed", "endless": "unknown"}
    fake_openai.reset()
    again = AIService(user).ask("And?", AITurn.objects.get().conversation_id)
    assert again.content, "the transcript is one that a provider takes"


def test_functions_run_side_by_side(user: User, fake_openai: FakeOpenAI) -> None:
    """In the coroutine colour; within the transaction of a test plain functions can't."""
    order: list[str] = []
    both = asyncio.Event()

    async def slow(a: int) -> int:
        """Wait for the other."""
        order.append("slow begins")
        await both.wait()
        return a

    async def quick(a: int) -> int:
        """Be quick."""
        order.append("quick")
        both.set()
        return a

    fake_openai.script(Answer(calls=[Call("slow", {"a": 1}), Call("quick", {"a": 2})]), "Done.")
    async_to_sync(AIService(user).aask)("Go", functions=[slow, quick])
    assert order == ["slow begins", "quick"]
