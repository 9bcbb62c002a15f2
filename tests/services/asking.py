"""A process that asks in several threads until a budget refuses; to be run, and killed, by a test.

Takes one argument, JSON: {"settings", "user", "threads", "questions", "leave"}. Writes a line for each
question: "answered", "refused", or the name of an error.
"""

from __future__ import annotations

import json
import random
import sys
import threading
from typing import Any

import django


def main(task: dict[str, Any]) -> None:
    django.setup()
    from django.test import override_settings

    with override_settings(**task["settings"]):
        threads = [
            threading.Thread(target=ask_on, args=(task, seed), daemon=True) for seed in range(task["threads"])
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()


def ask_on(task: dict[str, Any], seed: int) -> None:
    from django.contrib.auth import get_user_model
    from django.db import connections

    user = get_user_model().objects.get(pk=task["user"])
    chance = random.Random(seed)
    for _ in range(task["questions"]):
        sys.stdout.write(ask(user, leave=chance.random() < task["leave"]) + "\n")
        sys.stdout.flush()
    connections.close_all()


def ask(user: Any, *, leave: bool = False) -> str:
    """Ask once, and leave as soon as something is heard if `leave`. How it went, in a word."""
    from django_chatgpt.core.events import Content
    from django_chatgpt.exceptions import QuotaExceededError
    from django_chatgpt.services import chat

    try:
        prepared = chat.begin(chat.Ask(user=user, text="Hi", use_functions=False))
    except QuotaExceededError:
        return "refused"
    except Exception as error:
        return repr(error)
    assert isinstance(prepared, chat.Prepared)
    events = chat.run(prepared, release=True)
    for event in events:
        if leave and isinstance(event, Content):
            events.close()
            break
    return "answered"


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
