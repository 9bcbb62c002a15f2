"""Circuit breakers: a model that keeps failing is left alone for a while, so that nobody waits for it.

There is one for each base URL and model. OPENAI_BREAKER_FAILURES failures in a row open it; after
OPENAI_BREAKER_SECONDS one call may try, and what becomes of that decides. The rules are pybreaker's; the
state is in Django's default cache, so all processes share it where they share that cache.
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING

from django.core.cache import caches

from django_chatgpt.conf import DEFAULT_BASE_URL, conf
from django_chatgpt.core.request import public_url
from django_chatgpt.exceptions import (
    AIServiceError,
    NotConfiguredError,
    ProviderProtocolError,
    ProviderRateLimitedError,
    ProviderRejectedError,
    ProviderUnavailableError,
)
from django_chatgpt.services import alerts
from django_chatgpt.signals import breaker_changed
from django_chatgpt.storage.primary import primary

if TYPE_CHECKING:
    from django_chatgpt.services.circuits import Breaker, CacheStorage

logger = logging.getLogger("django_chatgpt.breakers")

ALIAS = "default"


@dataclass(frozen=True, slots=True)
class Circuit:
    """What one breaker watches over. The address is without a password that may be in it."""

    base_url: str
    model: str

    @classmethod
    def to(cls, base_url: str | None, model: str) -> Circuit:
        return cls(public_url(base_url or DEFAULT_BASE_URL), model)

    @property
    def key(self) -> str:
        """The beginning of its keys in the cache, whatever characters and length its names have."""
        digest = sha256(f"{self.base_url}\n{self.model}".encode(errors="replace")).hexdigest()
        return f"django_chatgpt.breaker.{digest}"


def refusal(base_url: str | None, model: str) -> ProviderUnavailableError | None:
    """Why this model must not be asked now, with the seconds until it may be; None if it may.

    Whoever is told None while the breaker is open is the one who tries, and has to `note` what came of it.
    A cache that is away opens no breaker, nor does a setting that says nothing.
    """
    try:
        return _refusal(Circuit.to(base_url, model)) if conf.breaker_failures else None
    except Exception as error:
        _away(error)
        return None


def note(base_url: str | None, model: str, error: AIServiceError | None, *, accepted: bool) -> None:
    """Count what came of a call; `accepted` says whether the provider had begun to answer."""
    try:
        if conf.breaker_failures:
            _note(Circuit.to(base_url, model), works(error, accepted=accepted))
    except Exception as error:
        _away(error)


def works(error: AIServiceError | None, *, accepted: bool) -> bool | None:
    """What an attempt says about the provider; None if nothing, as of one that was stopped.

    An answer that refuses the request shows that it works. Too many requests of one key say nothing about
    those of others; our own errors say nothing at all.
    """
    match error:
        case None:
            return True if accepted else None
        case ProviderRateLimitedError():
            return None
        case ProviderUnavailableError(status=status):
            return False if status is None or status >= 500 else None
        case ProviderProtocolError(retryable=True):
            return False
        case ProviderRejectedError():
            return True
    return None


def _refusal(circuit: Circuit) -> ProviderUnavailableError | None:
    state = _found(circuit).get(f"{circuit.key}.state")
    if state is None:
        return None
    storage, breaker = _load(circuit)
    opened_at = storage.opened_at
    wait = 0.0
    if state == "open" and opened_at is not None:
        wait = opened_at.timestamp() + conf.breaker_seconds - time.time()
    if wait <= 0:
        # Until this call is settled no other tries; if it never is, for as long as a provider may be silent.
        if storage.claim(conf.timeout):
            if state == "open":
                breaker.half_open()
                _tell(circuit, breaker, 0)
            return None
        wait = min(conf.breaker_seconds, conf.timeout)
    return ProviderUnavailableError(retry_after=wait)


def _note(circuit: Circuit, works: bool | None) -> None:
    if works is not False and not _found(circuit):
        return
    storage, breaker = _load(circuit)
    closed = storage.state == "closed"
    failures = storage.counter
    if works is not None:
        breaker.told(works)
        _tell(circuit, breaker, 0 if works else failures + 1)
    if not closed:
        storage.release()


def _found(circuit: Circuit) -> dict[str, object]:
    """What there is to look at, usually nothing; one look at the cache, and without the library."""
    found: dict[str, object] = caches[ALIAS].get_many([f"{circuit.key}.state", f"{circuit.key}.failures"])
    return found


def _load(circuit: Circuit) -> tuple[CacheStorage, Breaker]:
    # A site whose provider works never imports the library.
    from django_chatgpt.services.circuits import Breaker, CacheStorage

    storage = CacheStorage(caches[ALIAS], circuit.key, conf.breaker_seconds)
    return storage, Breaker(storage, conf.breaker_failures, conf.breaker_seconds)


def _tell(circuit: Circuit, breaker: Breaker, failures: int) -> None:
    for state, previous in breaker.changes:
        level = logging.WARNING if state == "open" else logging.INFO
        values = {
            "base_url": circuit.base_url,
            "model": circuit.model,
            "state": state,
            "previous": previous,
            "failures": failures,
            "retry_after": conf.breaker_seconds if state == "open" else None,
        }
        logger.log(level, "breaker of %s at %s: %s", circuit.model, circuit.base_url, state, extra=values)
        breaker_changed.tell(None, using=primary(), **values)
        if previous == "closed":
            alerts.breaker_open(
                circuit.key, base_url=circuit.base_url, model=circuit.model, failures=failures
            )


def _away(error: Exception) -> None:
    if isinstance(error, NotConfiguredError):
        logger.error("There are no circuit breakers: %s", error)
        return
    logger.warning("The cache that keeps the circuit breakers does not answer: %s", type(error).__name__)
