"""What every table has: keys in the order of creation, times to the microsecond, reprs without text."""

import datetime as dt
import uuid

import pytest
from django.apps import apps
from django.db import connection, models
from django.utils import timezone

from django_chatgpt.models import AIAlert, AIConversation, AIMessage
from tests.models import rows

TABLES = {
    "AIConfiguration": "ai_configuration",
    "AIConversation": "ai_conversation",
    "AITurn": "ai_turn",
    "AITurnEvent": "ai_turn_event",
    "AIMessage": "ai_message",
    "AIUsage": "ai_usage",
    "AIFunction": "ai_function",
    "AIFunctionCall": "ai_function_call",
    "AIFunctionJob": "ai_function_job",
    "EmbeddingClaim": "embedding_claim",
    "EmbeddingVector": "embedding_vector",
    "EmbeddingJob": "embedding_job",
    "EmbeddingJobText": "embedding_job_text",
    "EmbeddingScope": "embedding_scope",
    "EmbeddingChange": "embedding_change",
    "IndexedObject": "indexed_object",
    "IndexedPassage": "indexed_passage",
    "AIAlert": "ai_alert",
    "AIBudget": "ai_budget",
}


def test_there_are_these_tables() -> None:
    found = {
        model.__name__: model._meta.db_table for model in apps.get_app_config("django_chatgpt").get_models()
    }
    assert found == TABLES


@pytest.mark.parametrize("name", TABLES)
def test_each_has_a_uuid_key_and_its_times(name: str) -> None:
    model = apps.get_model("django_chatgpt", name)
    row = model()
    assert isinstance(row.pk, uuid.UUID)
    assert row.pk.version == 7
    assert isinstance(model._meta.get_field("created_at"), models.DateTimeField)
    assert isinstance(model._meta.get_field("updated_at"), models.DateTimeField)


@pytest.mark.django_db
def test_the_database_sorts_keys_by_creation() -> None:
    made = [AIConversation() for _ in range(200)]
    AIConversation.objects.bulk_create(reversed(made))
    assert list(AIConversation.objects.order_by("id").values_list("pk", flat=True)) == [
        row.pk for row in made
    ]
    assert AIConversation.objects.filter(pk__lt=made[100].pk).count() == 100


@pytest.mark.django_db
def test_times_are_kept_to_the_microsecond() -> None:
    moment = dt.datetime(2026, 3, 1, 12, 30, 15, 123456, tzinfo=dt.UTC)
    row = rows.conversation()
    AIConversation.objects.filter(pk=row.pk).update(updated_at=moment)
    row.refresh_from_db()
    assert row.updated_at == moment


@pytest.mark.django_db
def test_saving_moves_updated_at_and_leaves_created_at() -> None:
    row = rows.conversation()
    created, updated = row.created_at, row.updated_at
    row.title = "Another"
    row.save()
    row.refresh_from_db()
    assert row.created_at == created
    assert updated < row.updated_at <= timezone.now()


@pytest.mark.django_db
@pytest.mark.parametrize(
    "text",
    ["Grüße 🦆 你好 \u202e", "'; DROP TABLE ai_message; --", "line\r\nline\ttab", "x" * 1_000_000],
    ids=["unicode", "quotes", "white-space", "a-million-characters"],
)
def test_text_comes_back_as_it_went_in(text: str) -> None:
    row = rows.message(rows.conversation(), content=text, metadata={"text": text[:100]})
    row.refresh_from_db()
    assert row.content == text
    assert row.metadata == {"text": text[:100]}


@pytest.mark.django_db
def test_json_keeps_types_and_order_of_lists() -> None:
    value = {"a": [1, 2.5, None, True, {"b": "1"}], "empty": {}, "key with spaces": []}
    row = rows.conversation(metadata=value)
    row.refresh_from_db()
    assert row.metadata == value


def test_a_repr_shows_nothing_that_people_wrote() -> None:
    alert = AIAlert(title="secret")
    message = AIMessage(content="secret", sequence=3, role="user")
    talk = AIConversation(title="secret")
    for row in (alert, message, talk):
        assert "secret" not in repr(row)
        assert str(row.pk) in repr(row)


def test_defaults_are_not_shared_between_rows() -> None:
    first, second = AIConversation(), AIConversation()
    first.metadata["a"] = 1
    assert second.metadata == {}
    assert AIMessage().tool_calls is not AIMessage().tool_calls


@pytest.mark.django_db
def test_every_index_and_constraint_is_in_the_database() -> None:
    for name in TABLES:
        meta = apps.get_model("django_chatgpt", name)._meta
        with connection.cursor() as cursor:
            found = connection.introspection.get_constraints(cursor, meta.db_table)
        for index in meta.indexes:
            assert found[index.name]["columns"] == [
                meta.get_field(field.removeprefix("-")).column for field in index.fields
            ]
        for constraint in meta.constraints:
            assert constraint.name in found
