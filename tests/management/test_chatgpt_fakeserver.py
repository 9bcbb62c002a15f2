"""The fake OpenAI for those who work on a site's pages."""

from __future__ import annotations

import io
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
from django.core.management import CommandError, call_command

from django_chatgpt.management.commands.chatgpt_fakeserver import Command
from django_chatgpt.testing import Answer, Failure, FakeOpenAI
from django_chatgpt.testing.lorem import PAGES

ROOT = Path(__file__).parents[2]


@contextmanager
def server(*arguments: str) -> Iterator[tuple[subprocess.Popen[str], dict[str, str]]]:
    """The command in a process of its own, and what it said to set."""
    process = subprocess.Popen(
        [sys.executable, "-m", "django", "chatgpt_fakeserver", "--port", "0", *arguments],
        cwd=ROOT,
        env={**os.environ, "DJANGO_SETTINGS_MODULE": "tests.settings.sqlite", "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        yield process, dict(process.stdout.readline().strip().split("=", 1) for _ in range(2))
    finally:
        process.kill()
        process.communicate()


def ask(base_url: str, key: str, question: str = "Hi") -> httpx2.Response:
    body = {"model": "any", "messages": [{"role": "user", "content": question}]}
    headers = {"authorization": f"Bearer {key}"}
    return httpx2.post(f"{base_url}/chat/completions", json=body, headers=headers, timeout=30)


def text_of(response: httpx2.Response) -> str:
    text: str = response.json()["choices"][0]["message"]["content"]
    return text


def test_it_says_what_to_set_and_answers_until_it_is_ended(tmp_path: Path) -> None:
    script = tmp_path / "script.json"
    script.write_text(json.dumps(["First.", {"failure": {"status": 503}}]))
    with server("--script", str(script), "--speed", "100000") as (process, said):
        url, key = said["OPENAI_BASE_URL"], said["OPENAI_API_KEY"]
        assert text_of(ask(url, key)) == "First."
        assert ask(url, key).status_code == 503
        assert text_of(ask(url, key)) == PAGES[0]
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 0
        assert process.stderr is not None
        assert "Ctrl-C" in process.stderr.read()


def responder(steps: list[Any], **options: Any) -> Any:
    given = {"seed": 1, "fail_rate": 0.0, "repeat": False, "mode": "lorem", **options}
    return Command()._responder(steps, given)


def test_echo_a_script_that_repeats_and_failures() -> None:
    with FakeOpenAI() as fake:
        fake.respond_with(responder([], mode="echo"))
        assert text_of(ask(fake.base_url, "k", "Who?")) == "You said: Who?"
        fake.respond_with(responder([Answer("a"), Answer("b")], repeat=True))
        assert [text_of(ask(fake.base_url, "k")) for _ in range(3)] == ["a", "b", "a"]
    failing = responder([], fail_rate=0.5)
    steps = [failing(None) for _ in range(100)]
    broken = [step for step in steps if isinstance(step, Failure) or step.cut_after is not None]
    assert 20 < len(broken) < 80
    assert [failing(None) for _ in range(3)] != [Answer(PAGES[0])] * 3
    assert steps == [*map(responder([], fail_rate=0.5), [None] * 100)]


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["--speed", "0"], "tokens a second"),
        (["--fail-rate", "2"], "from 0 to 1"),
        (["--fail-rate", "often"], "from 0 to 1"),
        (["--script", "/nowhere.json"], "--script"),
    ],
)
def test_what_makes_no_sense_is_said(arguments: list[str], problem: str) -> None:
    with pytest.raises(CommandError, match=problem):
        call_command("chatgpt_fakeserver", *arguments, stdout=io.StringIO())


def test_a_port_that_is_taken() -> None:
    taken = socket.create_server(("127.0.0.1", 0))
    with taken, pytest.raises(CommandError, match="Name another with --port"):
        call_command("chatgpt_fakeserver", "--port", str(taken.getsockname()[1]), stdout=io.StringIO())
