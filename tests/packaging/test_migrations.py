"""The migrations say what the models say, and can be taken back, on each database."""

import io
import os
import subprocess
import sys
from pathlib import Path

import pytest
from django.contrib.auth.models import User
from django.core.management import call_command
from django.db import connection
from django.db.migrations.executor import MigrationExecutor

from django_chatgpt.models import AITurn

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


@pytest.mark.django_db(transaction=True)
def test_turns_of_before_they_had_an_owner_key(user: User) -> None:
    """Of the site's own turns two may have had the same key; the first one keeps it."""
    executor = MigrationExecutor(connection)
    executor.migrate([("django_chatgpt", "0006_indexes")])
    try:
        old = executor.loader.project_state([("django_chatgpt", "0006_indexes")]).apps
        conversation = old.get_model("django_chatgpt", "AIConversation").objects.create()
        turns = old.get_model("django_chatgpt", "AITurn").objects
        owners = [None, None, user.pk, None]
        made = [
            turns.create(conversation=conversation, user_id=owner, status="completed", idempotency_key=key)
            for owner, key in zip(owners, ["k", "k", "k", None], strict=True)
        ]
    finally:
        executor = MigrationExecutor(connection)
        executor.migrate(executor.loader.graph.leaf_nodes())
    found = [AITurn.objects.get(pk=turn.pk) for turn in made]
    assert [(turn.owner_key, turn.idempotency_key) for turn in found] == [
        ("", "k"),
        ("", None),
        (str(user.pk), "k"),
        ("", None),
    ]
