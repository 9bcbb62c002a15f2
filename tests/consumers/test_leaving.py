"""A page that goes, and one that reads slowly: what becomes of the turn, and of the memory."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import wait
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connections
from django.test.utils import override_settings

from django_chatgpt import database
from django_chatgpt.consumers import AIStreamingConsumer
from django_chatgpt.consumers import chat as chat_module
from django_chatgpt.consumers import outbox as outbox_module
from django_chatgpt.consumers import socket as socket_module
from django_chatgpt.models import AIMessage, AITurn
from django_chatgpt.runtime import tasks
from django_chatgpt.runtime.tasks import wait_for_turns
from django_chatgpt.testing import Answer, FakeOpenAI, Gate
from tests.consumers.pages import Page, kinds_of, text_of, until

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.sqlite_only]

PIECES = [f"{number} " for number in range(60)]


@pytest.mark.parametrize(
    ("mode", "status"), [("continue", "completed"), ("drain", "completed"), ("cancel", "cancelled")]
)
async def test_leaving(page: Page, fake: FakeOpenAI, gate: Gate, mode: str, status: str) -> None:
    fake.script(Answer(chunks=PIECES, stall_after=2, stall=gate))
    with override_settings(OPENAI_ON_DISCONNECT=mode):
        await page.send("chat_message", message="Count")
        await page.read_to("content_chunk")
    await page.leave()
    gate.open()
    await wait_for_turns()
    turn = await AITurn.objects.aget()
    assert (turn.status, turn.active_conversation) == (status, None)
    answer = await AIMessage.objects.aget(role="assistant")
    assert (answer.content == "".join(PIECES)) is (status == "completed")


async def test_leaving_while_a_question_is_being_stored(
    user: User, fake: FakeOpenAI, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The question is there, so it is answered."""
    begun, go_on = asyncio.Event(), asyncio.Event()
    launch = chat_module.chat.alaunch

    async def slow(prepare: Any) -> Any:
        begun.set()
        await go_on.wait()
        return await launch(prepare)

    monkeypatch.setattr(chat_module.chat, "alaunch", lambda prepare: tasks.opened(slow(prepare)))
    page = await Page(user).open()
    await page.send("chat_message", message="Hi")
    await begun.wait()
    await page.leave()
    go_on.set()
    await until(AITurn.objects.filter(status="completed").aexists)
    await wait_for_turns()


async def test_leaving_a_turn_that_runs_elsewhere(
    page: Page, user: User, fake: FakeOpenAI, gate: Gate
) -> None:
    """Whoever only follows leaves without a trace, whatever the setting says."""
    with override_settings(OPENAI_ON_DISCONNECT="cancel"):
        fake.script(Answer(chunks=PIECES, stall_after=2, stall=gate))
        await page.send("chat_message", message="Count")
        begun = await page.read_to("content_chunk")
        other = await Page(user).open()
        await other.send("resume", turn_id=begun[0]["turn_id"])
        await other.read_to("content_chunk")
        await other.leave()
        gate.open()
        assert (await page.read_to("message_complete"))[-1]["reason"] == "stop"


class Slow(AIStreamingConsumer):
    """Whose other end reads only when it is let."""

    reads: asyncio.Event
    sending = 0

    async def send(self, *args: Any, **kwargs: Any) -> None:
        type(self).sending += 1
        await self.reads.wait()
        await super().send(*args, **kwargs)


async def test_a_slow_reader(user: User, fake: FakeOpenAI, monkeypatch: pytest.MonkeyPatch) -> None:
    """Little is kept for it; the turn runs on, and the rest comes from the log, all of it once."""
    monkeypatch.setattr(chat_module, "MOST_EVENTS", 5)
    monkeypatch.setattr(outbox_module, "MOST_WAITING", 3)
    monkeypatch.setattr(Slow, "reads", asyncio.Event(), raising=False)
    Slow.reads.set()
    page = await Page(user, consumer=Slow).open()
    Slow.reads.clear()
    fake.reply(chunks=PIECES, delay=0.002)
    await page.send("chat_message", message="Count")
    await until(AITurn.objects.filter(status="completed").aexists)
    await wait_for_turns()
    Slow.reads.set()
    seen = await page.read_to("message_complete")
    assert kinds_of(seen) == ["processing_start", "content_chunk", "message_complete"]
    assert text_of(seen) == "".join(PIECES)
    assert [frame["id"] for frame in seen] == list(range(1, len(seen) + 1))
    await page.leave()


@pytest.mark.parametrize(("mode", "status"), [("continue", "completed"), ("cancel", "cancelled")])
async def test_a_slow_reader_that_leaves(
    user: User, fake: FakeOpenAI, gate: Gate, monkeypatch: pytest.MonkeyPatch, mode: str, status: str
) -> None:
    """It has listened all the time, though it was told nothing for long."""
    overrun: list[bool] = []
    leave = tasks.TurnTask.leave

    def noted(task: tasks.TurnTask) -> None:
        overrun.append(task.overrun)
        leave(task)

    monkeypatch.setattr(tasks.TurnTask, "leave", noted)
    monkeypatch.setattr(chat_module, "MOST_EVENTS", 5)
    monkeypatch.setattr(outbox_module, "MOST_WAITING", 3)
    monkeypatch.setattr(Slow, "reads", asyncio.Event(), raising=False)
    Slow.reads.set()
    page = await Page(user, consumer=Slow).open()
    Slow.reads.clear()
    fake.script(Answer(chunks=PIECES, delay=0.002, stall_after=50, stall=gate))
    with override_settings(OPENAI_ON_DISCONNECT=mode):
        await page.send("chat_message", message="Count")
        await until(AITurn.objects.filter(partial_text__contains="49 ").aexists)
    await page.leave()
    gate.open()
    await wait_for_turns()
    assert overrun[0] is True
    assert (await AITurn.objects.aget()).status == status


async def _nothing_waits(page: Page) -> bool:
    return bool(page.socket.input_queue.empty())


async def test_frames_beyond_what_is_read_are_left_out(user: User, monkeypatch: pytest.MonkeyPatch) -> None:
    """A flood of pings, and nobody who reads the pongs."""
    monkeypatch.setattr(Slow, "reads", asyncio.Event(), raising=False)
    Slow.reads.set()
    page = await Page(user, consumer=Slow).open()
    Slow.reads.clear()
    for _ in range(500):
        await page.send("ping")
    await until(lambda: _nothing_waits(page))
    Slow.reads.set()
    pongs = 0
    while not await page.socket.receive_nothing(0.05):
        assert await page.read() == {"type": "pong"}
        pongs += 1
    assert pongs <= outbox_module.MOST_WAITING + 1
    await page.leave()


async def test_too_much_at_once(page: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket_module, "MOST_JOBS", 0)
    error = await page.error("get_conversations")
    assert (error["code"], error["retry_after"]) == ("rate_limited", 1)
    assert await page.answer("ping") == {"type": "pong"}


async def test_an_unforeseen_error_is_told_without_what_it_says(
    page: Page, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    secret = "-".join(("sk", "secret"))

    def broken(*args: Any) -> Any:
        raise RuntimeError(secret)

    monkeypatch.setattr(chat_module.conversations, "page_of", broken)
    error = await page.error("get_conversations")
    assert error["code"] == "internal_error"
    assert secret not in caplog.text + str(error)
    assert "RuntimeError while answering a frame" in caplog.text


async def test_the_other_end_breaks_off(
    user: User, monkeypatch: pytest.MonkeyPatch, fake: FakeOpenAI
) -> None:
    """Servers raise out of `send` when nobody is there any more; the turn is answered all the same."""

    class Broken(AIStreamingConsumer):
        async def send(self, text_data: Any = None, bytes_data: Any = None, close: bool = False) -> None:
            if "content_chunk" in text_data:
                raise OSError
            await super().send(text_data=text_data)

    page = await Page(user, consumer=Broken).open()
    fake.reply(chunks=PIECES)
    await page.send("chat_message", message="Hi")
    assert (await page.read())["type"] == "processing_start"
    await until(AITurn.objects.filter(status="completed").aexists)
    assert await page.socket.receive_nothing(0.05)
    await page.leave()
    await wait_for_turns()


async def test_no_connection_is_held_while_the_model_is_waited_for(
    page: Page, fake: FakeOpenAI, gate: Gate
) -> None:
    fake.script(Answer(chunks=PIECES, stall_after=2, stall=gate))
    await page.send("chat_message", message="Count")
    await page.read_to("content_chunk")
    barrier = threading.Barrier(database.POOL_THREADS)

    def held() -> list[str]:
        barrier.wait(10)
        return [each.alias for each in connections.all(initialized_only=True) if each.connection is not None]

    found = [database._pool.submit(held) for _ in range(database.POOL_THREADS)]
    await asyncio.to_thread(wait, found)
    assert [each.result() for each in found] == [[]] * database.POOL_THREADS
    gate.open()
    await page.read_to("message_complete")
