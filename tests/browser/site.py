"""The site in a process of its own, which may die and come back where it was."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx2

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 30.0
OPTIONS = ("--lifespan", "off", "--timeout-graceful-shutdown", "1", "--no-access-log")


class Site:
    """uvicorn with the example site; who connects before it is ready waits in the socket's queue."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        self.log = folder / "site.log"
        self.port = 0
        places = [str(ROOT), str(ROOT / "example_project"), os.environ.get("PYTHONPATH", "")]
        self.environment = os.environ | {
            "DJANGO_SETTINGS_MODULE": "tests.browser.settings",
            "DJANGO_DEBUG": "1",
            "EXAMPLE_DATABASE": str(folder / "site.sqlite3"),
            "PYTHONPATH": os.pathsep.join(filter(None, places)),
            "SITE_SETTINGS": json.dumps(settings),
        }
        self._run("tests.browser.prepare").check_returncode()
        self.start()

    def _run(self, module: str) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            [sys.executable, "-m", module], cwd=ROOT, env=self.environment, timeout=60, check=False
        )

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Begin to listen, at the same place as before if there was one."""
        with (
            socket.create_server(("127.0.0.1", self.port), backlog=128) as listening,
            self.log.open("ab") as log,
        ):
            self.port = listening.getsockname()[1]
            number = str(listening.fileno())
            self.process = subprocess.Popen(
                [sys.executable, "-m", "uvicorn", "tests.browser.asgi:application", "--fd", number, *OPTIONS],
                cwd=ROOT,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=[listening.fileno()],
                start_new_session=True,
            )

    def configure(self, **settings: Any) -> None:
        """Change settings of the running process."""
        answer = httpx2.post(f"{self.url}/configure/", json=settings, timeout=PATIENCE)
        assert answer.status_code == 200, self.log.read_text()

    def kill(self) -> None:
        """Kill -9."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
