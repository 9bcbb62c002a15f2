"""turns/<id>/events/: the stream of a turn, from any event on, in any process."""

from __future__ import annotations

from functools import partial
from uuid import UUID

from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from ninja import Router

from django_chatgpt.api.auth import DeferredSessionLogin, authorise
from django_chatgpt.api.openapi import EVENTS
from django_chatgpt.api.rendering import Rendering, wants_html
from django_chatgpt.api.running import is_async, run_inline
from django_chatgpt.api.sse import stream_watch, stream_watch_inline
from django_chatgpt.database import ahop, arelease, hop
from django_chatgpt.exceptions import InvalidRequestError
from django_chatgpt.services.follow import Watch
from django_chatgpt.storage.events import last_number

router = Router(tags=["turns"])

MAX_DIGITS = 18


@router.get(
    "turns/{turn_id}/events/", auth=DeferredSessionLogin(), url_name="turn_events", openapi_extra=EVENTS
)
async def events(request: HttpRequest, turn_id: UUID) -> HttpResponseBase:
    """The events of one of your turns as POST chat/ streams them: those there are, then those that come.

    With a header `Last-Event-ID`, or `after`, only those after that number. With `render=html` they carry the
    answer as safe HTML, too. Of a turn that is over and has
    nothing more to tell the answer is 204, at which a browser's EventSource stops.
    """
    begin = partial(_begin, request, turn_id)
    if is_async(request):
        await arelease()
        found = await ahop(begin)
        return HttpResponse(status=204) if found is None else stream_watch(*found)
    return await run_inline(partial(_under_wsgi, begin))


Found = tuple[Watch, Rendering | None]


def _under_wsgi(begin: partial[Found | None]) -> HttpResponseBase:
    found = hop(begin)
    return HttpResponse(status=204) if found is None else stream_watch_inline(*found)


def _begin(request: HttpRequest, turn_id: UUID) -> Found | None:
    """The listener, if there is or may be anything for it. In one hop to the database."""
    user = authorise(request)
    after = _last_seen(request)
    rendering = Rendering(after) if wants_html(request) else None
    watch = Watch(turn_id, user.pk, after)
    if not watch.begin():
        return None
    if rendering is not None and after and last_number(turn_id):
        # Blocks are made of all that was said.
        watch = Watch(turn_id, user.pk)
    return watch, rendering


def _last_seen(request: HttpRequest) -> int:
    """The number of the last event that it has; a browser that comes back tells it in the header."""
    given = {"Last-Event-ID": request.headers.get("Last-Event-ID"), "after": request.GET.get("after")}
    for name, value in given.items():
        if value is None:
            continue
        if not (value.isascii() and value.isdigit() and len(value) <= MAX_DIGITS):
            raise InvalidRequestError(fields={name: "must be the number of an event: 0 or more."})
        return int(value)
    return 0
