"""Whether, when and of which model a failed call is made again."""

from __future__ import annotations

import random
from collections.abc import Callable

from django_chatgpt.exceptions import AIServiceError, ProviderUnavailableError

BACKOFF_SECONDS = 0.5
MAX_BACKOFF_SECONDS = 8.0


def retry_delay(
    error: AIServiceError,
    tried: int,
    max_retries: int,
    patience: float,
    jitter: Callable[[], float] = random.random,
) -> float | None:
    """Seconds until the next attempt after `tried` failed ones; None if there shall be none.

    What the provider asks for (Retry-After) is honoured, unless it is longer than `patience` seconds.
    """
    if not error.retryable or tried > max_retries:
        return None
    if error.retry_after is not None:
        return error.retry_after if error.retry_after <= patience else None
    backoff = min(BACKOFF_SECONDS * 2.0 ** (tried - 1), MAX_BACKOFF_SECONDS)
    return backoff * (1 - 0.25 * jitter())


class Chain:
    """The attempts at one answer: of each model in turn, each model tried again, until time is up.

    `models` begins with the one to ask, and is shortened as they are given up. All waits together take no
    longer than `patience` seconds.
    """

    def __init__(
        self,
        models: list[str],
        max_retries: int,
        patience: float,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._models = models
        self._max_retries = max_retries
        self._patience = patience
        self._jitter = jitter
        self._tried = 0

    def after(self, error: AIServiceError, *, asked: bool = True) -> float | None:
        """Seconds until the next attempt, of what is `models[0]` then; None if there shall be none.

        A model that was not even asked is not tried again.
        """
        self._tried += 1
        delay = None
        if asked:
            delay = retry_delay(error, self._tried, self._max_retries, self._patience, self._jitter)
        if delay is not None:
            self._patience -= delay
            return delay
        if len(self._models) == 1 or not is_away(error):
            return None
        del self._models[0]
        self._tried = 0
        return 0.0


def is_away(error: AIServiceError) -> bool:
    """Whether another model may answer; it won't if the request or the account is at fault."""
    return error.code != "provider_quota" and (error.retryable or isinstance(error, ProviderUnavailableError))
