"""The SDK's clients: made once, kept by process or event loop, shared by everybody with the same key.

One HTTP client carries all of them: one per process for synchronous code, one per running event loop for
asynchronous code, all with the one TLS context, because that is what is slow to make. A forked child starts
with nothing. An event loop that ends closes its connections; one that was closed without a word is dropped
at the next call.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import importlib.util
import os
import ssl
import threading
from collections import OrderedDict
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from http.cookiejar import DefaultCookiePolicy
from typing import Any, Final, Generic, TypeVar

import httpx2
import openai

from django_chatgpt.core.request import Endpoint
from django_chatgpt.exceptions import NotConfiguredError
from django_chatgpt.providers import connections, redaction

DEFAULT_BASE_URL: Final = "https://api.openai.com/v1"
CONNECT_SECONDS: Final = 5.0
POOL_SECONDS: Final = 10.0
MAX_ENDPOINTS: Final = 256

# A stream holds its connection for minutes; the usual hundred would be the limit of a whole process.
LIMITS: Final = httpx2.Limits(max_connections=4096, max_keepalive_connections=256, keepalive_expiry=30.0)

_Client = TypeVar("_Client", openai.OpenAI, openai.AsyncOpenAI)
_Http = TypeVar("_Http", httpx2.Client, httpx2.AsyncClient)
_Key = tuple[str, str, str | None]


class _Endpoints(Generic[_Client, _Http]):
    """The clients that share one HTTP client, the least recently used given up first."""

    def __init__(self, http: _Http, make: Callable[[Endpoint, _Http], _Client]) -> None:
        self.http: _Http = http
        self._make: Callable[[Endpoint, _Http], _Client] = make
        self._clients: OrderedDict[_Key, _Client] = OrderedDict()

    def get(self, endpoint: Endpoint) -> _Client:
        key = (endpoint.api_key, endpoint.base_url or DEFAULT_BASE_URL, endpoint.organization)
        client = self._clients.get(key)
        if client is None:
            client = self._clients[key] = self._make(endpoint, self.http)
            if len(self._clients) > MAX_ENDPOINTS:
                self._clients.popitem(last=False)
        else:
            self._clients.move_to_end(key)
        return client


@dataclass
class _Injected:
    """HTTP clients of a test, instead of our own."""

    sync: httpx2.Client | None = None
    asynchronous: httpx2.AsyncClient | None = None


@dataclass
class _Pool:
    """All clients of this process."""

    injected: _Injected = field(default_factory=_Injected)
    lock: threading.Lock = field(default_factory=threading.Lock)
    sync: _Endpoints[openai.OpenAI, httpx2.Client] | None = None
    loops: dict[asyncio.AbstractEventLoop, _Endpoints[openai.AsyncOpenAI, httpx2.AsyncClient]] = field(
        default_factory=dict
    )
    guards: dict[asyncio.AbstractEventLoop, AsyncGenerator[None]] = field(default_factory=dict)
    built: int = 0

    def prune(self) -> None:
        for loop in [loop for loop in self.loops if loop.is_closed()]:
            del self.loops[loop]
            self.guards.pop(loop, None)


_pool = _Pool()
_inherited: list[_Pool] = []


def sync_client(endpoint: Endpoint) -> openai.OpenAI:
    """The client of this process for `endpoint`; any thread may use it."""
    _check(endpoint)
    pool = _pool
    with pool.lock:
        if pool.sync is None:
            pool.sync = _Endpoints(pool.injected.sync or _sync_http(), _sync_openai)
        return pool.sync.get(endpoint)


def async_client(endpoint: Endpoint) -> openai.AsyncOpenAI:
    """The client of the running event loop for `endpoint`."""
    _check(endpoint)
    loop = asyncio.get_running_loop()
    pool = _pool
    with pool.lock:
        endpoints = pool.loops.get(loop)
        if endpoints is None:
            pool.prune()
            http = pool.injected.asynchronous or _async_http()
            endpoints = pool.loops[loop] = _Endpoints(http, _async_openai)
            if pool.injected.asynchronous is None:
                pool.guards[loop] = _close_with_loop(pool, loop, http)
                _start(pool.guards[loop])
        return endpoints.get(endpoint)


def built_clients() -> int:
    """How many SDK clients this process has made so far."""
    return _pool.built


def known_loops() -> int:
    """How many event loops have clients now."""
    return len(_pool.loops)


@contextmanager
def http_clients(
    sync: httpx2.Client | None = None, asynchronous: httpx2.AsyncClient | None = None
) -> Iterator[None]:
    """Use these HTTP clients inside the block, for every endpoint and in every thread. For tests."""
    global _pool
    outside = _pool
    _pool = _Pool(injected=_Injected(sync, asynchronous), built=outside.built)
    try:
        yield
    finally:
        outside.built = _pool.built
        _pool = outside


def timeouts(seconds: float) -> httpx2.Timeout:
    """`seconds` of silence while reading; connecting has its own, shorter limit."""
    return httpx2.Timeout(seconds, connect=min(CONNECT_SECONDS, seconds), pool=POOL_SECONDS)


@lru_cache(maxsize=1)
def tls_context() -> ssl.SSLContext:
    """The TLS context of the process; making one takes some 20 ms."""
    return httpx2.create_ssl_context()


def _check(endpoint: Endpoint) -> None:
    """The HTTP library quotes a header that it refuses, and one of these is the key: so look first."""
    if not endpoint.api_key:
        raise NotConfiguredError("OPENAI_API_KEY is not set.")
    if not _fits_header(endpoint.api_key) or " " in endpoint.api_key:
        raise NotConfiguredError("OPENAI_API_KEY holds a space, a line end or a letter that no key has.")
    if endpoint.organization and not _fits_header(endpoint.organization):
        raise NotConfiguredError("OPENAI_ORGANIZATION holds characters that can't be sent.")


def _fits_header(value: str) -> bool:
    return value.isascii() and value.isprintable()


def _is_address(value: str) -> bool:
    try:
        url = httpx2.URL(value)
    except httpx2.InvalidURL:
        return False
    return url.scheme in ("http", "https") and bool(url.host)


def _sync_openai(endpoint: Endpoint, http: httpx2.Client) -> openai.OpenAI:
    return _prepared(openai.OpenAI, endpoint, http)


def _async_openai(endpoint: Endpoint, http: httpx2.AsyncClient) -> openai.AsyncOpenAI:
    return _prepared(openai.AsyncOpenAI, endpoint, http)


def _prepared(make: Callable[..., _Client], endpoint: Endpoint, http: Any) -> _Client:
    base_url = endpoint.base_url or DEFAULT_BASE_URL
    if not _is_address(base_url):
        raise NotConfiguredError("OPENAI_BASE_URL must be an address like https://example.org/v1.")
    redaction.hide(endpoint.api_key)
    if (login := httpx2.URL(base_url).userinfo) != b"":
        redaction.hide(login.decode())
    client = make(
        api_key=endpoint.api_key,
        base_url=base_url,
        organization=endpoint.organization,
        max_retries=0,
        http_client=http,
    )
    # The SDK fills these from the environment, where they belong to the site's key and not to a tenant's.
    client.organization = endpoint.organization
    client.project = None
    client.admin_api_key = None
    _pool.built += 1
    return client


def _sync_http() -> httpx2.Client:
    context = tls_context()
    http = openai.DefaultHttpxClient(
        verify=context, limits=LIMITS, mounts=connections.mounts(context, LIMITS)
    )
    http.cookies.jar.set_policy(DefaultCookiePolicy(allowed_domains=[]))
    return http


def _async_http() -> httpx2.AsyncClient:
    make = openai.DefaultAioHttpClient if aiohttp_installed() else openai.DefaultAsyncHttpxClient
    http = make(verify=tls_context(), limits=LIMITS)
    http.cookies.jar.set_policy(DefaultCookiePolicy(allowed_domains=[]))
    return http


def aiohttp_installed() -> bool:
    """Whether asynchronous streams run on aiohttp, which costs about half as much for each chunk."""
    return importlib.util.find_spec("aiohttp") is not None


async def _close_with_loop(
    pool: _Pool, loop: asyncio.AbstractEventLoop, http: httpx2.AsyncClient
) -> AsyncGenerator[None]:
    """A generator that waits for its loop to shut down, which closes it, and closes the connections then."""
    try:
        yield
    finally:
        with pool.lock:
            pool.loops.pop(loop, None)
            pool.guards.pop(loop, None)
        await http.aclose()


def _start(guard: AsyncGenerator[None]) -> None:
    """Run it up to its yield, from where the loop knows it."""
    with contextlib.suppress(StopIteration):
        guard.__anext__().send(None)


def _after_fork() -> None:
    """Connections of the parent must not be used by the child; nor closed by it, for they are shared."""
    global _pool
    _inherited.append(_pool)
    _pool = _Pool(injected=_pool.injected)


def close() -> None:
    """Close the connections of synchronous code. A later call makes new ones."""
    with _pool.lock:
        endpoints, _pool.sync = _pool.sync, None
    if endpoints is not None and _pool.injected.sync is None:
        endpoints.http.close()


if hasattr(os, "register_at_fork"):  # pragma: no branch
    os.register_at_fork(after_in_child=_after_fork)
atexit.register(close)
