"""The Redis by which processes wake each other: of the setting, the default cache or the channel layer."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from django.conf import settings

from django_chatgpt.conf import conf

REDIS_CACHE: Final = "django.core.cache.backends.redis.RedisCache"
REDIS_LAYERS: Final = (
    "channels_redis.core.RedisChannelLayer",
    "channels_redis.pubsub.RedisPubSubChannelLayer",
)
#: Options of Django's cache that are not the connection's.
OF_THE_CACHE: Final = frozenset({"serializer", "pool_class", "parser_class"})


@dataclass(frozen=True, slots=True)
class Address:
    """A Redis server. It may hold a password, so it has no repr to speak of."""

    url: str = field(repr=False)
    options: Mapping[str, Any] = field(default_factory=dict, repr=False)


def find_address() -> Address | None:
    """The server that the settings name; None if they name none. Raises NotConfiguredError."""
    url = conf.wake_url
    if url is False:
        return None
    if url is not None:
        return Address(url)
    return _of_cache() or _of_layer()


def _of_cache() -> Address | None:
    cache: Mapping[str, Any] = settings.CACHES.get("default", {})
    if cache.get("BACKEND") != REDIS_CACHE:
        return None
    where = cache.get("LOCATION") or ""
    # Of several, writes go to the first.
    first = next(iter(re.split("[;,]", where) if isinstance(where, str) else where), "")
    if not first:
        return None
    options = cache.get("OPTIONS") or {}
    return Address(first, {name: value for name, value in options.items() if name not in OF_THE_CACHE})


def _of_layer() -> Address | None:
    layer = getattr(settings, "CHANNEL_LAYERS", {}).get("default", {})
    if layer.get("BACKEND") not in REDIS_LAYERS:
        return None
    hosts: Any = layer.get("CONFIG", {}).get("hosts") or [("localhost", 6379)]
    first: Any = hosts if isinstance(hosts, str) else next(iter(hosts))
    options = dict(first) if isinstance(first, Mapping) else {"address": first}
    where = options.pop("address", None) or (options.pop("host", None), options.pop("port", 6379))
    match where:
        case str(url):
            return Address(url, options)
        case (str(host), port):
            return Address(f"redis://{host}:{port}", options)
    return None  # a master that sentinels know
