"""The chat, on a real terminal, and what ends in a pipe."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from django_chatgpt.testing import Answer, FakeOpenAI, Gate
from tests.management.terminal import ROOT, Terminal
from tests.servers.conftest import Tables, environment, prepare

pytestmark = pytest.mark.sqlite_only

Start = Callable[..., Terminal]


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("site") / "site.sqlite3"
    prepare(environment(str(path)))
    return path


@pytest.fixture
def variables(database: Path, fake_openai: FakeOpenAI) -> dict[str, str]:
    return environment(str(database)) | {
        "DJANGO_SETTINGS_MODULE": "tests.management.site",
        "SITE_OPENAI": fake_openai.base_url,
        "INPUTRC": os.devnull,
    }


def interrupt(terminal: Terminal, heard: Callable[[], bool]) -> None:
    """Press Ctrl-C where a line is edited. Between two keys Python hears it only with the end of the line."""
    terminal.type("abc")
    terminal.expect("abc")
    terminal.type("\x03")
    deadline = time.monotonic() + 1
    while not heard() and time.monotonic() < deadline:
        time.sleep(0.02)
    if not heard():
        terminal.type("\n")


def test_a_chat_on_a_terminal(variables: dict[str, str], fake_openai: FakeOpenAI, database: Path) -> None:
    gate = Gate()
    fake_openai.script(
        "Some **bold** text.\n\n- one\n- two\n\nThe \x1b]0;evil\x07end.",
        Answer("This goes on and on", stall_after=2, stall=gate),
        "Again.",
    )
    with Terminal(variables, "chatgpt", "--user", "ada") as terminal:
        terminal.expect("type /help")
        terminal.expect("> ")
        terminal.line("First?")
        terminal.expect("tokens, 0.00")
        answer = terminal.shown
        assert "Some bold text." in answer
        assert "**" not in answer
        assert " • one" in answer
        assert "\x1b]0;" not in terminal.raw
        assert "\x1b[1m" in terminal.raw
        terminal.expect("> ")
        terminal.line("Second?")
        gate.reached.wait(20)
        terminal.expect("This goes")
        terminal.type("\x03")
        terminal.expect("Stopped; what has arrived is kept.")
        terminal.expect("> ")
        gate.open()
        terminal.type("\x1b[A\x1b[A\n")  # the arrow key brings the first question back
        terminal.expect("First?")
        terminal.expect("Again.")
        terminal.expect("> ")
        terminal.line("/lis")
        terminal.expect("Did you mean /list?")
        terminal.line("/list")
        terminal.expect("*  1  ")
        terminal.line("/model gpt-6-sol")
        terminal.expect("Questions go to gpt-6-sol.")
        terminal.line("/functions")
        terminal.expect("may not call functions")
        terminal.line("/stop")
        terminal.expect("Nothing runs here.")
        terminal.line("/new")
        terminal.expect("A new conversation.")
        terminal.line("/open 1")
        terminal.expect("Going on with")
        terminal.line("/open 77")
        terminal.expect("no such conversation")
        terminal.line("/he\t")
        terminal.expect("Ctrl-C stops an answer.")
        terminal.expect("> ")
        terminal.line("//two \\")
        terminal.expect("... ")
        terminal.line("lines")
        terminal.expect("You said: /two")
        terminal.expect("> ")
        interrupt(terminal, lambda: terminal.shows("Ctrl-C again"))
        terminal.expect("Ctrl-C again")
        interrupt(terminal, lambda: terminal.process.poll() is not None)
        assert terminal.ended() == 0
    with Terminal(variables, "chatgpt", "--plain", "--user", "ada", "--conversation", "last") as terminal:
        terminal.expect("Going on with")
        terminal.expect("> ")
        terminal.type("\x1b[A\n")  # what was asked before is there, too
        terminal.expect("You said: First?")
        terminal.expect("> ")
        terminal.type("\x04")
        assert terminal.ended() == 0
    questions = [call.question for call in fake_openai.calls]
    assert questions == ["First?", "Second?", "First?", "/two \nlines", "First?"]
    assert fake_openai.calls[3].model == "gpt-6-sol"
    turns = Tables(database)._rows("SELECT status FROM ai_turn ORDER BY id DESC LIMIT 5")
    assert [turn["status"] for turn in turns] == [*["completed"] * 3, "cancelled", "completed"]


def test_a_reader_that_has_gone_is_no_error(
    variables: dict[str, str], fake_openai: FakeOpenAI, database: Path
) -> None:
    gate = Gate()
    fake_openai.reply("One two three four", stall_after=2, stall=gate)
    process = subprocess.Popen(
        [sys.executable, "-m", "django", "chatgpt", "Count", "--verbosity", "0"],
        cwd=ROOT,
        env=variables,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        bufsize=0,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    with process:
        assert process.stdout.read(3) == b"One"
        process.stdout.close()
        gate.open()
        assert process.stderr.read() == b""
        assert process.wait(30) == 141
    [turn] = Tables(database)._rows("SELECT status FROM ai_turn ORDER BY id DESC LIMIT 1")
    assert turn["status"] == "completed"
