"""Every way to ask: the same question through each, and all that is shown of its turn."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any
from uuid import UUID

import pytest
from asgiref.sync import async_to_sync, sync_to_async
from django.contrib.auth.models import User

from django_chatgpt.core.events import TurnEvent
from django_chatgpt.models import AITurn
from django_chatgpt.runtime.inline import in_a_thread
from django_chatgpt.runtime.tasks import wait_for_turns
from django_chatgpt.services import AIService, approvals, chat, follow, runners
from django_chatgpt.services.cancel import cancel
from django_chatgpt.tasks import process_ai_message_async
from tests.api.conftest import Answer, Door
from tests.parity.scripts import HEARD, Script
from tests.parity.shown import HTTP, SOCKET, WHOLE, Shown, of_engine, of_http, of_socket
from tests.servers.processes import until

QUESTION = "What is it?"
AGREED = approvals.Decision(True)

Ask = Callable[[User, Script], list[Shown]]


def the_turn(user: User) -> AITurn:
    """The last that was asked."""
    turn = AITurn.objects.filter(user=user).order_by("pk").last()
    assert turn is not None
    return turn


@contextmanager
def stopped_when_heard(user: User, script: Script) -> Iterator[None]:
    """Somebody else cancels the turn, once what comes before the gate has been heard and kept."""
    if not script.cancelled:
        yield
        return

    def stop() -> None:
        assert script.gate.reached.wait(20)
        turn = until(
            lambda: AITurn.objects.filter(user=user, status="running", partial_text=HEARD).first(), "the text"
        )
        cancel(turn.pk, user.pk)

    stopping = in_a_thread(stop)
    yield
    stopping.result(20)


def service(user: User, script: Script) -> list[Shown]:
    """The site's own code, in a thread."""
    with stopped_when_heard(user, script):
        events: list[Any] = list(AIService(user).stream(QUESTION))
    if script.approved:
        prepared = approvals.decide(user, events[0].turn_id, AGREED)
        assert isinstance(prepared, chat.Prepared)
        events += chat.run(prepared)
    return of_engine(events)


def coroutine(user: User, script: Script) -> list[Shown]:
    """The same in a coroutine."""

    async def ask() -> list[TurnEvent]:
        events = [event async for event in AIService(user).astream(QUESTION)]
        if script.approved:
            decide = sync_to_async(approvals.decide)
            prepared = await decide(user, events[0].turn_id, AGREED)
            task = chat.launch(prepared)
            events += [event async for batch in task.events() for event in batch]
        return events

    with stopped_when_heard(user, script):
        return of_engine(async_to_sync(ask)())


def wsgi(user: User, script: Script) -> list[Shown]:
    return _over_http(Door("wsgi", user), user, script)


def asgi(user: User, script: Script) -> list[Shown]:
    return _over_http(Door("asgi", user), user, script)


def _over_http(door: Door, user: User, script: Script) -> list[Shown]:
    with stopped_when_heard(user, script):
        answer = door.ask(QUESTION, stream=True)
    assert answer.status == 200
    events = list(answer.events)
    if script.approved:
        body = {"approve": True, "stream": True}
        events += door.send("POST", f"/ai/turns/{answer.turn_id}/approve/", body).events
    return of_http(events)


def socket(user: User, script: Script) -> list[Shown]:
    """A question as a frame; the decision, which no frame is for, over HTTP."""
    from tests.consumers.pages import Page

    async def ask() -> list[dict[str, Any]]:
        page = await Page(user).open()
        frames = await page.ask(QUESTION)
        if script.approved:
            assert frames[-1]["waiting"][0]["call_id"] == "call_pay"
            turn_id = frames[0]["turn_id"]
            prepared = await sync_to_async(approvals.decide)(user, UUID(turn_id), AGREED)
            chat.launch(prepared).leave()
            await page.send("resume", turn_id=turn_id, after=frames[-1]["id"])
            frames += await page.read_to("message_complete", "error")
        await page.leave()
        await wait_for_turns()
        return frames

    with stopped_when_heard(user, script):
        return of_socket(async_to_sync(ask)())


class Workers:
    """Threads in the place of workers: each does the task for one turn that it is told of."""

    def __init__(self) -> None:
        self.working: list[Future[Any]] = []

    def send(self, name: str, turn_id: str, task_id: str | None = None) -> None:
        assert name == runners.ANSWER
        self.working.append(in_a_thread(lambda: process_ai_message_async(turn_id)))


def worker(user: User, script: Script) -> list[Shown]:
    """A turn that is left to a worker, and followed by its log."""
    workers = Workers()
    with pytest.MonkeyPatch.context() as patch, stopped_when_heard(user, script):
        patch.setattr(runners, "queues", lambda: True)
        patch.setattr(runners, "send", workers.send)
        turn = chat.begin(chat.Ask(user=user, text=QUESTION))
        assert isinstance(turn, AITurn)
        events = _followed(turn, 0)
        if script.approved:
            turn = approvals.decide(user, turn.pk, AGREED)
            assert isinstance(turn, AITurn)
            events += _followed(turn, events[-1].seq)
        for working in workers.working:
            assert working.result(20)["turn_id"] == str(turn.pk)
    return of_engine(events)


def _followed(turn: AITurn, after: int) -> list[TurnEvent]:
    watch = follow.Watch(turn.pk, turn.user_id, after)
    return [event for event in follow.follow(watch, release=True) if event is not None]


def resumed(user: User, script: Script) -> list[Shown]:
    """One that hears half of it, goes, and comes back elsewhere."""
    whole = asgi(user, script)
    half = len(whole) // 2
    return whole[:half] + of_http(replay(Door("wsgi", user), the_turn(user), whole[half - 1].number).events)


def replay(door: Door, turn: AITurn, after: int) -> Answer:
    return door.get(f"/ai/turns/{turn.pk}/events/?after={after}")


#: Each way, and the words that it has.
DOORS: dict[str, tuple[Ask, dict[str, tuple[str, ...]]]] = {
    "service": (service, WHOLE),
    "coroutine": (coroutine, WHOLE),
    "wsgi": (wsgi, HTTP),
    "asgi": (asgi, HTTP),
    "socket": (socket, SOCKET),
    "worker": (worker, WHOLE),
    "resumed": (resumed, HTTP),
}
