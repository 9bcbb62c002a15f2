"""A terminal of its own, and somebody in front of it."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
import time
from pathlib import Path
from types import TracebackType

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 20.0
#: Makes the terminal the one whose keys send signals, and becomes the command.
CONTROLLED = """
import fcntl, os, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execv(sys.executable, [sys.executable, "-m", "django", *sys.argv[1:]])
"""
ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\x1b[=>]")


class Terminal:
    """A management command on a pseudo-terminal of 100 by 30."""

    def __init__(self, environment: dict[str, str], *arguments: str) -> None:
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 100, 0, 0))
        self.process = subprocess.Popen(
            [sys.executable, "-c", CONTROLLED, *arguments],
            cwd=ROOT,
            env=environment | {"TERM": "xterm-256color"},
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
        )
        os.close(slave)
        self.raw = ""
        self._seen = 0

    def __enter__(self) -> Terminal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self._master)

    def type(self, keys: str) -> None:
        os.write(self._master, keys.encode())

    def line(self, text: str) -> None:
        self.type(f"{text}\n")

    def expect(self, text: str) -> str:
        """Wait until something is shown that was not before; all that was shown up to it."""
        deadline = time.monotonic() + PATIENCE
        while (at := self.shown.find(text, self._seen)) < 0:
            assert time.monotonic() < deadline, f"{text!r} was not shown: {self.shown[self._seen :]!r}"
            if not self._read(deadline - time.monotonic()):
                raise AssertionError(f"{text!r} was not shown before the end: {self.shown[self._seen :]!r}")
        before, self._seen = self.shown[self._seen : at], at + len(text)
        return before

    def shows(self, text: str) -> bool:
        """Whether something is shown by now that was not before."""
        self._read(0)
        return text in self.shown[self._seen :]

    def ended(self) -> int:
        """The exit code, once the command is over."""
        deadline = time.monotonic() + PATIENCE
        while self._read(deadline - time.monotonic()):
            assert time.monotonic() < deadline, f"it has not ended: {self.shown[self._seen :]!r}"
        return self.process.wait(PATIENCE)

    @property
    def shown(self) -> str:
        """All that was written, without what moves the cursor and changes colours."""
        return ESCAPES.sub("", self.raw)

    def _read(self, seconds: float) -> bool:
        """Take in what there is; False at the end."""
        ready, _, _ = select.select([self._master], [], [], max(seconds, 0))
        if not ready:
            return True
        try:
            data = os.read(self._master, 65536)
        except OSError:  # how Linux says that nobody writes there any more
            return False
        self.raw += data.decode(errors="replace")
        return bool(data)
