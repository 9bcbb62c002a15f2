"""The service works wherever Python runs: loop after loop, behind a fork, in many threads at once."""

from __future__ import annotations

import asyncio
import multiprocessing
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.contrib.auth.models import User
from django.db import connection, connections

from django_chatgpt.models import AIConversation, AITurn, AIUsage
from django_chatgpt.runtime.tasks import wait_for_turns
from django_chatgpt.services import AIService
from django_chatgpt.testing import FakeOpenAI

pytestmark = pytest.mark.django_db(transaction=True)


def test_three_loops_in_a_row(user: User, fake_openai: FakeOpenAI) -> None:
    async def ask() -> str:
        return (await AIService(user).aask("Hi")).content

    answers = [asyncio.run(ask()) for _ in range(3)]
    assert all("Hi" in answer for answer in answers)
    assert AITurn.objects.filter(status="completed").count() == 3
    fake_openai.wait_for(3, finished=True)


def test_a_loop_that_ends_interrupts_the_turn_and_keeps_its_text(user: User, fake_openai: FakeOpenAI) -> None:
    fake_openai.reply("one two three", chunks=3, stall_after=2)

    async def begin_and_go() -> None:
        async for event in AIService(user).astream("Hi"):
            if event.type == "content":
                return

    asyncio.run(begin_and_go())
    turn = AITurn.objects.get()
    assert turn.status == "interrupted"
    assert turn.partial_text.startswith("one")
    assert AIUsage.objects.get().outcome == "interrupted"
    fake_openai.wait_for(disconnected=True)


def _in_a_child(user_id: int) -> None:
    connections.close_all()
    AIService(User.objects.get(pk=user_id)).ask("From the child")
    connections.close_all()


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_after_a_fork(user: User, fake_openai: FakeOpenAI) -> None:
    AIService(user).ask("Before")
    connections.close_all()
    child = multiprocessing.get_context("fork").Process(target=_in_a_child, args=(user.pk,))
    child.start()
    child.join(20)
    assert child.exitcode == 0
    AIService(user).ask("After")
    assert AITurn.objects.filter(status="completed").count() == 3


def test_many_threads_at_once(user: User, fake_openai: FakeOpenAI) -> None:
    def ask(number: int) -> str:
        try:
            return AIService(user).ask(f"Question {number}.").content
        finally:
            connection.close()

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(ask, range(24)))
    assert all(f"Question {number}." in answer for number, answer in enumerate(answers))
    assert AIUsage.objects.filter(outcome="completed").count() == 24


def test_many_tasks_at_once(user: User, fake_openai: FakeOpenAI) -> None:
    async def ask_all() -> list[str]:
        replies = await asyncio.gather(*(AIService(user).aask(f"Question {n}.") for n in range(24)))
        await wait_for_turns()
        return [reply.content for reply in replies]

    answers = asyncio.run(ask_all())
    assert all(f"Question {number}." in answer for number, answer in enumerate(answers))
    assert AIConversation.objects.count() == 24
