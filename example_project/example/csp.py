"""A Content-Security-Policy that lets a page load only what this site serves, and nothing inline."""

from collections.abc import Awaitable, Callable
from inspect import iscoroutinefunction
from typing import cast

from django.http import HttpRequest, HttpResponseBase
from django.utils.decorators import sync_and_async_middleware

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)

SyncView = Callable[[HttpRequest], HttpResponseBase]
AsyncView = Callable[[HttpRequest], Awaitable[HttpResponseBase]]


@sync_and_async_middleware
def content_security_policy(get_response: SyncView | AsyncView) -> SyncView | AsyncView:
    """Put the policy on every response, in either colour, so that no thread is spent on it."""
    if iscoroutinefunction(get_response):

        async def amiddleware(request: HttpRequest) -> HttpResponseBase:
            return _with_policy(await cast(AsyncView, get_response)(request))

        return amiddleware

    def middleware(request: HttpRequest) -> HttpResponseBase:
        return _with_policy(cast(SyncView, get_response)(request))

    return middleware


def _with_policy(response: HttpResponseBase) -> HttpResponseBase:
    response.headers.setdefault("Content-Security-Policy", POLICY)
    return response
