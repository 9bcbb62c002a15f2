"""What the doctor finds in the database."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from types import SimpleNamespace
from unittest import mock

import pytest
from django.contrib.auth.models import Group
from django.db import DatabaseError, connection
from django.db.migrations.recorder import MigrationRecorder
from django.utils import timezone
from pytest_django import Settings

from django_chatgpt.indexes import Index, index_registry, register_index
from django_chatgpt.models import AIConfiguration, AITurn, IndexedObject
from django_chatgpt.services import doctor
from django_chatgpt.services.doctor import Finding, Level, Site, vectors
from django_chatgpt.services.freshness import unwatch
from django_chatgpt.services.vectors import Kind
from tests.models import rows

pytestmark = pytest.mark.django_db

PGVECTOR = "django_chatgpt.storage.vectors.pgvector.PgvectorBackend"


ALONE = Site("wsgi")


def look(subject: str, site: Site = ALONE) -> list[Finding]:
    [diagnosis] = [each for each in doctor.DIAGNOSES if each.id == subject]
    return list(diagnosis.look(site))


def test_migrations_that_wait() -> None:
    assert look("migrations") == []
    MigrationRecorder.Migration.objects.filter(app="django_chatgpt", name__gt="0008").delete()
    [found] = look("migrations")
    assert found.level is Level.ERROR
    assert "0008_turn_events" in found.what


def test_turns_that_are_stuck() -> None:
    assert look("turns") == []
    now = timezone.now()
    rows.turn(rows.conversation(), status="running", lease_expires_at=now - timedelta(minutes=1))
    rows.turn(rows.conversation(), status="running", lease_expires_at=now + timedelta(minutes=1))
    [found] = look("turns")
    assert found.what.startswith("1 turns are still called running")
    late = rows.turn(rows.conversation(), status="queued", lease_expires_at=now + timedelta(hours=1))
    assert len(look("turns")) == 1
    AITurn.objects.filter(pk=late.pk).update(created_at=now - timedelta(hours=1))
    assert "waited for a worker" in look("turns")[1].what


@pytest.mark.sqlite_only
def test_sqlite_and_how_many_write_to_it() -> None:
    assert look("sqlite") == []
    assert [each.level for each in look("sqlite", Site("asgi", workers=4))] == [Level.WARNING]
    with mock.patch.dict(connection.settings_dict, {"OPTIONS": {}}):
        assert [each.level for each in look("sqlite")] == [Level.INFO]


def test_models_of_configurations(settings: Settings) -> None:
    settings.OPENAI_BASE_URL = "https://api.openai.com/v1"
    AIConfiguration.objects.create(name="old", model="gpt-4")
    AIConfiguration.objects.create(name="off", model="o1", is_active=False)
    AIConfiguration.objects.create(name="own", model="nobody-knows")
    [found] = look("retired")
    assert "the configuration 'old'" in found.what
    [found] = look("prices")
    assert "nobody-knows" in found.what


def test_vectors_of_another_model(settings: Settings) -> None:
    rows.embedding()
    assert look("vectors") == []
    settings.OPENAI_EMBEDDING_MODEL = "text-embedding-3-large"
    [found] = look("vectors")
    assert found.level is Level.INFO
    assert "reembed text-embedding-3-large --from text-embedding-3-small" in found.mend


def test_many_vectors_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    assert look("pgvector") == []
    monkeypatch.setattr(vectors.vectors, "kinds", lambda: [Kind("m", 3, 250_000)])
    [found] = look("pgvector")
    assert found.level is Level.INFO


@pytest.mark.sqlite_only
def test_pgvector_without_postgres(settings: Settings) -> None:
    settings.OPENAI_VECTOR_BACKEND = PGVECTOR
    [found] = look("pgvector")
    assert found.level is Level.ERROR
    assert "SQLite" in found.what


@pytest.mark.parametrize(
    ("version", "levels"), [(None, [Level.ERROR]), ((0, 7), [Level.ERROR]), ((0, 8), [])]
)
def test_versions_of_pgvector(
    version: tuple[int, ...] | None, levels: list[Level], settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.OPENAI_VECTOR_BACKEND = PGVECTOR
    monkeypatch.setattr(vectors, "connections", {"default": SimpleNamespace(vendor="postgresql")})
    monkeypatch.setattr(vectors, "_version", lambda: version)
    assert [each.level for each in look("pgvector")] == levels


def test_an_index_of_pgvector_that_is_not_finished(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows.embedding()
    settings.OPENAI_VECTOR_BACKEND = PGVECTOR
    monkeypatch.setattr(vectors, "connections", {"default": SimpleNamespace(vendor="postgresql")})
    ready = mock.Mock(side_effect=[True, False, DatabaseError])
    monkeypatch.setattr(vectors.VectorIndex, "is_ready", lambda self: ready())
    assert look("vectors") == []
    assert "chatgpt_vectors sync" in look("vectors")[0].mend
    assert len(look("vectors")) == 1


@pytest.mark.pgvector
def test_the_version_of_a_real_pgvector() -> None:
    version = vectors._version()
    assert version is None or version >= (0, 8)


@pytest.fixture
def index() -> Iterator[Index]:
    made = register_index("groups", Group, fields=["name"])
    yield made
    unwatch(made)
    index_registry.unregister(made.name)


def test_indexes_that_are_behind(index: Index) -> None:
    assert look("indexes") == []
    Group.objects.create(name="lions")
    assert look("indexes") == []  # just now
    IndexedObject.objects.update(updated_at=timezone.now() - timedelta(hours=1))
    [found] = look("indexes")
    assert "1 objects have changed" in found.what
    IndexedObject.objects.all().delete()
    [found] = look("indexes")
    assert "is empty" in found.what


def test_what_cannot_be_looked_at_is_an_error_and_tells_no_text(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(site: Site) -> list[Finding]:
        raise failure

    subjects = (doctor.Diagnosis("one", "Fine.", broken), doctor.Diagnosis("two", "Fine.", lambda site: []))
    monkeypatch.setattr(doctor, "DIAGNOSES", subjects)
    for failure in (DatabaseError("password=secret"), RuntimeError("secret")):
        found = list(doctor.diagnose(Site("wsgi")))
        assert [(each.id, each.level) for each in found] == [("one", Level.ERROR), ("two", Level.OK)]
        assert "secret" not in str(found)
        assert type(failure).__name__ in found[0].what
