"""From which pages a socket may be opened: a browser sends the cookie along whatever page it shows."""

from __future__ import annotations

from collections.abc import Mapping
from io import BytesIO
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.core.exceptions import DisallowedHost
from django.core.handlers.asgi import ASGIRequest
from django.utils.http import is_same_domain


def is_ours(scope: Mapping[str, Any]) -> bool:
    """Whether a page of this site opens the socket, or one of CSRF_TRUSTED_ORIGINS.

    Who sends no Origin is no browser, and has the cookie from elsewhere. The host has to be one of
    ALLOWED_HOSTS in any case.
    """
    schemes = {"ws": "http", "wss": "https"}
    scheme = schemes.get(scope.get("scheme", "ws"), "http")
    request = ASGIRequest({**scope, "method": "GET", "scheme": scheme}, BytesIO())
    origin = request.headers.get("Origin")
    try:
        host = request.get_host() if "Host" in request.headers else None
    except DisallowedHost:
        return False
    if origin is None:
        return True
    if host is not None and origin == f"{'https' if request.is_secure() else 'http'}://{host}":
        return True
    return any(_fits(origin, trusted) for trusted in settings.CSRF_TRUSTED_ORIGINS)


def _fits(origin: str, trusted: str) -> bool:
    if "*" not in trusted:
        return origin == trusted
    try:
        given = urlsplit(origin)
    except ValueError:
        return False
    pattern = urlsplit(trusted)
    return given.scheme == pattern.scheme and is_same_domain(given.netloc, pattern.netloc.lstrip("*"))
