"""The HTTP interface.

`router` may be mounted in a site's own NinjaAPI; `urls` is what `include("django_chatgpt.urls")` gives.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from inspect import iscoroutinefunction
from typing import Any, cast

from django.contrib.auth.decorators import login_not_required
from django.db import connections, transaction
from django.http import Http404, HttpRequest, HttpResponse
from django.urls import URLPattern, URLResolver
from ninja import NinjaAPI, Router

from django_chatgpt import __version__
from django_chatgpt.api import chat, conversations, embeddings, errors, events, functions, turns, usage
from django_chatgpt.conf import conf
from django_chatgpt.exceptions import NotConfiguredError

View = Callable[..., HttpResponse]

# The pages that describe the interface know nobody; whether strangers may read them is for the site to say.
UNGUARDED = frozenset({"api-root", "openapi-json", "openapi-view"})


def _docs_where_wanted(view: View) -> View:
    """The page of documentation is there with OPENAI_API_DOCS only; `openapi.json` always is."""

    @wraps(view)
    def guarded(request: HttpRequest, **kwargs: Any) -> HttpResponse:
        match = request.resolver_match
        if match is not None and match.url_name == "openapi-view" and not _docs_wanted():
            raise Http404
        return view(request, **kwargs)

    return guarded


def _docs_wanted() -> bool:
    try:
        return conf.api_docs
    except NotConfiguredError as error:
        errors.logger.error("There is no page of documentation: %s", error)
        return False


router = Router()
for part in (chat, turns, events, functions, conversations, embeddings, usage):
    router.add_router("", part.router)

api = NinjaAPI(
    title="django-chatgpt",
    version=__version__,
    description="Conversations with a model.",
    urls_namespace="django_chatgpt",
    docs_decorator=_docs_where_wanted,
)
errors.register(api)
api.add_router("", router)


def _errors_as_json(view: View) -> View:
    """The framework refuses a method in plain text; here every error has the one shape."""
    if iscoroutinefunction(view):

        @wraps(view)
        async def answered(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
            return errors.with_json_body(await view(request, *args, **kwargs))

        return cast(View, answered)

    @wraps(view)
    def answered_at_once(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        return errors.with_json_body(view(request, *args, **kwargs))

    return answered_at_once


def _for_any_site(patterns: list[URLPattern | URLResolver]) -> list[URLPattern | URLResolver]:
    """Keep what a site does around its views away from these.

    A turn commits its question before it asks the model, so no transaction may be around a request. Where
    LoginRequiredMiddleware guards a site, an operation still answers strangers itself: 401, no form.
    """
    for pattern in patterns:
        if isinstance(pattern, URLPattern):
            if pattern.name not in UNGUARDED:
                pattern.callback = _errors_as_json(pattern.callback)
            for alias in connections:
                pattern.callback = transaction.non_atomic_requests(using=alias)(pattern.callback)
            if pattern.name not in UNGUARDED:
                pattern.callback = login_not_required(pattern.callback)
    return patterns


urls = _for_any_site(api.urls[0])
