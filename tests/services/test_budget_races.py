"""Many who ask at once, of whom some leave and some are killed, and budgets that hold nevertheless.

With DJANGO_CHATGPT_RACES=full in the environment they are more: 64 threads, 4 processes; `-s` shows figures.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.db import connection, connections
from django.db.models import F, Sum
from django.utils import timezone
from pytest_django import Settings

from django_chatgpt.models import AIConversation, AITurn, AIUsage
from django_chatgpt.services.sweeper import release_dead
from django_chatgpt.testing import Answer, FakeOpenAI, Request, Usage
from tests.services.asking import ask

ROOT = Path(__file__).resolve().parents[2]
FULL = os.environ.get("DJANGO_CHATGPT_RACES") == "full"
THREADS = 64 if FULL else 16
QUESTIONS = 512 if FULL else 64
PROCESSES, KILLED, THREADS_EACH = (4, 2, 16) if FULL else (2, 1, 3)
SITE = 4000 if FULL else 300
WORST = 18
PROMPT = 8

RULES: dict[str, Any] = {
    "OPENAI_PRICES": {"gpt-6-luna": {"input": "1000000", "output": "1000000"}},
    "OPENAI_MAX_TOKENS": 10,
    "OPENAI_ON_DISCONNECT": "cancel",
    "OPENAI_MAX_RETRIES": 0,
}

pytestmark = [pytest.mark.django_db(transaction=True)]


@pytest.fixture(autouse=True)
def _rules(settings: Settings) -> None:
    for name, value in RULES.items():
        setattr(settings, name, value)


def budgets(user: int, site: int) -> list[dict[str, str]]:
    return [
        {"scope": "user", "period": "day", "limit": str(user)},
        {"scope": "site", "period": "month", "limit": str(site)},
    ]


def answering(fake: FakeOpenAI) -> None:
    chance = random.Random(7)

    def respond(request: Request) -> Answer:
        return Answer(chunks=["a ", "b ", "c "], delay=0.005, usage=Usage(PROMPT, chance.randint(1, 10)))

    fake.respond_with(respond)


@contextmanager
def watched(limit: int) -> Iterator[list[Decimal]]:
    """Look again and again at what is used; what was too much is in the list afterwards."""
    over: list[Decimal] = []
    done = threading.Event()
    looked = 0

    def watch() -> None:
        nonlocal looked
        while not done.wait(0.002):
            used = total()
            looked += 1
            if used > limit:
                over.append(used)
        connections.close_all()

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield over
    finally:
        done.set()
        thread.join()
    assert looked > 1


def total() -> Decimal:
    sums = AIUsage.objects.aggregate(spent=Sum("estimated_cost"), held=Sum("reserved_cost"))
    return (sums["spent"] or Decimal(0)) + (sums["held"] or Decimal(0))


def show(went: list[str], fake: FakeOpenAI) -> None:
    counts = {word: went.count(word) for word in sorted(set(went))}
    rows = AIUsage.objects.count()
    sys.stdout.write(f"{connection.vendor} {counts} asked {len(fake.calls)} rows {rows} used {total()}\n")


def assert_at_rest() -> None:
    assert not AIUsage.objects.exclude(reserved_cost=None).exists()
    assert not AIUsage.objects.filter(outcome="running").exists()
    assert not AITurn.objects.active().exists()


def assert_totals() -> None:
    """What conversations say they cost is what the ledger says."""
    sums = {"spent": Sum("usage__estimated_cost"), "used": Sum("usage__total_tokens")}
    rows = AIConversation.objects.annotate(**sums)
    assert not rows.exclude(total_cost=F("spent"), total_tokens=F("used")).exists()


def test_threads_with_some_that_leave(fake_openai: FakeOpenAI, settings: Settings) -> None:
    users = [get_user_model().objects.create_user(name) for name in ("ada", "bob", "eve")]
    settings.OPENAI_BUDGETS = budgets(user=SITE // 2, site=SITE)
    answering(fake_openai)
    barrier = threading.Barrier(THREADS, timeout=20)

    def work(seed: int) -> list[str]:
        chance = random.Random(seed)
        connection.ensure_connection()
        barrier.wait()
        try:
            asked = range(QUESTIONS // THREADS)
            return [ask(chance.choice(users), leave=chance.random() < 0.3) for _ in asked]
        finally:
            connections.close_all()

    with watched(SITE) as over, ThreadPoolExecutor(THREADS) as pool:
        went = [word for words in pool.map(work, range(THREADS)) for word in words]
    assert over == []
    assert set(went) == {"answered", "refused"}
    assert_at_rest()
    assert_totals()
    # Whoever was refused while much was reserved finds what was not used of it, to the last question.
    went += [word for user in users for word in iter(partial(ask, user), "refused")]
    assert SITE - WORST < total() <= SITE
    for user in users:
        spent = AIUsage.objects.filter(user=user).aggregate(sum=Sum("estimated_cost"))["sum"] or 0
        assert spent <= SITE // 2
    assert went.count("answered") == len(fake_openai.calls) == AIUsage.objects.count()
    show(went, fake_openai)


def test_when_nobody_leaves_both_sides_count_the_same(fake_openai: FakeOpenAI, settings: Settings) -> None:
    user = get_user_model().objects.create_user("ada")
    limit = SITE * 2 // 3
    settings.OPENAI_BUDGETS = budgets(user=limit, site=2 * limit)
    answering(fake_openai)

    def work(number: int) -> str:
        try:
            return ask(user)
        finally:
            connections.close_all()

    with watched(limit) as over, ThreadPoolExecutor(THREADS) as pool:
        went = list(pool.map(work, range(QUESTIONS // 2)))
    assert over == []
    assert went.count("answered") == len(fake_openai.calls)
    sums = AIUsage.objects.aggregate(sent=Sum("prompt_tokens"), got=Sum("completion_tokens"))
    billed = fake_openai.tokens_billed
    assert (sums["sent"], sums["got"]) == (billed.prompt, billed.completion)
    assert_at_rest()
    show(went, fake_openai)


def test_the_first_question_of_a_user_nobody_has_seen(fake_openai: FakeOpenAI, settings: Settings) -> None:
    """Of those who race to be the first, as many are let through as there is money for."""
    settings.OPENAI_BUDGETS = [{"scope": "user", "period": "day", "limit": str(2 * WORST)}]
    fake_openai.respond_with(lambda request: Answer("Hello", usage=Usage(PROMPT, 10)))
    for name in ("ada", "bob", "eve"):
        user = get_user_model().objects.create_user(name)
        barrier = threading.Barrier(8, timeout=20)

        def work(number: int, user: Any = user, barrier: threading.Barrier = barrier) -> str:
            connection.ensure_connection()
            barrier.wait()
            try:
                return ask(user)
            finally:
                connections.close_all()

        with ThreadPoolExecutor(8) as pool:
            went = sorted(pool.map(work, range(8)))
        assert went == ["answered"] * 2 + ["refused"] * 6


def test_processes_of_which_some_are_killed(fake_openai: FakeOpenAI, settings: Settings) -> None:
    user = get_user_model().objects.create_user("ada")
    limit = SITE // 2
    rules = {
        **RULES,
        "OPENAI_BUDGETS": budgets(user=limit, site=2 * limit),
        "OPENAI_BASE_URL": fake_openai.base_url,
        "OPENAI_API_KEY": fake_openai.api_key,
        "OPENAI_TURN_LEASE": 1,
    }
    answering(fake_openai)
    task = {"settings": rules, "user": user.pk, "threads": THREADS_EACH, "questions": 5, "leave": 0.2}
    environment = {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": os.environ["DJANGO_SETTINGS_MODULE"],
        "PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")])),
        "DJANGO_CHATGPT_DATABASE": str(connection.settings_dict["NAME"]),
    }
    command = [sys.executable, "-m", "tests.services.asking", json.dumps(task)]
    with watched(limit) as over:
        processes = [
            subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
            for _ in range(PROCESSES)
        ]
        try:
            fake_openai.wait_for(4, within=60)
            for process in processes[:KILLED]:
                process.send_signal(signal.SIGKILL)
            heard = [process.communicate(timeout=60)[0].split() for process in processes]
        finally:
            for process in processes:
                process.kill()
                process.wait()
        AITurn.objects.active().update(lease_expires_at=timezone.now() - timedelta(seconds=1))
        release_dead()
    assert over == []
    went = [word for words in heard for word in words]
    assert set(went) <= {"answered", "refused"}
    assert (
        went.count("answered")
        <= len(fake_openai.calls)
        <= went.count("answered") + KILLED * (THREADS_EACH + 1)
    )
    assert AIUsage.objects.count() >= len(fake_openai.calls)
    assert_at_rest()
    assert_totals()
    assert total() <= limit
    show(went, fake_openai)
