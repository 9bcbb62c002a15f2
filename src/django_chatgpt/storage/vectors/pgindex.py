"""The table and HNSW index that PostgreSQL's extension pgvector searches: one for a model and a length.

It stands beside the table of EmbeddingVector and belongs to no migration, because the extension is not
everywhere; `manage.py chatgpt_vectors sync` makes it. Triggers keep the copies in step, so that it does not
matter who writes or deletes a row, or how.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING
from uuid import UUID

from django.db import DatabaseError, connections, transaction

from django_chatgpt.exceptions import NotConfiguredError
from django_chatgpt.models import EmbeddingVector
from django_chatgpt.storage.primary import primary

if TYPE_CHECKING:
    from django.db.backends.utils import CursorWrapper

#: What HNSW takes of a `vector`, and of a `halfvec`; longer ones have no index and are compared one by one.
MOST_WHOLE = 2000
MOST_HALVED = 4000

#: The first that goes on looking where a filter leaves too few.
LEAST_VERSION = (0, 8)

READY = "ready"

ROWS_AT_ONCE = 500

# PostgreSQL can't read the bytes of a float: sign, exponent and mantissa are put together by hand. The bytes
# are unpacked first, because each get_byte() of what lies compressed would do it again.
TRIGGERS = """
CREATE OR REPLACE FUNCTION {table}_numbers(stored bytea) RETURNS real[]
    LANGUAGE plpgsql IMMUTABLE STRICT AS $$
DECLARE
    b bytea := stored || ''::bytea;
BEGIN
    RETURN ARRAY(
        SELECT ((1 - 2 * (get_byte(b, at + 3) >> 7)) * CASE
            WHEN exponent = 0 THEN mantissa * 2::float8 ^ (-149)
            ELSE (8388608 + mantissa) * 2::float8 ^ (exponent - 150)
        END)::real
        FROM generate_series(0, length(b) - 4, 4) at, LATERAL (SELECT
            ((get_byte(b, at + 3) & 127) << 1) | (get_byte(b, at + 2) >> 7) AS exponent,
            ((get_byte(b, at + 2) & 127) << 16) | (get_byte(b, at + 1) << 8) | get_byte(b, at) AS mantissa
        ) parts
    );
END $$;
CREATE OR REPLACE FUNCTION {table}_follow() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'TRUNCATE' THEN
        TRUNCATE {table};
    ELSIF TG_OP = 'DELETE' THEN
        DELETE FROM {table} USING gone WHERE {table}.id = gone.id;
    ELSE
        IF TG_OP = 'UPDATE' THEN
            DELETE FROM {table} WHERE id = OLD.id;
        END IF;
        IF NEW.model = TG_ARGV[0] AND NEW.dimensions = {dimensions} THEN
            INSERT INTO {table} (id, owner_key, v)
            VALUES (NEW.id, NEW.owner_key, {table}_numbers(NEW.vector)::{kind})
            ON CONFLICT (id) DO UPDATE SET owner_key = EXCLUDED.owner_key, v = EXCLUDED.v;
        END IF;
    END IF;
    RETURN NULL;
END $$;
CREATE OR REPLACE TRIGGER {table}_inserted AFTER INSERT ON {source} FOR EACH ROW
    WHEN (NEW.model = {model} AND NEW.dimensions = {dimensions})
    EXECUTE FUNCTION {table}_follow({model});
CREATE OR REPLACE TRIGGER {table}_updated AFTER UPDATE ON {source} FOR EACH ROW
    WHEN (
        (OLD.model = {model} OR NEW.model = {model})
        AND (OLD.id, OLD.owner_key, OLD.model, OLD.dimensions, OLD.vector)
        IS DISTINCT FROM (NEW.id, NEW.owner_key, NEW.model, NEW.dimensions, NEW.vector)
    )
    EXECUTE FUNCTION {table}_follow({model});
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
            cursor.execute("SELECT quote_literal(%s)", [self.model])
            # The lock that this takes waits for all who write vectors and have not seen the triggers.
            cursor.execute(
                TRIGGERS.format(
                    table=self.table,
                    source=EmbeddingVector._meta.db_table,
                    kind=self.kind,
                    model=cursor.fetchone()[0],
                    dimensions=self.dimensions,
                )
            )

    def fill(self, advance: Callable[[int], None]) -> None:
        """Copy every vector that has no copy, some hundred at a time."""
        last = UUID(int=0)
        while True:
            with cursor_of_postgres() as cursor:
                # The rows are locked, so that none is changed before its copy is there to follow.
                cursor.execute(
                    "WITH page AS MATERIALIZED ("
                    f"SELECT id, owner_key, vector FROM {EmbeddingVector._meta.db_table} "
                    "WHERE model = %s AND dimensions = %s AND id > %s ORDER BY id LIMIT %s FOR SHARE"
                    "), copied AS ("
                    f"INSERT INTO {self.table} (id, owner_key, v) "
                    f"SELECT id, owner_key, {self.table}_numbers(vector)::{self.kind} FROM page "
                    f"WHERE NOT EXISTS (SELECT 1 FROM {self.table} c WHERE c.id = page.id) "
                    "ON CONFLICT (id) DO NOTHING"
                    ") SELECT id FROM page",
                    [self.model, self.dimensions, last, ROWS_AT_ONCE],
                )
                found = [row[0] for row in cursor.fetchall()]
            if not found:
                return
            advance(len(found))
            last = max(found)

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
            for happens in ("inserted", "updated", "deleted", "truncated"):
                cursor.execute(f"DROP TRIGGER IF EXISTS {self.table}_{happens} ON {source}")
            cursor.execute(f"DROP FUNCTION IF EXISTS {self.table}_follow()")
            cursor.execute(f"DROP FUNCTION IF EXISTS {self.table}_numbers(bytea)")
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
