"""What an answer from the response cache costs, against the bare cache in the same run.

    python -m benchmarks.cache [--redis URL] [--json FILE]

Medians in microseconds. `hit` is what the cache itself takes: the key of the request, the look, and the
SDK's object made of the bytes. `ledger` is the row that the hit leaves, on SQLite in memory; `call` is all
of `AIService.chat_completion`.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import django
from django.conf import settings

WORDS = "A line of a conversation, about as long as people write them when they chat with a model. "
AIM_US = 150


def configure(redis: str | None) -> None:
    backend = "redis.RedisCache" if redis else "locmem.LocMemCache"
    settings.configure(
        SECRET_KEY="benchmark",
        INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes", "django_chatgpt"],
        DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
        CACHES={"default": {"BACKEND": f"django.core.cache.backends.{backend}", "LOCATION": redis or ""}},
        USE_TZ=True,
        OPENAI_API_KEY="bench",
        OPENAI_BASE_URL="http://127.0.0.1:9/v1",
        LOGGING_CONFIG=None,
    )
    django.setup()


def median_us(function: Callable[[], Any], number: int = 3000) -> float:
    taken = []
    for _ in range(number):
        started = time.perf_counter_ns()
        function()
        taken.append(time.perf_counter_ns() - started)
    return statistics.median(taken) / 1000


def measure() -> dict[str, float]:
    from django.core.cache import cache
    from django.core.management import call_command

    from django_chatgpt.providers import ChatCompletion
    from django_chatgpt.services import AIService, caching
    from django_chatgpt.storage import ledger

    call_command("migrate", verbosity=0)
    service = AIService()
    messages = [{"role": ("user", "assistant")[number % 2], "content": WORDS} for number in range(21)]
    choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": WORDS * 5}}
    usage = {"prompt_tokens": 400, "completion_tokens": 100, "total_tokens": 500}
    head = {"id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "gpt-6-luna"}
    answer = ChatCompletion.construct(**head, choices=[choice], usage=usage)
    completion = service._request(messages, None, {})

    def key() -> str:
        return caching.PREFIX + str(caching.cache_key(completion))

    def hit() -> None:
        kept = cache.get(key())
        assert kept is not None
        assert caching._read(kept) is not None

    cache.set(key(), caching._written(answer))
    name = key()
    assert cache.get(name)
    figures = {
        "bare get": median_us(partial(cache.get, name)),
        "key": median_us(key),
        "hit": median_us(hit),
        "ledger": median_us(partial(ledger.note_cached, user_id=None, model="gpt-6-luna", latency_ms=0)),
        "call": median_us(partial(service.chat_completion, messages)),
    }
    cache.delete(name)
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--redis", metavar="URL", help="Redis instead of the process's own memory")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there")
    args = parser.parse_args()
    configure(args.redis)
    figures = measure()
    for name, figure in figures.items():
        aim = f"   <= {AIM_US}" if name == "hit" else ""
        print(f"{name:10}{figure:10.1f} us{figure / figures['bare get']:8.1f} x the bare get{aim}")
    if args.json:
        args.json.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
