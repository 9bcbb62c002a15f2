"""Functions of the site, called for a person by a worker: asked for, made once, looked at later.

submit(user, name, arguments)   write a call down; with OPENAI_TURN_RUNNER = "celery" a worker is told its id
run(job_id)                     make it, in whichever process this is
find(user, job_id)              how it stands
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from datetime import timedelta
from functools import partial
from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone
from pydantic_core import to_json

from django_chatgpt.conf import conf
from django_chatgpt.core.ids import uuid7
from django_chatgpt.core.messages import FunctionCall
from django_chatgpt.exceptions import (
    ConflictError,
    NotFoundError,
    PermissionDeniedError,
    WorkerUnavailableError,
)
from django_chatgpt.functions.calls import FunctionBox
from django_chatgpt.functions.outcomes import Outcome
from django_chatgpt.models import AIFunctionJob
from django_chatgpt.services import access, observed, rates, runners
from django_chatgpt.services.functions import as_text
from django_chatgpt.storage import function_jobs as storage
from django_chatgpt.storage import functions as function_storage
from django_chatgpt.storage.primary import primary

Status = AIFunctionJob.Status
TASK = f"{runners.TASKS}.execute_ai_function"
#: What writing the result down may take, beyond what the function may.
MARGIN = timedelta(seconds=60)

logger = logging.getLogger("django_chatgpt.functions")


def submit(user: Any, name: str, arguments: Mapping[str, Any]) -> AIFunctionJob:
    """Have a function called later, as soon as this is committed and a worker has time.

    Without workers it waits until somebody calls `run`. Raises what can be known by now: NotFoundError,
    PermissionDeniedError, RateLimitedError, InvalidRequestError.
    """
    access.require(user)
    text = as_text(arguments)
    rates.admit(user)
    [examined] = FunctionBox.for_user(user).examine([_call(uuid7(), name, text)])
    if examined.refused is not None and (error := Outcome(examined.refused).error) is not None:
        raise error
    job = storage.add(None if user is None else user.pk, name, text, runners.patience())
    if runners.queues():
        transaction.on_commit(partial(_send, job.pk), using=primary())
    return job


def run(job_id: UUID) -> AIFunctionJob:
    """Make a call that waits, once; one that is over stays as it is.

    One whose process died is unknown, and is not made again. Raises NotFoundError, and ConflictError while
    another process makes it.
    """
    job = _find(job_id)
    if job.status == Status.RUNNING:
        _require_dead(job)
        storage.end(job.pk, Status.UNKNOWN, error_code="interrupted")
        return _find(job_id)
    if job.status != Status.QUEUED:
        return job
    call = _call(job.pk, job.name, job.arguments)
    box = FunctionBox.for_user(job.user)
    if not storage.begin(job.pk, timedelta(seconds=box.patience([call])) + MARGIN):
        return run(job_id)
    try:
        access.require(job.user)
    except PermissionDeniedError as error:
        storage.end(job.pk, Status.FAILED, error_code=error.code)
        return _find(job_id)
    try:
        [outcome] = box.execute([call])
        _keep(job, outcome)
    except BaseException as error:
        # Whatever it was, nobody knows how far the function has come.
        logger.error("The call %s was broken off: %s", job.pk, type(error).__qualname__)
        storage.end(job.pk, Status.UNKNOWN, error_code="interrupted")
        if not isinstance(error, Exception):
            raise
    return _find(job_id)


def find(user: Any, job_id: UUID) -> AIFunctionJob:
    """The user's own job. Raises NotFoundError, also for somebody else's."""
    job = storage.of_user(None if user is None else user.pk).filter(pk=job_id).first()
    if job is None:
        raise NotFoundError(f"job_id: you have no job {job_id}.")
    return job


def overdue() -> QuerySet[AIFunctionJob]:
    """Those that no worker has begun in time, or has ended."""
    return storage.overdue(timezone.now())


def old() -> QuerySet[AIFunctionJob]:
    """Those that have been over for OPENAI_EVENT_RETENTION seconds."""
    return storage.ended_before(timezone.now() - timedelta(seconds=conf.event_retention))


def give_up_overdue() -> int:
    """End those that no worker has begun in time, or has ended; how many they were."""
    return storage.give_up(timezone.now())


def delete_old() -> int:
    """Delete those that have been over for OPENAI_EVENT_RETENTION seconds; how many they were."""
    return storage.delete(old())


def _keep(job: AIFunctionJob, outcome: Outcome) -> None:
    result = outcome.result
    if result.status == "completed":
        storage.end(
            job.pk,
            Status.COMPLETED,
            result=to_json(outcome.value).decode(),
            duration_ms=result.duration_ms,
        )
    else:
        storage.end(
            job.pk,
            Status.FAILED,
            result=result.output,
            error_code=result.error_code,
            duration_ms=result.duration_ms,
        )
    function_storage.count([result])
    observed.called([result], user_id=job.user_id)


def _call(job_id: UUID, name: str, arguments: str) -> FunctionCall:
    return FunctionCall(id=f"call_{job_id.hex}", name=name, arguments=arguments)


def _send(job_id: UUID) -> None:
    try:
        runners.send(TASK, str(job_id), task_id=str(job_id))
    except WorkerUnavailableError:
        storage.begin(job_id, MARGIN)
        storage.end(job_id, Status.FAILED, error_code=WorkerUnavailableError.code)
        raise


def _find(job_id: UUID) -> AIFunctionJob:
    job = storage.find(job_id)
    if job is None:
        raise NotFoundError(f"job_id: there is no job {job_id}.")
    return job


def _require_dead(job: AIFunctionJob) -> None:
    now = timezone.now()
    if job.held_until is not None and job.held_until > now:
        rest = max(1.0, (job.held_until - now).total_seconds())
        raise ConflictError("Another process makes this call.", code="function_running", retry_after=rest)
