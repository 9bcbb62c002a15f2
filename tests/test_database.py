"""The bridge to the database, as far as it can be seen without the turns that go over it."""

from __future__ import annotations

import asyncio
import threading
from unittest import mock

import pytest
from asgiref.sync import ThreadSensitiveContext
from django.db import connection, connections, transaction

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
