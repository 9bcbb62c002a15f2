"""A PostgreSQL of a test's own, that it may restart."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

SETTINGS = """
listen_addresses = '127.0.0.1'
fsync = off
synchronous_commit = off
full_page_writes = off
max_connections = 40
shared_buffers = 16MB
"""


@cache
def programs() -> Path | None:
    """The folder with `initdb` and `pg_ctl`, which need not be on the path; the newest."""
    found = shutil.which("pg_ctl")
    if found is not None and shutil.which("initdb") is not None:
        return Path(found).parent
    folders = [path.parent for path in Path("/usr/lib/postgresql").glob("*/bin/pg_ctl")]
    return max(folders, key=lambda path: float(path.parent.name), default=None)


@cache
def owner() -> str | None:
    """As whom it runs, which may not be root: "postgres" where there is one; None: nobody can."""
    if os.getuid() != 0:
        return pwd.getpwuid(os.getuid()).pw_name
    try:
        return pwd.getpwnam("postgres").pw_name
    except KeyError:
        return None


class OwnPostgres:
    """A cluster on a free port, in a folder of its own that `remove` deletes."""

    user = "postgres"

    def __init__(self) -> None:
        folder, name = programs(), owner()
        assert folder is not None
        assert name is not None
        self._programs = folder
        self._home = Path(tempfile.mkdtemp(prefix="django-chatgpt-postgres-"))
        self._as: dict[str, Any] = {"cwd": "/"}
        if os.getuid() == 0:
            account = pwd.getpwnam(name)
            os.chown(self._home, account.pw_uid, account.pw_gid)
            self._as |= {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}
        self._data = self._home / "data"
        self._run("initdb", "-U", self.user, "-A", "trust", "-E", "UTF8", "--no-sync", "--no-instructions")
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port: int = free.getsockname()[1]
        self._run_in_data(f"port = {self.port}\nunix_socket_directories = ''\n{SETTINGS}")

    @property
    def environment(self) -> dict[str, str]:
        """How the site is told of it."""
        where = {"PGHOST": "127.0.0.1", "PGPORT": str(self.port), "PGUSER": self.user, "PGPASSWORD": ""}
        return where

    def start(self) -> OwnPostgres:
        self._control("start")
        return self

    def stop(self) -> None:
        """In fast mode: connections are cut off, and what they were about is rolled back."""
        self._control("stop", "-m", "fast")

    def remove(self) -> None:
        self._control("stop", "-m", "immediate", check=False)
        shutil.rmtree(self._home, ignore_errors=True)

    def _control(self, verb: str, *arguments: str, check: bool = True) -> None:
        self._run("pg_ctl", verb, "-w", "-s", "-l", str(self._home / "log"), *arguments, check=check)

    def _run_in_data(self, settings: str) -> None:
        with (self._data / "postgresql.conf").open("a") as file:
            file.write(settings)

    def _run(self, program: str, *arguments: str, check: bool = True) -> None:
        command = [str(self._programs / program), *arguments, "-D", str(self._data)]
        subprocess.run(command, check=check, timeout=60, stdout=subprocess.DEVNULL, **self._as)
