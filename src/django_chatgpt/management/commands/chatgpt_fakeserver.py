"""The fake OpenAI as a server of its own, for work on a site's pages without a key."""

from __future__ import annotations

import itertools
import random
import signal
import threading
from argparse import ArgumentParser, ArgumentTypeError
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from django_chatgpt.testing import Answer, Failure, FakeOpenAI, Request
from django_chatgpt.testing.__main__ import load
from django_chatgpt.testing.lorem import page
from django_chatgpt.testing.script import echo
from django_chatgpt.testing.steps import Step

FAILURES: tuple[Step, ...] = (
    Failure(429, retry_after=1),
    Failure(500),
    Failure(503),
    Answer("This answer is cut in the middle of", cut_after=4),
)


def speed(text: str) -> float:
    return _number(text, "a number of tokens a second above 0", lambda value: value > 0)


def rate(text: str) -> float:
    return _number(text, "a number from 0 to 1", lambda value: 0 <= value <= 1)


def _number(text: str, allowed: str, fits: Any) -> float:
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not fits(value):
        raise ArgumentTypeError(f"must be {allowed}.")
    return value


class Command(BaseCommand):
    help = (
        "Serve a fake OpenAI on this machine: no key, no network, no cost. Point a site at it with the two "
        "lines that it prints, and work on the pages. It knows nothing of the database."
    )
    requires_system_checks = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--port", type=int, default=4711, help="port on 127.0.0.1; 0 takes any; 4711 by default"
        )
        parser.add_argument(
            "--mode",
            choices=("lorem", "echo"),
            default="lorem",
            help="what is said: a page of Markdown of ever another kind (default), or the question",
        )
        parser.add_argument(
            "--script", type=Path, metavar="FILE", help="answer by this JSON array of steps first"
        )
        parser.add_argument("--repeat", action="store_true", help="begin the script again at its end")
        parser.add_argument(
            "--speed", type=speed, default=30.0, metavar="N", help="tokens a second; 30 by default"
        )
        parser.add_argument(
            "--fail-rate", type=rate, default=0.0, metavar="P", help="share of the answers that fail, 0 to 1"
        )
        parser.add_argument("--seed", type=int, help="have the same answers fail each time")

    def handle(self, *args: Any, port: int, script: Path | None, **options: Any) -> None:
        fake = FakeOpenAI(port=port, strict=False, delay=1 / options["speed"])
        fake.respond_with(self._responder(self._steps(script), options))
        stop = threading.Event()
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                signal.signal(number, lambda *_: stop.set())
        try:
            fake.start()
        except OSError as error:
            raise CommandError(
                f"Port {port} can't be used: {error.strerror}. Name another with --port."
            ) from error
        try:
            self.stdout.write(f"OPENAI_BASE_URL={fake.base_url}\nOPENAI_API_KEY={fake.api_key}")
            self.stdout.flush()
            hint = "Put these into the environment of the site. Ctrl-C ends the server."
            self.stderr.write(hint, style_func=str)
            stop.wait()
        finally:
            fake.stop()

    def _steps(self, script: Path | None) -> list[Step]:
        if script is None:
            return []
        try:
            return load(script)
        except (OSError, ValueError) as error:
            raise CommandError(f"--script: {error}") from error

    def _responder(self, steps: list[Step], options: dict[str, Any]) -> Any:
        """What answers each request: now and then a failure, the script, and then the mode."""
        chance = random.Random(options["seed"])
        scripted = itertools.cycle(steps) if options["repeat"] else iter(steps)
        numbers = itertools.count()

        def respond(request: Request) -> Step:
            if chance.random() < options["fail_rate"]:
                return chance.choice(FAILURES)
            step = next(scripted, None)
            if step is not None:
                return step
            return echo(request) if options["mode"] == "echo" else Answer(page(next(numbers)))

        return respond
