"""The migrations say what the models say, and can be taken back, on each database."""

import io
import os
import subprocess
import sys
from pathlib import Path

import pytest
from django.core.management import call_command

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.django_db
def test_no_migration_is_missing() -> None:
    said = io.StringIO()
    call_command("makemigrations", "django_chatgpt", "--check", "--dry-run", stdout=said)
    assert "No changes detected" in said.getvalue()


@pytest.mark.migrations
@pytest.mark.parametrize(
    ("settings", "vendor"),
    [
        ("sqlite", "sqlite"),
        pytest.param("postgres", "postgresql", marks=pytest.mark.postgres),
        pytest.param("mariadb", "mysql", marks=pytest.mark.mariadb),
    ],
)
def test_migrations_go_forwards_and_back(settings: str, vendor: str) -> None:
    result = subprocess.run(
        [sys.executable, "-W", "error", "-m", "tests.packaging.migration_round_trip"],
        cwd=ROOT,
        env={**os.environ, "DJANGO_SETTINGS_MODULE": f"tests.settings.{settings}"},
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    assert result.stdout.strip() == vendor
