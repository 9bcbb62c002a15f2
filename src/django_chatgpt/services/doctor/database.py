"""The database: its kind, its connections, its tables, and the turns that are stuck in it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

from django.conf import settings
from django.db import connections
from django.db.migrations.executor import MigrationExecutor
from django.utils import timezone

from django_chatgpt.models import AITurn
from django_chatgpt.services.doctor.finding import Finding, Site, error, info, warning
from django_chatgpt.storage.primary import primary

APP = "django_chatgpt"
#: How long a turn may wait for a worker before somebody should look.
PATIENCE = timedelta(minutes=5)


def conn_max_age(site: Site) -> Iterator[Finding]:
    """Connections that outlive the request, where there is no telling which thread comes next."""
    if not site.is_asgi:
        return
    for alias, options in settings.DATABASES.items():
        age = options.get("CONN_MAX_AGE", 0)
        if age != 0:
            yield warning(
                f"CONN_MAX_AGE of the database {alias!r} is {age}, and the site is served by ASGI.",
                "Threads keep connections that nobody uses again, until the database has none left.",
                'Set it to 0. On PostgreSQL use a pool: OPTIONS = {"pool": True}, or pgbouncer.',
            )


def sqlite(site: Site) -> Iterator[Finding]:
    """SQLite, which lets one write at a time, and several who want to."""
    connection = connections[primary()]
    if connection.vendor != "sqlite":
        return
    if site.workers > 1 or site.runs_in_celery:
        yield warning(
            "The database is SQLite, and several processes write to it.",
            'It takes one write at a time: under load, questions fail with "database is locked".',
            "Use PostgreSQL, or one process with threads.",
        )
    mode = connection.settings_dict.get("OPTIONS", {}).get("transaction_mode", "")
    if str(mode).upper() != "IMMEDIATE":
        yield info(
            "Transactions of SQLite do not begin with IMMEDIATE.",
            'Two that read first and write then fail at once: "database is locked".',
            'Set OPTIONS = {"transaction_mode": "IMMEDIATE", "timeout": 20, "init_command": '
            '"PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;"}.',
        )


def migrations(site: Site) -> Iterator[Finding]:
    """Tables that are not what the code expects."""
    executor = MigrationExecutor(connections[primary()])
    leaves = [node for node in executor.loader.graph.leaf_nodes() if node[0] == APP]
    waiting = [
        migration.name for migration, _ in executor.migration_plan(leaves) if migration.app_label == APP
    ]
    if waiting:
        yield error(
            f"{len(waiting)} migrations are not applied, the first is {waiting[0]}.",
            "Tables or columns are missing: what needs them fails.",
            "Run manage.py migrate.",
        )


def turns(site: Site) -> Iterator[Finding]:
    """Turns that nobody goes on with."""
    expired = AITurn.objects.expired().count()
    if expired:
        yield warning(
            f"{expired} turns are still called running, and their processes gave no sign of life.",
            "Their conversations take no question until they have ended; money is reserved for them.",
            "Run manage.py chatgpt_prune, every few minutes.",
        )
    since = timezone.now() - PATIENCE
    waiting = AITurn.objects.filter(status=AITurn.Status.QUEUED, created_at__lt=since)
    number = waiting.exclude(pk__in=AITurn.objects.expired()).count()
    if number:
        yield warning(
            f"{number} turns have waited for a worker for more than {PATIENCE.seconds // 60} minutes.",
            "Nobody has begun to answer these questions.",
            "See whether Celery's workers run and listen to the right queue.",
        )
