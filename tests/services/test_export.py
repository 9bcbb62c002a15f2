"""Everything of a user, nothing of anybody else, in bounded memory."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from django.core.files.storage import FileSystemStorage
from django.db import connection
from django.test.utils import CaptureQueriesContext
from pytest_django import Settings

from django_chatgpt.models import AIConversation
from django_chatgpt.services import export
from django_chatgpt.storage import personal
from tests.models import rows
from tests.services import words

if TYPE_CHECKING:
    from django.contrib.auth.models import User

pytestmark = pytest.mark.django_db


def exported(user: User) -> dict[str, Any]:
    file = io.StringIO()
    export.export_user(user, file)
    document: dict[str, Any] = json.loads(file.getvalue())
    return document


def test_every_word_of_the_user_and_none_of_another(user: User, other_user: User) -> None:
    talk = words.say_everywhere(user, "marmalade")
    words.say_everywhere(other_user, "anchovy")
    document = exported(user)
    assert document["format"] == export.FORMAT
    assert document["user"] == {"id": user.pk, "username": "ada"}
    assert "anchovy" not in json.dumps(document)
    for table in personal.TABLES:
        rows_of = document[table.name]
        assert rows_of, table.name
        if table.name != "usage":
            assert "marmalade" in json.dumps(rows_of), table.name
    assert [each["content"] for each in document["messages"]][1:] == ["marmalade"] * 3
    assert document["conversations"][0]["id"] == str(talk.pk)
    assert document["conversations"][0]["metadata"]["note"] == "marmalade"
    assert document["turns"][0]["partial_text"] == "marmalade"
    assert document["function_calls"][0]["arguments"] == "marmalade"
    assert document["usage"][0]["estimated_cost"].startswith("0.25")
    assert document["embeddings"][0]["content"] == "marmalade"
    assert len(document["alerts"]) == 2
    assert not {"vector", "owner_key", "lease_expires_at"} & {
        name for table in personal.TABLES for name in document[table.name][0]
    }


def test_every_column_that_may_hold_words_is_told() -> None:
    """A column that is new is told unless somebody has decided that it says nothing."""
    for table in personal.TABLES:
        hidden = {field.name for field in table.model._meta.concrete_fields} & personal.INTERNAL
        assert set(table.columns) | hidden >= {
            each.name for each in table.model._meta.local_concrete_fields if not each.is_relation
        }


def test_somebody_without_anything(user: User) -> None:
    document = exported(user)
    assert all(document[table.name] == [] for table in personal.TABLES)
    assert document["budgets"] == []


def test_budgets_and_how_they_stand(user: User, settings: Settings) -> None:
    settings.OPENAI_BUDGETS = [
        {"scope": "user", "period": "month", "limit": "5.00"},
        {"scope": "site", "period": "day", "limit": "50.00"},
    ]
    words.say_everywhere(user, "marmalade")
    [budget] = exported(user)["budgets"]
    assert (budget["limit"], budget["reserved"]) == ("5.00", "0E-12") or budget["limit"] == "5.00"
    assert float(budget["spent"]) == 0.25


def test_rows_are_read_some_at_a_time(user: User, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export, "ROWS_AT_ONCE", 3)
    for number in range(8):
        rows.conversation(user=user, title=f"talk {number}")
    told: list[int] = []
    pieces = []
    with CaptureQueriesContext(connection) as queries:
        for piece in export.pieces(user, progress=told.append):
            pieces.append(piece)
            assert piece.count('"title"') <= 3
    assert told == [3, 3, 2]
    assert len(queries) < 40
    titles = [each["title"] for each in json.loads("".join(pieces))["conversations"]]
    assert titles == list(AIConversation.objects.order_by("pk").values_list("title", flat=True))
    assert export.count(user) == 8


def test_into_a_storage(user: User, tmp_path: Path) -> None:
    words.say_everywhere(user, "Crème brûlée 🍮")
    storage = FileSystemStorage(location=tmp_path)
    name = export.export_to_storage(user, "ada.json", storage=storage)
    assert json.loads((tmp_path / name).read_text("utf-8"))["embeddings"][0]["content"] == "Crème brûlée 🍮"
