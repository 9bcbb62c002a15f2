"""Whether and when a failed call is made again."""

from __future__ import annotations

import random
from collections.abc import Callable

from django_chatgpt.exceptions import AIServiceError

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
