"""The default cache, in which requests are counted, answers kept and failures remembered."""

from __future__ import annotations

from collections.abc import Iterator

from django.core.cache import InvalidCacheBackendError, caches
from django.core.cache.backends.dummy import DummyCache
from django.core.cache.backends.locmem import LocMemCache

from django_chatgpt.services.doctor.finding import Finding, Site, error, info, value_of, warning

MEND = "Use Redis or Memcached as the default cache: CACHES in the settings."


def look(site: Site) -> Iterator[Finding]:
    """Whether what one process counts the others see."""
    try:
        cache = caches["default"]
    except InvalidCacheBackendError:
        yield error("The default cache can't be made.", "Questions fail.", "Correct CACHES in the settings.")
        return
    if not isinstance(cache, LocMemCache | DummyCache):
        return
    name = type(cache).__name__
    if value_of("OPENAI_RATE_LIMITS"):
        dummy = isinstance(cache, DummyCache)
        yield warning(
            f"OPENAI_RATE_LIMITS are counted in the default cache, which is {name}.",
            "It keeps nothing, so no request is ever too many."
            if dummy
            else "It is not shared: each process counts for itself, and lets that many requests in.",
            MEND,
        )
    elif site.workers > 1 or isinstance(cache, DummyCache):
        yield info(
            f"The default cache is {name}, which no two processes share.",
            "Answers are kept, and failing models remembered, by each process for itself or not at all.",
            MEND,
        )
