"""The table and HNSW index that PostgreSQL's extension pgvector searches: one for a model and a length.

It stands beside the table of EmbeddingVector and belongs to no migration, because the extension is not
everywhere; `manage.py chatgpt_vectors sync` makes it. Deleting a row deletes its copy by a trigger, so that
it goes with whatever deletes it.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING
from uuid import UUID

from django.db import DatabaseError, connections, transaction

from django_chatgpt.exceptions import NotConfiguredError
from django_chatgpt.models import EmbeddingVector
from django_chatgpt.storage.primary import primary
from django_chatgpt.storage.vectors import rows

if TYPE_CHECKING:
    from django.db.backends.utils import CursorWrapper

    from django_chatgpt.storage.vectors.rows import Matrix

#: What HNSW takes of a `vector`, and of a `halfvec`; longer ones have no index and are compared one by one.
MOST_WHOLE = 2000
MOST_HALVED = 4000

#: The first that goes on looking where a filter leaves too few.
LEAST_VERSION = (0, 8)

READY = "ready"

TRIGGERS = """
CREATE OR REPLACE FUNCTION {table}_follow() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'TRUNCATE' THEN
        TRUNCATE {table};
    ELSE
        DELETE FROM {table} USING gone WHERE {table}.id = gone.id;
    END IF;
    RETURN NULL;
END $$;
CREATE OR REPLACE TRIGGER {table}_deleted AFTER DELETE ON {source}
    REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION {table}_follow();
CREATE OR REPLACE TRIGGER {table}_truncated AFTER TRUNCATE ON {source}
    FOR EACH STATEMENT EXECUTE FUNCTION {table}_follow();
"""


@dataclass(frozen=True, slots=True)
class VectorIndex:
    """The copies of the vectors of one model and length, whoever owns them."""

    model: str
    dimensions: int

    @property
    def table(self) -> str:
        return f"embedding_index_{sha256(self.model.encode()).hexdigest()[:12]}_{self.dimensions}"

    @property
    def kind(self) -> str:
        """The column's type; halves are exact enough to find by, and what is found is compared whole."""
        return "halfvec" if MOST_WHOLE < self.dimensions <= MOST_HALVED else "vector"

    @property
    def is_searchable(self) -> bool:
        """Whether HNSW takes vectors of this length."""
        return self.dimensions <= MOST_HALVED

    def exists(self) -> bool:
        with cursor_of_postgres() as cursor:
            cursor.execute("SELECT to_regclass(%s)", [self.table])
            return cursor.fetchone()[0] is not None

    def is_ready(self) -> bool:
        """Whether it has every vector, and its index."""
        with cursor_of_postgres() as cursor:
            cursor.execute("SELECT obj_description(to_regclass(%s), 'pg_class')", [self.table])
            return bool(cursor.fetchone()[0] == READY)

    def count(self, owner_key: str) -> int:
        with cursor_of_postgres() as cursor:
            cursor.execute(f"SELECT count(*) FROM {self.table} WHERE owner_key = %s", [owner_key])
            return int(cursor.fetchone()[0])

    def create(self) -> None:
        """Make the table. Raises NotConfiguredError where the extension is missing or too old."""
        with transaction.atomic(using=primary()), cursor_of_postgres() as cursor:
            need_extension(cursor)
            cursor.execute(
                f"CREATE TABLE IF NOT EXISTS {self.table} (id uuid PRIMARY KEY, "
                f"owner_key varchar(64) NOT NULL, v {self.kind}({self.dimensions}) NOT NULL)"
            )
            # The lock that this takes waits for all who write vectors, and have not seen the table.
            cursor.execute(TRIGGERS.format(table=self.table, source=EmbeddingVector._meta.db_table))

    def fill(self, advance: Callable[[int], None]) -> None:
        """Copy every vector that has no copy, some hundred at a time."""
        source = EmbeddingVector._meta.db_table
        last = UUID(int=0)
        while True:
            with cursor_of_postgres() as cursor:
                cursor.execute(
                    f"SELECT e.id, e.vector, c.id IS NULL FROM {source} e "
                    f"LEFT JOIN {self.table} c USING (id) "
                    "WHERE e.model = %s AND e.dimensions = %s AND e.id > %s ORDER BY e.id LIMIT 500",
                    [self.model, self.dimensions, last],
                )
                found = cursor.fetchall()
            if not found:
                return
            missing = [(pk, bytes(vector)) for pk, vector, lacking in found if lacking]
            self.put(
                [pk for pk, _ in missing], rows.floats([vector for _, vector in missing], self.dimensions)
            )
            advance(len(found))
            last = found[-1][0]

    def put(self, ids: list[UUID], matrix: Matrix) -> None:
        """Copy vectors; what has no row any more is left out."""
        if not ids:
            return
        texts = [json.dumps(row) for row in matrix.tolist()]
        with cursor_of_postgres() as cursor:
            cursor.execute(
                f"INSERT INTO {self.table} (id, owner_key, v) SELECT e.id, e.owner_key, n.v::{self.kind} "
                "FROM unnest(%s::uuid[], %s::text[]) AS n(id, v) "
                f"JOIN {EmbeddingVector._meta.db_table} e USING (id) FOR KEY SHARE OF e "
                "ON CONFLICT (id) DO UPDATE SET v = EXCLUDED.v, owner_key = EXCLUDED.owner_key",
                [ids, texts],
            )

    def finish(self) -> None:
        """Build the index, while others write if no transaction is open, and say that all is there."""
        with cursor_of_postgres() as cursor:
            cursor.execute(f"CREATE INDEX IF NOT EXISTS {self.table}_owner ON {self.table} (owner_key)")
            if self.is_searchable:
                cursor.execute(
                    "SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass(%s)",
                    [f"{self.table}_hnsw"],
                )
                built = cursor.fetchone()
                if built is not None and not built[0]:  # somebody stopped it half-way
                    cursor.execute(f"DROP INDEX {self.table}_hnsw")
                beside = "" if transaction.get_connection(primary()).in_atomic_block else "CONCURRENTLY"
                cursor.execute(
                    f"CREATE INDEX {beside} IF NOT EXISTS {self.table}_hnsw ON {self.table} "
                    f"USING hnsw (v {self.kind}_ip_ops)"
                )
            cursor.execute(f"ANALYZE {self.table}")
            cursor.execute(f"COMMENT ON TABLE {self.table} IS '{READY}'")

    def drop(self) -> None:
        """Take the table, its index and its triggers away."""
        source = EmbeddingVector._meta.db_table
        with transaction.atomic(using=primary()), cursor_of_postgres() as cursor:
            cursor.execute(f"DROP TRIGGER IF EXISTS {self.table}_deleted ON {source}")
            cursor.execute(f"DROP TRIGGER IF EXISTS {self.table}_truncated ON {source}")
            cursor.execute(f"DROP FUNCTION IF EXISTS {self.table}_follow()")
            cursor.execute(f"DROP TABLE IF EXISTS {self.table}")


def cursor_of_postgres() -> CursorWrapper:
    """A cursor where the app writes. Raises NotConfiguredError for another database."""
    connection = connections[primary()]
    if connection.vendor != "postgresql":
        raise NotConfiguredError(
            "OPENAI_VECTOR_BACKEND needs PostgreSQL with pgvector, and the database is "
            f"{connection.display_name}."
        )
    cursor: CursorWrapper = connection.cursor()
    return cursor


def need_extension(cursor: CursorWrapper) -> None:
    """Create the extension if it is not there. Raises NotConfiguredError."""
    try:
        with transaction.atomic(using=primary()):
            cursor.execute("CREATE EXTENSION IF NOT EXISTS vector")
    except DatabaseError as error:
        raise NotConfiguredError(
            "PostgreSQL can't create the extension vector: install pgvector on its server, or have somebody "
            "who may run CREATE EXTENSION vector there."
        ) from error
    cursor.execute("SELECT extversion FROM pg_extension WHERE extname = 'vector'")
    version: str = cursor.fetchone()[0]
    if tuple(int(part) for part in version.split(".")[:2]) < LEAST_VERSION:
        raise NotConfiguredError(f"pgvector is {version}; it must be 0.8 or newer.")
