"""Somebody who has said something in every place that keeps words, and where each table keeps them."""

from __future__ import annotations

import subprocess
import sys
from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from django.apps import apps
from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.contenttypes.models import ContentType
from django.db import connection
from django.utils import timezone

from django_chatgpt.models import (
    AIAlert,
    AIBudget,
    AIConversation,
    AIFunctionCall,
    AIFunctionJob,
    AITurnEvent,
    AIUsage,
    EmbeddingJob,
    EmbeddingJobText,
)
from tests.models import rows

if TYPE_CHECKING:
    from django.contrib.auth.models import User


def say_everywhere(user: User, word: str) -> AIConversation:
    """Store `word` in each column that may hold what a user said or was told."""
    talk = rows.conversation(
        user=user,
        title=word,
        session_id=word,
        metadata={"history_summary": {"text": word, "covers": 1}, "note": word},
    )
    turn = rows.turn(
        talk,
        user=user,
        status="failed",
        partial_text=word,
        error_message=word,
        idempotency_key=word,
        options={"sources": [{"title": word}]},
    )
    calls = [{"id": "c1", "type": "function", "function": {"name": "f", "arguments": f'{{"a": "{word}"}}'}}]
    rows.message(talk, 1, turn=turn, content=word * 400)
    rows.message(
        talk,
        2,
        turn=turn,
        role="assistant",
        content=word,
        tool_calls=calls,
        metadata={"items": [word], "edited_arguments": {"c1": word}, "withheld": word},
    )
    rows.message(talk, 3, turn=turn, role="tool", content=word, tool_call_id="c1")
    rows.message(talk, 4, content=word, function_call={"name": "f", "arguments": word})
    AITurnEvent.objects.create(turn=turn, first=1, last=2, data=f'[["content",{{"content":"{word}"}}]]')
    AIFunctionCall.objects.create(turn=turn, call_id="c1", name="f", arguments=word, status="completed")
    AIFunctionJob.objects.create(user=user, name="f", arguments=word, result=word, status="completed")
    rows.usage(
        user=user,
        conversation=talk,
        turn=turn,
        outcome="completed",
        total_tokens=12,
        estimated_cost=Decimal("0.25"),
    )
    rows.embedding(user=user, content=word, metadata={"note": word})
    for status in ("running", "failed"):
        job = EmbeddingJob.objects.create(
            user=user, model="m", status=status, metadata={"note": word}, total=1
        )
        EmbeddingJobText.objects.create(job=job, content_hash="0" * 64, content=word)
    AIAlert.objects.create(user=user, title=word, description=word, metadata={"note": word})
    AIAlert.objects.create(conversation=talk, title=word, description=word)
    AIBudget.objects.create(
        key=f"user:{user.pk}:day:2026-11-22", starts_at=timezone.now(), settled_before=timezone.now()
    )
    LogEntry.objects.create(
        user=user,
        content_type=ContentType.objects.get_for_model(AIConversation),
        object_id=str(talk.pk),
        object_repr=word,
        action_flag=CHANGE,
    )
    return talk


def run_on(user: User, word: str) -> Any:
    """A turn that some other process runs."""
    talk = rows.conversation(user=user, title=word)
    turn = rows.turn(
        talk,
        user=user,
        status="running",
        partial_text=word,
        lease_expires_at=timezone.now() + timedelta(minutes=5),
    )
    rows.message(talk, 1, turn=turn, content=word)
    rows.usage(user=user, conversation=talk, turn=turn)
    return turn


def found(word: str) -> list[str]:
    """The tables and columns in which `word` stands anywhere, of all tables there are."""
    places = []
    for model in apps.get_models(include_auto_created=True):
        table = model._meta.db_table
        with connection.cursor() as cursor:
            cursor.execute(f"SELECT * FROM {connection.ops.quote_name(table)}")
            names = [column[0] for column in cursor.description or ()]
            for row in cursor.fetchall():
                for name, value in zip(names, row, strict=True):
                    told = (
                        bytes(value).decode("latin-1")
                        if isinstance(value, bytes | memoryview)
                        else str(value)
                    )
                    if word in told:
                        places.append(f"{table}.{name}")
    return places


READER = """
import sys
from pathlib import Path
word, path = sys.argv[1].encode(), Path(sys.argv[2])
for each in [path, *path.parent.glob(f"{path.name}-*")]:
    if word in each.read_bytes():
        print(each.name)
"""


def found_in_files(word: str) -> list[str]:
    """The files of an SQLite database in which `word` stands.

    Another process reads them. Whoever closes a file lets go of all locks that their process has on it,
    SQLite's too; the next process that closes the database would take away the log that is in use here.
    """
    command = [sys.executable, "-c", READER, word, str(connection.settings_dict["NAME"])]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()


def money() -> list[tuple[Any, ...]]:
    """The ledger without names."""
    return sorted(AIUsage.objects.values_list("total_tokens", "estimated_cost", "model", "outcome"), key=str)
