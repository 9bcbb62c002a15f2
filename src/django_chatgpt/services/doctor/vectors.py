"""Vectors: where they are searched, whether all are there, and whether the indexes are up to date."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

from django.db import DatabaseError, connections
from django.utils import timezone

from django_chatgpt.indexes import index_registry
from django_chatgpt.models import IndexedObject
from django_chatgpt.services import vectors
from django_chatgpt.services.doctor.finding import Finding, Site, error, info, value_of, warning
from django_chatgpt.storage.primary import primary
from django_chatgpt.storage.vectors import get_backend
from django_chatgpt.storage.vectors.pgindex import LEAST_VERSION, VectorIndex
from django_chatgpt.storage.vectors.pgvector import PgvectorBackend

#: From how many on one would want an index of the database.
MANY = 200_000
#: What was saved longer ago than this should be in its index by now.
PATIENCE = timedelta(minutes=10)


def pgvector(site: Site) -> Iterator[Finding]:
    """What is configured, against what the database has."""
    connection = connections[primary()]
    if not isinstance(get_backend(), PgvectorBackend):
        most = max((kind.count for kind in vectors.kinds()), default=0)
        if most >= MANY:
            yield info(
                f"{most:,} vectors are searched in the memory of each process.",
                "That takes about 6 kB each, in every process that searches.",
                "On PostgreSQL use pgvector; elsewhere SignBitsBackend takes a thirtieth of the memory.",
            )
        return
    if connection.vendor != "postgresql":
        yield error(
            f"OPENAI_VECTOR_BACKEND is pgvector's, and the database is {connection.display_name}.",
            "Every search fails.",
            "Take OPENAI_VECTOR_BACKEND out, or move to PostgreSQL.",
        )
        return
    version = _version()
    if version is None:
        yield error(
            "OPENAI_VECTOR_BACKEND is pgvector's, and the extension vector is not in the database.",
            "Every search of more than a few vectors fails.",
            "Install pgvector on the server, then run manage.py chatgpt_vectors sync.",
        )
    elif version < LEAST_VERSION:
        yield error(
            f"pgvector is {'.'.join(map(str, version))}; it must be 0.8 or newer.",
            "Searches with a filter find too few.",
            "Install a newer one and run ALTER EXTENSION vector UPDATE.",
        )


def stale_vectors(site: Site) -> Iterator[Finding]:
    """Vectors that no search finds: not taken in by the database's index, or of another model."""
    model, kinds = value_of("OPENAI_EMBEDDING_MODEL"), vectors.kinds()
    if connections[primary()].vendor == "postgresql" and isinstance(get_backend(), PgvectorBackend):
        for kind in kinds:
            if not _is_ready(VectorIndex(kind.model, kind.dimensions)):
                yield warning(
                    f"pgvector has no finished index of {kind.model} with {kind.dimensions} dimensions.",
                    "They are compared one by one, and more than 10,000 of an owner not at all.",
                    "Run manage.py chatgpt_vectors sync.",
                )
    for old in sorted({kind.model for kind in kinds} - {model}):
        number = vectors.lacking(old, model, None).count() if model else 0
        if number:
            yield info(
                f"{number} texts have a vector of {old}, and none of {model}.",
                f"A search by {model}, which OPENAI_EMBEDDING_MODEL names, does not find them.",
                f"Run manage.py chatgpt_vectors reembed {model} --from {old}.",
            )


def stale_indexes(site: Site) -> Iterator[Finding]:
    """Objects that have changed and are still found by what they said before."""
    for index in index_registry.indexes:
        rows = IndexedObject.objects.filter(index=index.name)
        late = rows.filter(stale__isnull=False, updated_at__lt=timezone.now() - PATIENCE).count()
        failed = rows.exclude(error="").count()
        if late or failed:
            yield warning(
                f"The index {index.name!r} is behind: {late} objects have changed, {failed} could not be "
                "embedded.",
                "They are found by what they said before, or not at all.",
                f"Run manage.py chatgpt_index {index.name}; have cron run it with --stale.",
            )
        elif not rows.exists() and index.rows().exists():
            yield warning(
                f"The index {index.name!r} is empty, and there are objects for it.",
                "Nothing of them is found.",
                f"Run manage.py chatgpt_index {index.name}.",
            )


def _version() -> tuple[int, ...] | None:
    with connections[primary()].cursor() as cursor:
        cursor.execute("SELECT extversion FROM pg_extension WHERE extname = 'vector'")
        found = cursor.fetchone()
    return None if found is None else tuple(int(part) for part in found[0].split(".")[:2])


def _is_ready(index: VectorIndex) -> bool:
    try:
        return index.is_ready()
    except DatabaseError:
        return False
