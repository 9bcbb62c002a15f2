"""The floors of the package: who may import whom, through others too.

The contracts are the ones in pyproject.toml. Each is shown to be able to fail: a package of the same shape is
built in a temporary folder, one forbidden import is planted in it, and the same contracts are checked there.
"""

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
CONTRACTS = {
    contract["id"]
    for contract in tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
}

#: A module of each room, importing what its floor lets it import.
ROOMS = {
    "exceptions": "",
    "conf": "from django.conf import settings",
    "alarm": "",
    "signals": "from django.dispatch import Signal",
    "core.turn": "from django_chatgpt import exceptions",
    "models.turn": "from django_chatgpt.core import turn\nfrom django.db import models",
    "storage.turns": "from django_chatgpt.models import turn\nfrom django_chatgpt import conf",
    "providers.chat": "import openai\nfrom django_chatgpt.core import turn",
    "functions.registry": "from django_chatgpt.core import turn",
    "indexes.registry": "from django_chatgpt import exceptions",
    "runtime.sync": "from django_chatgpt.storage import turns\nfrom django_chatgpt.providers import chat",
    "services.chat": "from django_chatgpt.runtime import sync\nfrom django_chatgpt import signals",
    "api.chat": "from django_chatgpt.services import chat",
    "consumers": "from django_chatgpt.services import chat",
    "tasks": "from django_chatgpt.services import chat",
    "admin.turn": "from django_chatgpt.models import turn",
    "pages.views": "from django_chatgpt.services import chat",
    "management.commands.chatgpt": "from django_chatgpt.services import chat",
    "management.commands.chatgpt_fakeserver": "from django_chatgpt.testing import fake",
    "templatetags.chatgpt": "from django_chatgpt import conf",
    "telemetry.observers": "import opentelemetry\nfrom django_chatgpt import signals",
    "urls": "from django_chatgpt.api import chat",
    "routing": "from django_chatgpt import consumers",
    "apps": "",
    "testing.fake": "",
    "testing.server": "import openai\nfrom django_chatgpt.api import chat",
}

#: contract, room, the import planted there.
VIOLATIONS = [
    ("floors", "api.chat", "from django_chatgpt.admin import turn"),
    ("floors", "tasks", "from django_chatgpt import consumers"),
    ("floors", "consumers", "from django_chatgpt.api import chat"),
    ("floors", "admin.turn", "from django_chatgpt.management.commands import chatgpt"),
    ("floors", "services.chat", "from django_chatgpt.api import chat"),
    ("floors", "runtime.sync", "from django_chatgpt.services import chat"),
    ("floors", "storage.turns", "from django_chatgpt.runtime import sync"),
    ("floors", "storage.turns", "from django_chatgpt.providers import chat"),
    ("floors", "providers.chat", "from django_chatgpt.functions import registry"),
    ("floors", "functions.registry", "from django_chatgpt.storage import turns"),
    ("floors", "indexes.registry", "from django_chatgpt.functions import registry"),
    ("floors", "models.turn", "from django_chatgpt.storage import turns"),
    ("floors", "core.turn", "from django_chatgpt.models import turn"),
    ("floors", "exceptions", "from django_chatgpt.core import turn"),
    ("floors", "exceptions", "from django_chatgpt import conf"),
    ("floors", "signals", "from django_chatgpt.api import chat"),
    ("floors", "services.chat", "def late():\n    from django_chatgpt import tasks"),
    ("floors", "newroom", ""),
    ("core-conf", "core.turn", "from django_chatgpt import conf"),
    ("core-plain", "core.turn", "import django.utils.timezone"),
    ("core-plain", "core.turn", "import openai"),
    ("core-plain", "core.turn", "async def wait():\n    from asyncio import sleep"),
    ("core-plain", "exceptions", "from django.core.exceptions import ValidationError"),
    ("sdk", "services.chat", "from openai.types.chat import ChatCompletion"),
    ("sdk", "conf", "import openai"),
    ("floors", "services.chat", "from django_chatgpt.telemetry import observers"),
    ("otel", "services.chat", "import opentelemetry"),
    ("testing", "services.chat", "from django_chatgpt.testing import server"),
    ("testing", "apps", "from django_chatgpt import testing"),
]


def lint(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Check the contracts of this project against the `django_chatgpt` found first from `folder`."""
    command = [sys.executable, "-c", "from importlinter.cli import lint_imports_command as main; main()"]
    return subprocess.run(
        [*command, "--config", str(ROOT / "pyproject.toml"), "--no-cache", "--no-logo", *options],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(folder), "PYTHONSAFEPATH": "1", "NO_COLOR": "1"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def build(folder: Path, rooms: dict[str, str]) -> None:
    """Write a package `django_chatgpt` with these modules."""
    for name, source in rooms.items():
        path = folder.joinpath("django_chatgpt", *name.split(".")).with_suffix(".py")
        path.parent.mkdir(parents=True, exist_ok=True)
        for parent in path.relative_to(folder).parents:
            if parent.name:
                (folder / parent / "__init__.py").touch()
        path.write_text(source + "\n")


def test_the_package_keeps_every_contract() -> None:
    result = lint(ROOT / "src")
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.tooling
def test_a_package_that_keeps_them_passes(tmp_path: Path) -> None:
    build(tmp_path, ROOMS)
    result = lint(tmp_path)
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.tooling
@pytest.mark.parametrize(("contract", "room", "planted"), VIOLATIONS)
def test_a_forbidden_import_breaks_its_contract(
    tmp_path: Path, contract: str, room: str, planted: str
) -> None:
    build(tmp_path, {**ROOMS, room: f"{ROOMS.get(room, '')}\n{planted}"})
    result = lint(tmp_path, "--contract", contract)
    assert result.returncode == 1, result.stdout + result.stderr
    assert "Contracts: 0 kept, 1 broken" in result.stdout or "newroom" in result.stdout


def test_every_contract_was_shown_to_fail() -> None:
    assert {contract for contract, _, _ in VIOLATIONS} == CONTRACTS
