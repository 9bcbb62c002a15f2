"""The tutorial, followed word for word in an empty folder with the built wheel, on ports of the test's own.

A block of the page whose first line names a file is written there; a console block is typed into a shell.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from pathlib import Path

import pexpect
import pytest

from tests.packaging.visitor import PASSWORD, ROOT, Browser, clean_environment, free_port

pytestmark = [pytest.mark.dist, pytest.mark.timeout(400)]

PAGE = (ROOT / "docs/tutorial/fifteen-minutes.md").read_text()
BLOCK = re.compile(r"^```(console|python|html)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
FILE = re.compile(r"^(?:# |<!-- )([\w/.]+)(, at the end)?(?: -->)?\n")
PROMPT = "@ready@ "
ANSWERS = {"Username": "ada", "Email": "ada@example.com", "Password": PASSWORD}
ASKED = r"(Username|Email|Password)\b[^\n:]*: "


class Terminal:
    """A shell in which somebody types."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self.shell = pexpect.spawn(
            "bash",
            ["--norc", "--noprofile"],
            cwd=str(folder),
            env=environment | {"PS1": PROMPT, "TERM": "dumb", "VIRTUAL_ENV_DISABLE_PROMPT": "1"},
            encoding="utf-8",
            timeout=240,
            echo=False,
        )
        self.shell.expect_exact(PROMPT)

    def start(self, command: str) -> None:
        """Type something and leave it running."""
        self.shell.sendline(command)

    def type(self, command: str) -> str:
        """Type something, answer what it asks, and return what it says; it has to succeed."""
        self.shell.sendline(command)
        said = ""
        while self.shell.expect([re.escape(PROMPT), ASKED]):
            said += self.shell.before + self.shell.after
            self.shell.sendline(ANSWERS[self.shell.match[1]])
        said += self.shell.before
        self.shell.sendline("echo $?")
        self.shell.expect_exact(PROMPT)
        assert self.shell.before.strip() == "0", f"{command}\n{said}"
        return said

    def close(self) -> None:
        self.shell.close(force=True)


@pytest.fixture
def environment(wheel: Path, tmp_path: Path) -> dict[str, str]:
    """That of somebody for whom pip finds the wheel as if it had been published."""
    constraint = tmp_path / "constraint.txt"
    constraint.write_text(f"django-chatgpt @ {wheel.as_uri()}\n")
    return clean_environment(PIP_CONSTRAINT=str(constraint), PIP_DISABLE_PIP_VERSION_CHECK="1")


@pytest.fixture
def terminals(environment: dict[str, str], tmp_path: Path) -> Iterator[list[Terminal]]:
    """Three of them: for what is typed, for the fake, and for the site."""
    folder = tmp_path / "work"
    folder.mkdir()
    opened = [Terminal(folder, environment) for _ in range(3)]
    yield opened
    for each in reversed(opened):
        each.close()


def write(site: Path, text: str) -> None:
    """A block that names its file, as the reader copies it."""
    found = FILE.match(text)
    assert found is not None, f"This block names no file:\n{text}"
    target = site / found[1]
    target.parent.mkdir(parents=True, exist_ok=True)
    if found[2]:
        with target.open("a") as file:
            file.write("\n" + text)
    else:
        target.write_text(text)


def test_the_tutorial_ends_in_a_site_that_chats(terminals: list[Terminal], tmp_path: Path) -> None:
    mine, fake, server = terminals
    site = tmp_path / "work" / "mysite"
    ports = {"4711": str(free_port()), "8000": str(free_port())}
    said: dict[str, str] = {}
    for kind, text in BLOCK.findall(PAGE):
        if kind != "console":
            write(site, text)
            continue
        for line in text.splitlines():
            command = line.removeprefix("$ ").replace("4711", ports["4711"])
            if command.endswith("chatgpt_fakeserver"):
                for step in (". env/bin/activate", "cd mysite"):
                    fake.type(step)
                fake.start(f"{command} --port {ports['4711']}")
                fake.shell.expect("OPENAI_API_KEY=")
            elif command.endswith("runserver"):
                for step in (". env/bin/activate", "cd mysite", *exports(PAGE, ports)):
                    server.type(step)
                server.start(f"{command} 127.0.0.1:{ports['8000']}")
            else:
                said[command] = mine.type(command)
    assert len(answer_of(said)) > 20
    look(Browser(f"http://127.0.0.1:{ports['8000']}"))


def exports(page: str, ports: dict[str, str]) -> list[str]:
    lines = re.findall(r"^\$ (export .*)$", page, re.MULTILINE)
    return [line.replace("4711", ports["4711"]) for line in lines]


def answer_of(said: dict[str, str]) -> str:
    [answer] = [text for command, text in said.items() if "What is Django?" in command]
    return answer


def look(browser: Browser) -> None:
    """The site as its user finds it at the end."""
    browser.wait()
    assert "chatgpt" not in page(browser, "/")
    browser.post(
        "/admin/login/?next=/ai/",
        f"username=ada&password={PASSWORD}&next=/ai/".encode(),
        "application/x-www-form-urlencoded",
    )
    assert "django_chatgpt/" in page(browser, "/ai/")
    deadline = time.monotonic() + 30
    while "django_chatgpt/" not in page(browser, "/"):
        assert time.monotonic() < deadline, "the site did not load what was changed"
        time.sleep(0.2)
    streamed = browser.post("/ai/chat/", b'{"message": "Hello?", "stream": true}', "application/json")
    assert '"type":"finish"' in streamed
    assert [each["name"] for each in browser.get("/ai/functions/")["functions"]] == ["opening_hours"]
    # One in the terminal without a user, and this one.
    assert browser.get("/ai/usage/")["total"]["requests"] == 1


def page(browser: Browser, path: str) -> str:
    with browser.opener.open(f"{browser.address}{path}", timeout=30) as response:
        text: str = response.read().decode()
    return text
