"""Stopping a turn that runs: while the model speaks or is silent, while a function runs, or nothing does."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from typing import Any
from uuid import UUID

import pytest
from asgiref.sync import async_to_sync
from django.contrib.auth.models import User
from pytest_django import Settings

from django_chatgpt.core.effects import Stopped
from django_chatgpt.core.events import CallRequested, Content, Finished, TurnEvent
from django_chatgpt.core.ids import uuid7
from django_chatgpt.functions import Caller, Function
from django_chatgpt.functions import calls as calls_module
from django_chatgpt.functions.calls import FunctionBox
from django_chatgpt.models import AIFunctionCall, AIMessage, AITurn, AIUsage
from django_chatgpt.runtime import stops
from django_chatgpt.runtime.tasks import wait_for_turns
from django_chatgpt.services import AIService
from django_chatgpt.services.cancel import cancel
from django_chatgpt.storage import turns as storage
from django_chatgpt.testing import Answer, Call, Failure, FakeOpenAI, Gate

pytestmark = pytest.mark.django_db

Wish = Callable[[AITurn], object]


@pytest.fixture(params=["here", "elsewhere"])
def wish(request: pytest.FixtureRequest) -> Wish:
    """Spoken in the process of the turn, or only written into its row, as another process does."""
    if request.param == "here":
        return lambda turn: cancel(turn.pk, turn.user_id)
    return lambda turn: storage.ask_to_stop(turn.pk)


class Listener:
    """Reads a stream, and has the turn stopped once `when` is true; it sees that at every look for stops."""

    def __init__(self, colour: str, user: User, monkeypatch: pytest.MonkeyPatch, wish: Wish) -> None:
        self.shown: list[TurnEvent] = []
        self.when: Callable[[], object] = lambda: False
        self._colour, self._service, self._wish = colour, AIService(user), wish
        self._wanted = storage.stops_wanted
        monkeypatch.setattr(stops, "LOOK_SECONDS", 0.02)
        monkeypatch.setattr(storage, "stops_wanted", self._look)

    def _look(self, turn_ids: list[UUID]) -> list[UUID]:
        if self.when():
            self.when = lambda: False
            self._wish(AITurn.objects.get())
        return self._wanted(turn_ids)

    def listen(self, *functions: Function) -> AITurn:
        if self._colour == "async":
            async_to_sync(self._alisten)(functions)
        else:
            for event in self._service.stream("Hi", functions=functions):
                self.shown.append(event)
        turn = AITurn.objects.get()
        assert turn.status == "cancelled"
        assert (turn.active_conversation, turn.lease_expires_at) == (None, None)
        (end,) = (event for event in self.shown if isinstance(event, Finished))
        assert end.reason == "cancelled"
        assert not AIUsage.objects.filter(outcome="running").exists()
        return turn

    async def _alisten(self, functions: Any) -> None:
        async for event in self._service.astream("Hi", functions=functions):
            self.shown.append(event)
        await wait_for_turns()

    def saw(self, kind: type[TurnEvent]) -> bool:
        return any(isinstance(event, kind) for event in self.shown)


@pytest.fixture(params=["sync", "async"])
def listener(
    request: pytest.FixtureRequest, user: User, monkeypatch: pytest.MonkeyPatch, wish: Wish
) -> Listener:
    return Listener(request.param, user, monkeypatch, wish)


@pytest.fixture
def gate() -> Iterator[Gate]:
    gate = Gate()
    yield gate
    gate.open()


def test_while_the_model_is_silent(listener: Listener, fake_openai: FakeOpenAI, gate: Gate) -> None:
    """What has arrived is kept, and the connection closed."""
    fake_openai.script(Answer(chunks=["Half ", "an answer"], stall_after=1, stall=gate))
    listener.when = lambda: listener.saw(Content)
    listener.listen()
    answer = AIMessage.objects.get(role="assistant")
    assert (answer.content, answer.status) == ("Half ", "cancelled")
    fake_openai.wait_for(1, disconnected=True)
    assert AIUsage.objects.get().usage_source == "estimated"


def test_while_the_model_speaks(listener: Listener, fake_openai: FakeOpenAI) -> None:
    fake_openai.script(Answer(chunks=["word "] * 2000, delay=0.01))
    listener.when = lambda: listener.saw(Content)
    listener.listen()
    fake_openai.wait_for(1, disconnected=True)


def test_while_it_is_waited_to_ask_again(
    listener: Listener, fake_openai: FakeOpenAI, settings: Settings
) -> None:
    settings.OPENAI_MAX_RETRIES = 3
    fake_openai.script(Failure(429, headers={"retry-after": "50"}), "Too late")
    listener.when = lambda: fake_openai.calls
    listener.listen()
    assert len(fake_openai.calls) == 1
    assert not AIMessage.objects.filter(role="assistant").exists()


def test_before_the_next_function_is_called(listener: Listener, fake_openai: FakeOpenAI) -> None:
    """Coroutines are cancelled where they are; in a transaction, functions are called one after the other."""
    began: list[str] = []

    async def hang(caller: Caller) -> str:
        """Never return, where there is an event loop."""
        began.append(caller.call_id)
        if listener._colour == "async":
            await asyncio.Event().wait()
        await asyncio.sleep(0.6)
        return "done"

    calls = [Call("hang", {}, id="call_a"), Call("hang", {}, id="call_b")]
    fake_openai.script(Answer("One moment.", calls=calls), "Too late")
    listener.when = lambda: began
    listener.listen(Function("hang", hang))
    assert len(fake_openai.calls) == 1
    assert listener.saw(CallRequested)
    kept = dict(AIFunctionCall.objects.values_list("call_id", "status"))
    if listener._colour == "async":
        assert kept == {"call_a": "unknown", "call_b": "unknown"}
    else:
        assert (began, kept) == (["call_a"], {"call_a": "completed", "call_b": "unknown"})


def test_a_function_in_a_thread_is_left_behind(monkeypatch: pytest.MonkeyPatch, gate: Gate) -> None:
    """Where threads see the same data, whoever waits for one leaves as soon as it is told to."""
    leave = threading.Event()
    monkeypatch.setattr(calls_module, "only_here", lambda: False)

    def wait() -> str:
        """Wait for a very long time."""
        leave.wait()
        return "done"

    ticks: list[int] = []

    def tick() -> None:
        ticks.append(1)
        if len(ticks) == 3:
            raise Stopped("cancelled")

    box = FunctionBox([Function("wait", wait, timeout=3600)])
    call = calls_module.FunctionCall(id="call_a", name="wait", arguments="{}")
    with pytest.raises(Stopped):
        box.call([call], tick=0.01, on_tick=tick)
    leave.set()
    assert box.results == {}


def test_a_wish_that_comes_while_calls_are_parked_is_not_lost(user: User, fake_openai: FakeOpenAI) -> None:
    """Nobody would hear of it while the turn rests."""

    def look() -> str:
        """Look, and change one's mind."""
        storage.ask_to_stop(AITurn.objects.get().pk)
        return "seen"

    def pay() -> str:
        """Pay."""
        return "paid"

    functions = [Function("look", look), Function("pay", pay, requires_approval=True)]
    fake_openai.script(Answer("One moment.", calls=[Call("look", {}), Call("pay", {})]))
    list(AIService(user).stream("Hi", functions=functions))
    assert AITurn.objects.get().status == "cancelled"
    assert set(AIFunctionCall.objects.values_list("name", "status")) == {
        ("look", "completed"),
        ("pay", "expired"),
    }


def test_a_late_wish_stops_no_later_turn(user: User, fake_openai: FakeOpenAI) -> None:
    first = AIService(user).ask("Hi")
    assert cancel(first.turn_id, user.pk).turn.status == "completed"
    assert AIService(user).ask("And?", first.conversation_id).finish_reason == "stop"


def test_a_turn_that_goes_on_at_that_moment_is_stopped_all_the_same(
    user: User, fake_openai: FakeOpenAI, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was at rest when it was looked at, and runs when that is to be ended."""

    def pay() -> str:
        """Pay."""
        return "paid"

    fake_openai.script(Answer("", calls=[Call("pay", {})]))
    reply = AIService(user).ask("Hi", functions=[Function("pay", pay, requires_approval=True)])
    turn = AITurn.objects.get()
    assert turn.status == "awaiting_approval"
    asked = storage.ask_to_stop

    def goes_on(turn_id: UUID) -> bool:
        told = asked(turn_id)
        AITurn.objects.filter(pk=turn_id).update(status="running")
        return told

    monkeypatch.setattr(storage, "ask_to_stop", goes_on)
    seen = cancel(reply.turn_id, user.pk)
    assert (seen.turn.status, seen.turn.cancel_requested_at is not None) == ("running", True)


def test_a_look_that_fails_stops_nothing(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def away(turn_ids: list[UUID]) -> list[UUID]:
        raise RuntimeError("secret")

    monkeypatch.setattr(storage, "stops_wanted", away)
    told: list[str] = []
    with stops.heard(uuid7(), told.append):
        stops.look()
    assert told == []
    assert "secret" not in caplog.text
