"""Conversations that are changed and deleted while others ask in them, on the database of the settings."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import Any
from unittest import mock
from uuid import UUID

import pytest
from django.contrib.auth import get_user_model
from django.db import OperationalError, connection, connections, transaction
from django.db.models import QuerySet

from django_chatgpt.core.window import Window
from django_chatgpt.exceptions import ConflictError, NotFoundError
from django_chatgpt.models import AIConversation, AIMessage, AITurn
from django_chatgpt.storage import conversations, turns
from django_chatgpt.storage.primary import TRIES

ROUNDS = 12
POSTS = 3

pytestmark = pytest.mark.django_db(transaction=True)


def never(turn: AITurn) -> bool:
    raise AssertionError("no lease has run out")


def question(user_id: Any, conversation_id: UUID) -> turns.Question:
    return turns.Question(
        user_id=user_id,
        text="Hello",
        token_count=1,
        window=Window(1000, lambda message: 1),
        lease=timedelta(minutes=5),
        conversation_id=conversation_id,
    )


@contextmanager
def threads(*jobs: Callable[[], None]) -> Iterator[list[BaseException]]:
    """Do the jobs at the same time; what they raised is in the list afterwards."""
    barrier, errors = threading.Barrier(len(jobs), timeout=20), []

    def run(job: Callable[[], None]) -> None:
        try:
            connection.ensure_connection()
            barrier.wait()
            job()
        except BaseException as error:
            errors.append(error)
        finally:
            connections.close_all()

    running = [threading.Thread(target=run, args=(job,)) for job in jobs]
    for thread in running:
        thread.start()
    yield errors
    for thread in running:
        thread.join(timeout=60)
        assert not thread.is_alive()


def test_a_conversation_is_deleted_or_asked_in_but_never_both() -> None:
    user = get_user_model().objects.create_user("ada")
    for _ in range(ROUNDS):
        conversation = AIConversation.objects.create(user=user)
        opened: list[turns.OpenedTurn] = []
        deleted: list[bool] = []

        def post(conversation_id: UUID = conversation.pk, opened: list[Any] = opened) -> None:
            with suppress(ConflictError, NotFoundError):
                opened.append(turns.open_turn(question(user.pk, conversation_id), "gpt-5.4-mini", never))

        def delete(conversation_id: UUID = conversation.pk, deleted: list[bool] = deleted) -> None:
            try:
                conversations.delete(conversation_id, user.pk, never)
            except ConflictError:
                return
            deleted.append(True)

        with threads(delete, *[post] * POSTS) as errors:
            pass
        assert errors == []
        assert len(opened) + len(deleted) == 1, "a turn was deleted under its process"
        assert AITurn.objects.filter(conversation_id=conversation.pk).count() == len(opened)
        assert AIMessage.objects.filter(conversation_id=conversation.pk).count() == len(opened)


def test_changing_and_deleting_where_others_ask_never_fail() -> None:
    user = get_user_model().objects.create_user("ada")
    for _ in range(ROUNDS):
        conversation = AIConversation.objects.create(user=user)

        def post(conversation_id: UUID = conversation.pk) -> None:
            with suppress(ConflictError, NotFoundError):
                turns.open_turn(question(user.pk, conversation_id), "gpt-5.4-mini", never)

        def change(conversation_id: UUID = conversation.pk) -> None:
            with suppress(NotFoundError):
                conversations.change(conversation_id, user.pk, {"title": "New"})

        def delete(conversation_id: UUID = conversation.pk) -> None:
            with suppress(ConflictError, NotFoundError):
                conversations.delete(conversation_id, user.pk, never)

        with threads(post, change, delete, change, delete) as errors:
            pass
        assert errors == []


class Deadlocks:
    """An `update` of which the first calls lose a deadlock."""

    def __init__(self, losses: int) -> None:
        self.losses = losses
        self.calls = 0
        self._update = QuerySet.update

    def __call__(self, rows: QuerySet[Any], **values: Any) -> int:
        self.calls += 1
        if self.calls <= self.losses:
            raise OperationalError(1213, "Deadlock found when trying to get lock; try restarting transaction")
        return self._update(rows, **values)

    def __enter__(self) -> Deadlocks:
        self._patch = mock.patch.object(QuerySet, "update", lambda rows, **values: self(rows, **values))
        self._patch.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._patch.stop()


def test_a_lost_deadlock_is_tried_again() -> None:
    user = get_user_model().objects.create_user("ada")
    conversation = AIConversation.objects.create(user=user)
    with Deadlocks(2):
        assert conversations.change(conversation.pk, user.pk, {"title": "New"}).title == "New"
    with Deadlocks(2):
        conversations.delete(conversation.pk, user.pk, never)
    assert not AIConversation.objects.exists()


def test_a_database_that_gives_up_every_time_is_not_asked_forever() -> None:
    user = get_user_model().objects.create_user("ada")
    conversation = AIConversation.objects.create(user=user)
    with Deadlocks(99) as deadlocks, pytest.raises(OperationalError):
        conversations.delete(conversation.pk, user.pk, never)
    assert deadlocks.calls == TRIES
    assert AIConversation.objects.exists()


def test_within_a_transaction_a_deadlock_is_the_callers() -> None:
    user = get_user_model().objects.create_user("ada")
    conversation = AIConversation.objects.create(user=user)
    with Deadlocks(1) as deadlocks, pytest.raises(OperationalError), transaction.atomic():
        conversations.change(conversation.pk, user.pk, {"title": "New"})
    assert deadlocks.calls == 1
