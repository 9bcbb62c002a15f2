"""How often somebody may ask: `OPENAI_RATE_LIMITS`, counted in the default cache by the library `limits`."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from functools import cache as kept
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from django.core.cache import caches
from django.core.cache.backends.base import BaseCache
from django.core.cache.backends.redis import RedisCache

from django_chatgpt.conf import RateLimit, conf
from django_chatgpt.exceptions import RateLimitedError

if TYPE_CHECKING:
    from limits import RateLimitItem
    from limits.strategies import RateLimiter

ALIAS = "default"
NARROW_FIRST = {"user": 0, "site": 2}


def admit(user: Any) -> None:
    """Count a request of this user (None: of the site itself), or refuse it.

    A refused request is not counted. Raises RateLimitedError with the seconds until one more is let in.
    Neither cache nor database is asked where no limit is set.
    """
    counted = _limits_of(user)
    if not counted:
        return
    limiter = _limiter(caches[ALIAS])
    # Only looked at: a request that the site refuses shall not use up what its user may ask.
    for item, who in counted[1:]:
        if not limiter.test(item, who):
            raise _refusal(limiter, item, who)
    for item, who in counted:
        if not limiter.hit(item, who):
            raise _refusal(limiter, item, who)


def check(user: Any) -> None:
    """Refuse whoever would be refused now. Nothing is counted. Raises RateLimitedError."""
    counted = _limits_of(user)
    limiter = _limiter(caches[ALIAS]) if counted else None
    for item, who in counted:
        assert limiter is not None
        if not limiter.test(item, who):
            raise _refusal(limiter, item, who)


def _limits_of(user: Any) -> list[tuple[RateLimitItem, str]]:
    limits = conf.rate_limits
    return list(_counted(limits, user)) if limits else []


def _counted(limits: Sequence[RateLimit], user: Any) -> Iterator[tuple[RateLimitItem, str]]:
    """Each limit that is about this user, with the name of its counter, the narrowest scope first."""
    # The library takes a third of a second to import, and most sites set no limits.
    from limits import RateLimitItemPerSecond

    groups = _groups(limits, user)
    for limit in sorted(limits, key=lambda limit: NARROW_FIRST.get(limit.scope, 1)):
        if limit.scope == "user":
            if user is None:
                continue
            who = f"user:{user.pk}"
        elif limit.group is not None:
            if limit.group not in groups:
                continue
            # Names of groups may be long, and have characters that no key of a cache has.
            who = f"group:{sha256(limit.group.encode()).hexdigest()}"
        else:
            who = "site"
        yield RateLimitItemPerSecond(limit.requests, limit.seconds, namespace="django_chatgpt"), who


def _groups(limits: Sequence[RateLimit], user: Any) -> set[str]:
    """Those of the groups with limits that the user is in; no query where no group has any."""
    named = [limit.group for limit in limits if limit.group is not None]
    memberships = getattr(user, "groups", None) if named else None
    if memberships is None:  # a user model may be without groups
        return set()
    return set(memberships.filter(name__in=named).values_list("name", flat=True))


def _limiter(cache: BaseCache) -> RateLimiter:
    """Redis counts in a moving window; every other cache in a sliding one, made of two counters."""
    if isinstance(cache, RedisCache):
        inside: Any = cache
        return _redis_limiter(tuple(inside._servers), cache.make_key("rates"))
    from django_chatgpt.services.counters import CacheStorage, SlidingWindow

    return SlidingWindow(CacheStorage(cache))


@kept
def _redis_limiter(servers: tuple[str, ...], prefix: str) -> RateLimiter:
    """One for all threads of the process, on the connections of the cache that asked first."""
    from limits.storage import RedisStorage
    from limits.strategies import MovingWindowRateLimiter

    cache: Any = caches[ALIAS]
    pool = cache._cache.get_client(write=True).connection_pool
    return MovingWindowRateLimiter(RedisStorage(servers[0], connection_pool=pool, key_prefix=prefix))


def _refusal(limiter: RateLimiter, item: RateLimitItem, who: str) -> RateLimitedError:
    wait = limiter.get_window_stats(item, who).reset_time - time.time()
    return RateLimitedError(retry_after=max(1.0, wait))
