"""How a function becomes a task: one of Celery's where that is installed, and otherwise what it is.

Either way it may be called, and then does its work there and then.
"""

from __future__ import annotations

import logging
import random
import traceback
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from functools import wraps
from typing import Any, ParamSpec, Protocol, TypeVar, cast

from django.db import InterfaceError, OperationalError

from django_chatgpt.conf import require_extra
from django_chatgpt.exceptions import AIServiceError, ConflictError, NotConfiguredError

P = ParamSpec("P")
R_co = TypeVar("R_co", covariant=True)

NAME = "django_chatgpt.tasks.{}"
MOST_RETRIES = 8
#: Seconds before the first retry; twice as many before each that follows, up to the last.
FIRST_PAUSE, LAST_PAUSE = 2.0, 600.0
SOFT_LIMIT, HARD_LIMIT = 1800, 1860

logger = logging.getLogger("django_chatgpt.tasks")

#: The task that a worker runs at present.
_running: ContextVar[Any] = ContextVar("django_chatgpt_task", default=None)


class Task(Protocol[P, R_co]):
    """A function that may be called, and with Celery enqueued."""

    __name__: str

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R_co: ...

    def delay(self, *args: P.args, **kwargs: P.kwargs) -> Any: ...


def task(function: Callable[P, R_co]) -> Task[P, R_co]:
    """Register a function as a task of its own name.

    Run by a worker, it is acknowledged when it has ended and given to another worker where this one is
    killed, so it must be safe to run twice. What is `retryable` is tried again, as late as the error says.
    After SOFT_LIMIT seconds it is asked to end, after HARD_LIMIT its process is killed.
    """
    try:
        celery = require_extra("celery", "celery")
    except NotConfiguredError:
        return cast("Task[P, R_co]", function)

    @wraps(function)
    def run(self: Any, /, *args: Any, **kwargs: Any) -> Any:
        if self.request.called_directly:
            return function(*args, **kwargs)
        token = _running.set(self)
        try:
            return function(*args, **kwargs)
        except AIServiceError as error:
            raise _retried(self, error) from None
        except (OperationalError, InterfaceError) as error:
            _tell(self, error)
            raise _retried(self, AIServiceError(retryable=True)) from None
        except Exception as error:
            if _is_of_celery(error):
                raise
            _tell(self, error)
            raise AIServiceError() from None
        finally:
            _running.reset(token)

    made = celery.shared_task(
        run,
        name=NAME.format(function.__name__),
        bind=True,
        acks_late=True,
        reject_on_worker_lost=True,
        max_retries=MOST_RETRIES,
        soft_time_limit=SOFT_LIMIT,
        time_limit=HARD_LIMIT,
        typing=False,
    )
    return cast("Task[P, R_co]", made)


def report(meta: Mapping[str, Any]) -> None:
    """Tell whoever asks for the state of the running task how far it is: ids and numbers. Else nothing."""
    running = _running.get()
    if running is not None:
        running.update_state(state="PROGRESS", meta=dict(meta))


def is_in_worker() -> bool:
    """Whether a worker runs a task here, and it was not simply called."""
    return _running.get() is not None


def _retried(task: Any, error: AIServiceError) -> Exception:
    """What is to be raised: Celery's Retry, or the error itself where another try is in vain."""
    # Where tasks are run at once, for a test, there is nobody to wait.
    if not error.retryable or task.request.is_eager:
        return error
    tried = task.request.retries
    pause = min(FIRST_PAUSE * 2**tried, LAST_PAUSE) * random.uniform(0.75, 1.25)
    # Who waits for another process waits as long as that lives; it ends, or its lease does.
    waits = isinstance(error, ConflictError) and error.retry_after is not None
    most = None if waits else MOST_RETRIES
    if most is not None and tried >= most:
        return error
    retry: Exception = task.retry(
        exc=error, countdown=error.retry_after or pause, max_retries=tried + 1, throw=False
    )
    return retry


def _tell(task: Any, error: Exception) -> None:
    """Log an error that nobody foresaw: its class and the places it passed, never its words."""
    places = "".join(traceback.format_tb(error.__traceback__))
    logger.error("%s: %s in\n%s", task.name, type(error).__qualname__, places)


def _is_of_celery(error: Exception) -> bool:
    """Whether it is a word of Celery's to its worker: a time limit, a retry, a task taken back."""
    return type(error).__module__.partition(".")[0] in ("celery", "billiard", "kombu")
