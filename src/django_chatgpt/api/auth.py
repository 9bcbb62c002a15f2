"""Who asks: a session, and a CSRF token for whatever changes something."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest, QueryDict
from ninja.security import SessionAuth
from ninja.utils import check_csrf

from django_chatgpt.api.errors import CsrfFailedError, NotAuthenticatedError


class SessionLogin(SessionAuth):
    """Signed-in users, for operations that are plain functions."""

    def __call__(self, request: HttpRequest) -> Any:
        return authorise(request)


class DeferredSessionLogin(SessionAuth):
    """For coroutines, which may not touch the database: they call `authorise` in their one hop.

    It documents the operation and lets everybody in; `authorise` is what keeps them out.
    """

    def __call__(self, request: HttpRequest) -> Any:
        return True


def authorise(request: HttpRequest) -> Any:
    """The signed-in user of a request. Raises NotAuthenticatedError, CsrfFailedError. Uses the database."""
    if not request.user.is_authenticated:
        raise NotAuthenticatedError()
    # Bodies are JSON: no form is parsed, nor its upload kept, to look for a token in it.
    request.POST = QueryDict()
    if check_csrf(request) is not None:
        raise CsrfFailedError()
    return request.user
