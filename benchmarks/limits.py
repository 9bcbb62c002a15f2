"""What limits cost: a stored turn with all of them against the same turn without, and one budget for many.

    python -m benchmarks.limits [--postgres NAME] [--turns N] [--threads N] [--profile] [--json FILE]

A turn is begun and finished as a door does it, with a model's answer that is there at once, in a conversation
of twenty messages; CPU of this process per turn, the two kinds in turns. All limits are budgets of the user
and of the site, rate limits and forbidden patterns; the window is fitted in both. The database is SQLite in
a file unless PostgreSQL is named. Then turns are begun and finished by N threads at once, each for a user of
its own: with one budget for all of them, and without any.
"""

from __future__ import annotations

import argparse
import cProfile
import json
import os
import pstats
import statistics
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

AIM = 1.15
HISTORY = 20
LINE = "A line of a conversation, about as long as people write them when they chat with a model."
LIMITS: dict[str, Any] = {
    "OPENAI_BUDGETS": [
        {"scope": "user", "period": "day", "limit": "100000"},
        {"scope": "site", "period": "month", "limit": "1000000"},
    ],
    "OPENAI_RATE_LIMITS": {"user": "1000000/m", "site": "1000000/m"},
    "OPENAI_FORBIDDEN_PATTERNS": [r"\b\d{16}\b", r"(?i)internal use only", r"BEGIN (RSA|EC) PRIVATE KEY"],
}
NO_LIMITS: dict[str, Any] = {
    "OPENAI_BUDGETS": [],
    "OPENAI_RATE_LIMITS": {},
    "OPENAI_FORBIDDEN_PATTERNS": [],
}
ONE_BUDGET = {**NO_LIMITS, "OPENAI_BUDGETS": [{"scope": "site", "period": "month", "limit": "1000000"}]}


def turn(user: Any, conversation_id: Any = None) -> None:
    """Begin a turn, and finish it with an answer that came at once."""
    from django_chatgpt.core.messages import TokenUsage
    from django_chatgpt.core.reply import Reply
    from django_chatgpt.core.request import Delta
    from django_chatgpt.core.spec import Attempt, Ending
    from django_chatgpt.services import chat

    asked = chat.Ask(user=user, text=LINE, conversation_id=conversation_id, use_functions=False)
    prepared = chat.begin(asked)
    assert isinstance(prepared, chat.Prepared)
    spec, now = prepared.spec, time.monotonic()
    reply = Reply(spec.attempt_id.hex[-12:])
    reply.add(Delta(text=LINE, model="bench"))
    reply.add(
        Delta(
            finish_reason="stop",
            usage=TokenUsage(prompt_tokens=300, completion_tokens=20, total_tokens=320),
        )
    )
    attempt = Attempt(
        spec.attempt_id, spec.request, now, reply, accepted=True, ended=now, outcome="completed"
    )
    spec.store.finish(Ending("completed", "stop", attempt=attempt), lambda settled: [])


def cpu_us(work: Callable[[], Any], number: int) -> float:
    """Microseconds of this process's CPU for each of `number` times."""
    began = time.process_time_ns()
    for _ in range(number):
        work()
    return (time.process_time_ns() - began) / number / 1000


def measure(turns: int) -> dict[str, float]:
    """CPU per turn with and without, in slices that take turns, so that both see the same machine."""
    from django.test import override_settings

    from benchmarks.fixtures import talk

    user = talk(HISTORY).user
    taken: dict[str, list[float]] = {"without": [], "with": []}
    slices = 10
    for number in range(-1, slices):
        for name, rules in (("without", NO_LIMITS), ("with", LIMITS)):
            conversation = talk(HISTORY, user)
            with override_settings(**rules):
                us = cpu_us(lambda pk=conversation.pk: turn(user, pk), max(1, turns // slices))
            if number >= 0:  # the first slice warms up
                taken[name].append(us)
    return {name: statistics.median(each) for name, each in taken.items()}


def throughput(threads: int, turns: int) -> dict[str, float]:
    """Turns a second, begun and finished by many threads."""
    from django.contrib.auth import get_user_model
    from django.db import connections
    from django.test import override_settings

    users = [get_user_model().objects.create(username=f"user{number}") for number in range(threads)]

    def work(user: Any) -> None:
        try:
            for _ in range(max(1, turns // threads)):
                turn(user)
        finally:
            connections.close_all()

    rates = {}
    for name, rules in (("no budget", NO_LIMITS), ("one budget", ONE_BUDGET)):
        with override_settings(**rules), ThreadPoolExecutor(threads) as pool:
            list(pool.map(turn, users))
            began = time.perf_counter()
            list(pool.map(work, users))
            rates[name] = threads * max(1, turns // threads) / (time.perf_counter() - began)
    return rates


def profile(turns: int) -> None:
    """Where the time of a turn with all limits goes."""
    from django.test import override_settings

    from benchmarks.fixtures import talk

    conversation = talk(HISTORY)
    with override_settings(**LIMITS):
        turn(conversation.user, conversation.pk)
        profiler = cProfile.Profile()
        profiler.enable()
        for _ in range(turns):
            turn(conversation.user, conversation.pk)
        profiler.disable()
    pstats.Stats(profiler).sort_stats("cumulative").print_stats(
        r"django_chatgpt|db/backends|sql/compiler", 45
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--postgres", metavar="NAME", help="a database on this machine instead of SQLite")
    parser.add_argument("--turns", type=int, default=600, metavar="N")
    parser.add_argument("--threads", type=int, default=8, metavar="N")
    parser.add_argument("--profile", action="store_true", help="show where the time goes instead")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        os.environ["BENCH_UPSTREAM"] = "http://127.0.0.1:9/v1"
        os.environ["BENCH_DATABASE"] = str(Path(folder) / "bench.sqlite3")
        if args.postgres:
            os.environ["BENCH_POSTGRES"] = args.postgres
        import benchmarks.site  # noqa: F401 - configures Django

        # isort: split
        from django.conf import settings
        from django.core.management import call_command

        settings.OPENAI_DEFAULT_MODEL = "bench"
        settings.OPENAI_MAX_TOKENS = 500
        call_command("migrate", verbosity=0)
        if args.profile:
            profile(args.turns)
            return
        figures = measure(args.turns) | throughput(args.threads, args.turns)
    ratio = figures["with"] / figures["without"]
    print(f"CPU per stored turn, us: {figures['without']:.0f} without limits, {figures['with']:.0f} with")
    print(f"ratio {ratio:.2f}   <= {AIM}")
    plain, budget = figures["no budget"], figures["one budget"]
    print(f"{args.threads} threads, turns/s: {plain:.0f} without a budget, {budget:.0f} with one for all")
    if args.json:
        args.json.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
