"""Connections of synchronous code that can be cut while a thread waits for bytes of them.

The HTTP library says which connection a call has got only with the answer's headers. A provider may think
for a minute before it sends them, and whoever asked may not want to wait.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
from collections.abc import Callable, Iterable
from contextvars import ContextVar
from typing import Any
from urllib.request import getproxies

import httpcore2
import httpx2

# What the code that makes a call in this context wants to do with the connection the call has got.
on_connection: ContextVar[Callable[[httpcore2.NetworkStream], None] | None] = ContextVar(
    "django_chatgpt_on_connection", default=None
)


def shut_down(stream: Any) -> None:
    """Wake whoever waits for `stream` and tell the other side; the owner still has to close it."""
    with contextlib.suppress(Exception):
        sock = stream.get_extra_info("socket")
        # Of the plain socket: TLS would take its own state apart while the other thread uses it.
        socket.socket.shutdown(sock, socket.SHUT_RDWR)


class _Stream(httpcore2.NetworkStream):
    """A connection that makes itself known to whoever writes a request to it."""

    def __init__(self, stream: httpcore2.NetworkStream) -> None:
        self._stream = stream
        self._make_known()

    def _make_known(self) -> None:
        tell = on_connection.get()
        if tell is not None:
            tell(self)

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._stream.read(max_bytes, timeout)

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._make_known()
        self._stream.write(buffer, timeout)

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore2.NetworkStream:
        return _Stream(self._stream.start_tls(ssl_context, server_hostname, timeout))

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


class _Backend(httpcore2.SyncBackend):
    """The library's own sockets, in our wrapping."""

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None,
    ) -> httpcore2.NetworkStream:
        return _Stream(super().connect_tcp(host, port, timeout, local_address, socket_options))


class _Transport(httpx2.HTTPTransport):
    def __init__(self, context: ssl.SSLContext, limits: httpx2.Limits) -> None:
        super().__init__(verify=context, limits=limits)
        self._pool = httpcore2.ConnectionPool(
            ssl_context=context,
            max_connections=limits.max_connections,
            max_keepalive_connections=limits.max_keepalive_connections,
            keepalive_expiry=limits.keepalive_expiry,
            network_backend=_Backend(),
        )


def mounts(context: ssl.SSLContext, limits: httpx2.Limits) -> dict[str, httpx2.BaseTransport]:
    """What an HTTP client has to be given as `mounts`. Proxies of the environment keep their precedence."""
    if "all" in getproxies():
        return {}
    return {"all://": _Transport(context, limits)}
