"""Who drives a turn: the process that was asked, or a Celery worker that is told its id."""

from __future__ import annotations

import logging
from datetime import timedelta
from functools import partial
from typing import Any
from uuid import UUID

from django.db import transaction

from django_chatgpt.conf import conf, require_extra
from django_chatgpt.exceptions import AIServiceError, WorkerUnavailableError
from django_chatgpt.models import AITurn
from django_chatgpt.services import closing
from django_chatgpt.storage.primary import primary

TASKS = "django_chatgpt.tasks"
ANSWER = f"{TASKS}.process_ai_message_async"

logger = logging.getLogger("django_chatgpt.turns")


def queues() -> bool:
    """Whether turns are handed to a worker. Raises NotConfiguredError where that can't be done at all."""
    if conf.turn_runner != "celery":
        return False
    require_extra("celery", "celery")
    return True


def patience() -> timedelta:
    """How long a turn waits for a worker."""
    return timedelta(seconds=conf.queue_patience)


def enqueue(turn_id: UUID) -> None:
    """Hand a turn that waits over to a worker, once it is committed.

    Where no worker can be told of it, it is ended, so that nobody waits for it in vain, and
    WorkerUnavailableError is raised.
    """
    _on_commit(partial(_enqueue, turn_id))


def enqueue_again(turn_id: UUID) -> None:
    """The same for a turn that must not be lost for want of a broker: it is left to the sweeper then."""
    _on_commit(partial(_enqueue_again, turn_id))


def send(name: str, *arguments: str, task_id: str | None = None) -> None:
    """Have a worker run one of the tasks. Raises WorkerUnavailableError."""
    app: Any = require_extra("celery", "celery").current_app
    try:
        if app.conf.task_always_eager:
            # Only a task that is registered in this process can be run in it.
            app.loader.import_task_module(TASKS)
        task = app.tasks.get(name)
        if task is None:
            app.send_task(name, args=list(arguments), task_id=task_id)
        else:
            task.apply_async(args=list(arguments), task_id=task_id)
    except Exception as error:
        logger.error("%s can't be handed to a worker: %s", name, type(error).__qualname__)
        raise WorkerUnavailableError() from None


def _enqueue(turn_id: UUID) -> None:
    try:
        send(ANSWER, str(turn_id), task_id=str(turn_id))
    except AIServiceError as error:
        closing.fail(turn_id, AITurn.Status.QUEUED, error)
        raise


def _enqueue_again(turn_id: UUID) -> None:
    try:
        send(ANSWER, str(turn_id), task_id=str(turn_id))
    except AIServiceError:
        logger.warning("Turn %s waits for the sweeper.", turn_id)


def _on_commit(function: partial[None]) -> None:
    transaction.on_commit(function, using=primary())
