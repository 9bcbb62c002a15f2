"""The fake as a process of its own."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx2
import pytest

BODY = {"model": "gpt-6-luna", "messages": [{"role": "user", "content": "Hi"}]}

Start = Callable[..., tuple["subprocess.Popen[str]", str]]


@pytest.fixture
def start() -> Iterator[Start]:
    """Start the command; the process and the line that it printed."""
    processes: list[subprocess.Popen[str]] = []

    def start(*options: str) -> tuple["subprocess.Popen[str]", str]:
        command = [sys.executable, "-W", "error", "-m", "django_chatgpt.testing", *options]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        processes.append(process)
        assert process.stdout is not None
        return process, process.stdout.readline().strip()

    yield start
    for process in processes:
        process.kill()
        process.communicate()


def ask(base_url: str, key: str = "k", **more: object) -> httpx2.Response:
    headers = {"authorization": f"Bearer {key}"}
    return httpx2.post(f"{base_url}/chat/completions", json=BODY | more, headers=headers)


def said(answer: httpx2.Response) -> str:
    content = answer.json()["choices"][0]["message"]["content"]
    assert isinstance(content, str)
    return content


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_serves_until_it_is_told_to_stop(start: Start, number: signal.Signals) -> None:
    process, base_url = start()
    assert base_url.startswith("http://127.0.0.1:")
    assert base_url.endswith("/v1")
    assert said(ask(base_url)) == "You said: Hi"
    process.send_signal(number)
    output, errors = process.communicate(timeout=20)
    assert (process.returncode, output, errors) == (0, "", "")


def test_a_script_and_a_pace(start: Start, tmp_path: Path) -> None:
    script = tmp_path / "script.json"
    script.write_text(json.dumps(["one", {"text": "two three", "chunks": 2}, {"failure": {"status": 429}}]))
    _, base_url = start("--script", str(script), "--delay", "0.1")
    begun = time.monotonic()
    assert said(ask(base_url)) == "one"
    assert said(ask(base_url)) == "two three"
    assert time.monotonic() - begun >= 0.3
    assert ask(base_url).status_code == 429
    assert said(ask(base_url)) == "You said: Hi"


def test_a_script_over_and_over(start: Start, tmp_path: Path) -> None:
    script = tmp_path / "script.json"
    script.write_text('["one", "two"]')
    _, base_url = start("--script", str(script), "--repeat", "--api-key", "sk-1", "--lenient")
    assert [said(ask(base_url, "sk-1", max_tokens=5)) for _ in range(5)] == [
        "one",
        "two",
        "one",
        "two",
        "one",
    ]
    assert ask(base_url, "sk-2").status_code == 401


@pytest.mark.parametrize(
    ("text", "problem"),
    [(None, "No such file"), ("{", "EOF"), ("{}", "array of steps"), ('[{"txt": 1}]', "no field 'txt'")],
)
def test_a_script_that_cannot_be_read(start: Start, tmp_path: Path, text: str | None, problem: str) -> None:
    script = tmp_path / "script.json"
    if text is not None:
        script.write_text(text)
    process, _ = start("--script", str(script))
    _, errors = process.communicate(timeout=20)
    assert process.returncode == 2
    assert problem in errors
