"""Vectors of what was searched for, kept for a while in Django's default cache: a page has a next page.

The key is made of the owner, the account and everything that shapes the vector. A cache that fails costs the
vector it had, never the search.
"""

from __future__ import annotations

import hashlib
import json
import logging
from typing import TYPE_CHECKING

from django.core.cache import caches

from django_chatgpt.conf import conf
from django_chatgpt.core.vectors import unpack_vector
from django_chatgpt.services.batches import Item, Job

if TYPE_CHECKING:
    from numpy import float32
    from numpy.typing import NDArray

logger = logging.getLogger("django_chatgpt.caching")

ALIAS = "default"
PREFIX = "django_chatgpt:query:1:"


def key(job: Job, item: Item) -> str:
    """What stands for a query and who asked; what the provider was sent, not what was typed."""
    endpoint = job.endpoint
    shaping = [
        job.owner_key,
        [endpoint.base_url, endpoint.organization, endpoint.api_key],
        [job.model, job.dimensions, item.pieces],
    ]
    return PREFIX + hashlib.sha256(json.dumps(shaping).encode()).hexdigest()


def find(name: str) -> NDArray[float32] | None:
    """The vector kept under that key."""
    if not conf.enable_caching:
        return None
    try:
        stored = caches[ALIAS].get(name)
        return None if stored is None else unpack_vector(stored)
    except Exception as error:
        logger.warning("The vector of a query can't be read from the cache: %s", type(error).__qualname__)
        return None


def keep(name: str, vector: NDArray[float32]) -> None:
    """Keep a vector for OPENAI_CACHE_TTL seconds."""
    if not conf.enable_caching:
        return
    try:
        caches[ALIAS].set(name, vector.tobytes(), conf.cache_ttl)
    except Exception as error:
        logger.warning("The vector of a query can't be kept in the cache: %s", type(error).__qualname__)
