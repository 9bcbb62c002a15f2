"""The bridge to the database, as far as it can be seen without the turns that go over it."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from unittest import mock

import pytest
from asgiref.sync import ThreadSensitiveContext
from django.db import OperationalError, connection, connections, transaction

from django_chatgpt import database


@pytest.mark.django_db
def test_data_in_a_transaction_are_only_here() -> None:
    assert database.only_here()


@pytest.mark.django_db(transaction=True)
def test_data_that_are_committed_are_not() -> None:
    connection.ensure_connection()
    assert not database.only_here()
    with transaction.atomic():
        assert database.only_here()


@pytest.mark.django_db(transaction=True)
def test_a_database_in_memory_is_only_here() -> None:
    with mock.patch.object(connection, "is_in_memory_db", create=True, return_value=True):
        assert database.only_here()


@pytest.mark.django_db(transaction=True)
def test_a_hop_leaves_no_connection_open() -> None:
    assert database.hop(lambda: connection.ensure_connection() or 3) == 3
    assert connection.connection is None


@pytest.mark.django_db
def test_a_hop_leaves_a_transaction_alone() -> None:
    database.hop(connection.ensure_connection)
    assert connection.connection is not None


@pytest.mark.django_db(transaction=True)
def test_a_hop_of_a_request_is_made_in_a_thread_of_the_pool() -> None:
    async def request() -> tuple[str, object]:
        async with ThreadSensitiveContext():
            return await database.ahop(lambda: (threading.current_thread().name, connections["default"]))

    name, used = asyncio.run(request())
    assert name.startswith("django-chatgpt-db")
    assert used is not connections["default"]


def test_a_forked_worker_begins_with_a_pool_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "_pool", before := database._pool)
    database._new_pool()
    assert database._pool is not before


@pytest.mark.django_db(transaction=True)
def test_where_one_connection_has_failed_those_of_other_threads_are_not_trusted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As after a restart of the database, where connections are kept."""
    monkeypatch.setitem(connection.settings_dict, "CONN_MAX_AGE", None)

    def fail() -> None:
        raise OperationalError("terminating connection due to administrator command")

    def opened() -> object:
        connection.ensure_connection()
        return connection.connection

    with ThreadPoolExecutor(1) as one, ThreadPoolExecutor(1) as other:
        monkeypatch.setattr(database, "_here", threading.local())
        first = one.submit(database._pool_hop, opened).result()
        assert one.submit(database._pool_hop, opened).result() is first
        with pytest.raises(OperationalError):
            other.submit(database._pool_hop, fail).result()
        second = one.submit(database._pool_hop, opened).result()
        assert second is not first
        assert one.submit(database._pool_hop, opened).result() is second
        one.submit(connections.close_all).result()
        other.submit(connections.close_all).result()
