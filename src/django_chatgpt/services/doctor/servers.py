"""What stands between a stream and the browser: the server and the middleware."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from django.conf import settings
from django.utils.module_loading import import_string

from django_chatgpt.services.doctor.finding import Finding, Site, error, info, warning

GZIP = "django.middleware.gzip.GZipMiddleware"
COMPRESSING = re.compile(r"gzip|compress|brotli|zstd|minif", re.IGNORECASE)


def server(site: Site) -> Iterator[Finding]:
    """Whether streams suit the server."""
    for name in ("ASGI_APPLICATION", "WSGI_APPLICATION"):
        path = getattr(settings, name, None)
        if path:
            try:
                import_string(path)
            except Exception as problem:
                yield error(
                    f"{name} is {path!r}, which can't be imported: {type(problem).__name__}.",
                    "The server does not start, or serves another application.",
                    "Name the object `application` of the module, as in mysite.asgi.application.",
                )
    if site.is_asgi:
        return
    if getattr(settings, "ASGI_APPLICATION", None) is None and "daphne" in settings.INSTALLED_APPS:
        yield warning(
            "daphne is installed, and there is no ASGI_APPLICATION.",
            "runserver serves WSGI: there are no WebSockets.",
            'Set ASGI_APPLICATION = "mysite.asgi.application".',
        )
    yield info(
        "The site is served by WSGI.",
        "Streams work; each takes a thread of the server as long as it lasts, and a worker without threads "
        "answers nobody else meanwhile.",
        "Give gunicorn threads (--worker-class gthread --threads 50 --timeout 0), or serve by ASGI and set "
        "ASGI_APPLICATION. If you do, say so with --server asgi.",
    )


def gzip(site: Site) -> Iterator[Finding]:
    """Whether anything collects a stream in order to pack it."""
    for path in settings.MIDDLEWARE:
        if path == GZIP:
            yield info(
                "GZipMiddleware is installed.",
                "It leaves the streams of django-chatgpt alone, for they say they are encoded already. A "
                "stream of your own it collects until its buffer is full.",
                "Have a stream of your own say Content-Encoding: identity, or leave packing to nginx.",
            )
        elif COMPRESSING.search(path):
            yield warning(
                f"The middleware {path} seems to pack what is sent.",
                "One that waits for the whole answer shows it in one piece, at its end.",
                "See whether it leaves text/event-stream alone; if not, leave packing to nginx.",
            )


def middleware(site: Site) -> Iterator[Finding]:
    """Middleware that knows threads only, under a server that has none to spare."""
    for path in settings.MIDDLEWARE:
        try:
            loaded = import_string(path)
        except Exception as problem:
            yield error(
                f"The middleware {path} can't be imported: {type(problem).__name__}.",
                "The site does not start.",
                "Correct MIDDLEWARE, or install what brings it.",
            )
            continue
        if site.is_asgi and not _knows_async(loaded):
            yield warning(
                f"The middleware {path} is synchronous only.",
                "Under ASGI each request then takes a thread, and those before and after it change between "
                "the two at every request.",
                "Use a version that is async_capable, or make it so with "
                "django.utils.decorators.sync_and_async_middleware.",
            )


def _knows_async(loaded: Any) -> bool:
    return bool(getattr(loaded, "async_capable", False))
