"""A call of the model whose answer nobody is shown."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any

from django_chatgpt.core.effects import CloseStream, Db, Effect, OpenStream, ReadStream, Stopped
from django_chatgpt.core.request import Delta
from django_chatgpt.core.spec import Attempt
from django_chatgpt.exceptions import AIServiceError, ProviderProtocolError

Renewal = Callable[[], Callable[[], object] | None]


def ask_aside(attempt: Attempt, renewal: Renewal, clock: Callable[[], float]) -> Generator[Effect, Any, None]:
    """Make an attempt and read it to its end. What it fails for is kept with it; a stop ends the steps.

    `renewal` answers what is due meanwhile.
    """
    try:
        yield OpenStream(attempt.request, renewal)
        attempt.accepted = True
        yield from _read(attempt, renewal)
        attempt.outcome = "completed"
    except AIServiceError as error:
        attempt.outcome, attempt.error = "failed", error
    except Stopped as stop:
        attempt.outcome = stop.outcome
        yield CloseStream()
        raise
    except Exception as error:
        attempt.outcome, attempt.error = "failed", AIServiceError()
        attempt.error.__cause__ = error
    yield CloseStream()
    attempt.ended = clock()


def _read(attempt: Attempt, renewal: Renewal) -> Generator[Effect, Any, None]:
    while True:
        delta: Delta | None = yield ReadStream()
        if delta is None:
            break
        attempt.reply.add(delta)
        due = renewal()
        if due is not None:
            yield Db(due)
    if attempt.reply.finish_reason is None:
        raise ProviderProtocolError()
