"""A skip is seen on a laptop, fails where services are required, and is forgiven only for a missing extra."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

SUITES = {
    "passed": "def test_it(): pass",
    "skip": "def test_it(): pytest.skip('not today')",
    "module": "pytest.importorskip('nowhere_to_be_found')\ndef test_it(): pass",
    "service": "@pytest.mark.postgres\ndef test_it(): pass",
    "database": "@pytest.mark.postgres\n@pytest.mark.django_db\ndef test_it(): pass",
    "shape": "@pytest.mark.shape\ndef test_it(): pass",
    "xfail": "@pytest.mark.xfail(reason='known')\ndef test_it(): assert 0",
}

pytestmark = pytest.mark.tooling

REQUIRED = {"DJANGO_CHATGPT_REQUIRE_SERVICES": "1"}
NOWHERE = {"PGHOST": "127.0.0.1", "PGPORT": "9"}


@pytest.mark.parametrize(
    ("environment", "counted", "status"),
    [
        (NOWHERE, {"passed": 1, "skipped": 3, "deselected": 2, "xfailed": 1}, 0),
        # What is skipped before its test is reached counts as an error, as anything else that fails there.
        ({**NOWHERE, **REQUIRED}, {"passed": 1, "failed": 1, "deselected": 2, "xfailed": 1, "errors": 2}, 1),
        (
            {**NOWHERE, **REQUIRED, "DJANGO_CHATGPT_SHAPE": "bare"},
            {"passed": 2, "failed": 1, "deselected": 1, "xfailed": 1, "errors": 2},
            1,
        ),
    ],
)
def test_a_skip_is_judged_by_where_it_happens(
    tmp_path: Path, environment: dict[str, str], counted: dict[str, int], status: int
) -> None:
    for name, source in SUITES.items():
        (tmp_path / f"test_{name}.py").write_text(f"import pytest\n{source}\n")
    (tmp_path / "conftest.py").write_text("pytest_plugins = ('tests.strictness',)\n")
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("DJANGO_", "PYTEST_"))}
    result = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-c", ROOT / "pyproject.toml", "--rootdir", tmp_path),
            *("--continue-on-collection-errors", tmp_path),
        ],
        cwd=ROOT,
        env={**clean, "NO_COLOR": "1", **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    last = result.stdout.strip().splitlines()[-1]
    assert {word: int(number) for number, word in re.findall(r"(\d+) ([a-z]+)", last)} == counted, (
        result.stdout
    )
    assert result.returncode == status


@pytest.mark.parametrize(
    ("reason", "allowed"),
    [
        ("could not import 'celery': No module named 'celery'", True),
        ("could not import 'redis.asyncio': No module named 'redis'", True),
        ("This needs the extra [channels], which is not installed", True),
        ("could not import 'django': No module named 'django'", False),
        ("could not import 'celeryish': No module named 'celeryish'", False),
        ("flaky", False),
    ],
)
def test_only_a_missing_extra_is_forgiven_in_a_bare_environment(
    monkeypatch: pytest.MonkeyPatch, reason: str, allowed: bool
) -> None:
    from tests import strictness

    monkeypatch.setattr(strictness, "REQUIRED", True)
    monkeypatch.setattr(strictness, "SHAPE", "bare")
    assert strictness.is_allowed(reason) is allowed
    monkeypatch.setattr(strictness, "SHAPE", "all")
    assert not strictness.is_allowed(reason)
