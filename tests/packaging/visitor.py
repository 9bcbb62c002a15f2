"""Somebody who has nothing to do with this repository: a clean environment, a shell, a browser."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from http.cookiejar import CookieJar
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
PASSWORD = "a-long-secret"


def clean_environment(**extra: str) -> dict[str, str]:
    """The environment of somebody who has nothing to do with this repository."""
    ours = ("PYTHON", "DJANGO", "OPENAI", "PYTEST", "COVERAGE", "VIRTUAL_ENV", "TOX")
    return {name: value for name, value in os.environ.items() if not name.startswith(ours)} | extra


def run(*command: str | Path, cwd: Path, **extra: str) -> str:
    """The output of a command that must succeed."""
    result = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env=clean_environment(**extra),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert result.returncode == 0, f"{command}\n{result.stdout}\n{result.stderr}"
    return result.stdout


@contextmanager
def serving(*command: str | Path, cwd: Path, log: Path, **extra: str) -> Iterator[subprocess.Popen[str]]:
    """A process that runs while the block does."""
    with log.open("w") as errors:
        process = subprocess.Popen(
            [str(part) for part in command],
            cwd=cwd,
            env=clean_environment(**extra),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        )
        try:
            yield process
        finally:
            process.terminate()
            process.communicate(timeout=20)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    return port


def first_line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


class Browser:
    """As much of a browser as the site asks for: cookies, and the CSRF token in a header."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.cookies = CookieJar()
        self.opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}), urllib.request.HTTPCookieProcessor(self.cookies)
        )

    def wait(self, seconds: float = 30) -> None:
        """Return once the site answers."""
        deadline = time.monotonic() + seconds
        while True:
            try:
                self.opener.open(f"{self.address}/admin/login/", timeout=5).close()
            except urllib.error.URLError:
                assert time.monotonic() < deadline, "the site did not start"
                time.sleep(0.1)
            else:
                return

    def post(self, path: str, body: bytes, kind: str) -> str:
        token = next(cookie.value or "" for cookie in self.cookies if cookie.name == "csrftoken")
        headers = {"Content-Type": kind, "X-CSRFToken": token, "Referer": self.address}
        request = urllib.request.Request(f"{self.address}{path}", body, headers)
        with self.opener.open(request, timeout=30) as response:
            text: str = response.read().decode()
        return text

    def get(self, path: str) -> Any:
        with self.opener.open(f"{self.address}{path}", timeout=30) as response:
            return json.load(response)
