"""turns/<id>/: where a turn stands and what came of it; stopping it; deciding about its calls."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from functools import partial
from typing import Any
from uuid import UUID

from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from ninja import Router
from pydantic_core import to_json

from django_chatgpt.api.auth import DeferredSessionLogin, SessionLogin, authorise
from django_chatgpt.api.body import parse_body
from django_chatgpt.api.chat import reply_of
from django_chatgpt.api.openapi import APPROVE
from django_chatgpt.api.rendering import Rendering, wants_html
from django_chatgpt.api.running import alaunch, is_async, run_inline
from django_chatgpt.api.schemas import ApproveIn, ErrorDetail, ErrorOut, SourceOut, TurnOut
from django_chatgpt.api.sse import stream_prepared, stream_task, stream_watch, stream_watch_inline
from django_chatgpt.database import ahop, hop
from django_chatgpt.models import AIMessage, AITurn
from django_chatgpt.services import approvals
from django_chatgpt.services import chat as service
from django_chatgpt.services.cancel import cancel
from django_chatgpt.services.follow import Watch, last_event
from django_chatgpt.services.links import Link, links_of
from django_chatgpt.services.results import Snapshot, snapshot, snapshot_of
from django_chatgpt.services.shown import WaitingCall, error_body
from django_chatgpt.storage.primary import primary

router = Router(tags=["turns"], auth=SessionLogin())


@router.get("turns/{turn_id}/", response={200: TurnOut, 401: ErrorOut, 404: ErrorOut}, url_name="turn")
def get_turn(request: HttpRequest, turn_id: UUID) -> TurnOut:
    """One of your turns: its status, the text so far, and when it is over the reply or the error."""
    return turn_out(snapshot(turn_id, request.user.pk))


@router.post(
    "turns/{turn_id}/cancel/",
    response={200: TurnOut, 401: ErrorOut, 403: ErrorOut, 404: ErrorOut},
    url_name="cancel",
)
def cancel_turn(request: HttpRequest, turn_id: UUID) -> TurnOut:
    """Stop one of your turns, in whichever process it runs; what has arrived is kept.

    One that is over stays as it is.
    """
    return turn_out(cancel(turn_id, request.user.pk))


@router.post(
    "turns/{turn_id}/approve/", auth=DeferredSessionLogin(), url_name="approve", openapi_extra=APPROVE
)
async def approve(request: HttpRequest, turn_id: UUID) -> HttpResponseBase:
    """Decide about a call that waits for a person; after the last decision the turn goes on."""
    decide = _Decide(request, turn_id)
    if is_async(request):
        return await _under_asgi(decide)
    return await run_inline(partial(_under_wsgi, decide))


async def _under_asgi(decide: _Decide) -> HttpResponseBase:
    turn = await alaunch(decide)
    if not isinstance(turn, AITurn):
        if decide.stream:
            return stream_task(turn, decide.rendering)
    elif decide.watch is not None:
        return stream_watch(decide.watch, decide.rendering)
    return await ahop(partial(_render, decide.turn_id))


def _under_wsgi(decide: _Decide) -> HttpResponseBase:
    turn = hop(decide)
    if not isinstance(turn, AITurn):
        if decide.stream:
            return stream_prepared(turn, decide.rendering)
        _exhaust(service.run(turn, release=True))
    elif decide.watch is not None:
        return stream_watch_inline(decide.watch, decide.rendering)
    return hop(partial(_render, decide.turn_id))


def _exhaust(events: Generator[Any, None, Any]) -> None:
    for _ in events:
        pass


@dataclass(slots=True)
class _Decide:
    """The decision in one hop to the database; `stream` is known after it.

    `watch` is there to stream what a worker is going to say.
    """

    request: HttpRequest
    turn_id: UUID
    stream: bool = False
    watch: Watch | None = None
    rendering: Rendering | None = None

    def __call__(self) -> service.Prepared | AITurn:
        user = authorise(self.request)
        data = parse_body(ApproveIn, self.request)
        self.stream = data.stream
        self.rendering = Rendering() if wants_html(self.request) else None
        decision = approvals.Decision(data.approve, data.call_id, data.arguments)
        seen = last_event(self.turn_id) if data.stream else 0
        turn = approvals.decide(user, self.turn_id, decision)
        if data.stream and isinstance(turn, AITurn) and turn.status == AITurn.Status.QUEUED:
            self.watch = Watch(turn.pk, turn.user_id, seen)
        return turn


def _render(turn_id: UUID) -> HttpResponse:
    body = turn_out(snapshot_of(AITurn.objects.get(pk=turn_id)))
    return HttpResponse(to_json(body), content_type="application/json")


def seen_sources(turn: AITurn) -> list[Link]:
    """What the answer of a turn that is over was made from, for its own user."""
    if turn.is_active:
        return []
    lines = AIMessage.objects.using(primary()).filter(turn=turn, role=AIMessage.Role.TOOL)
    return links_of(turn.user, [turn], lines).get(turn.pk, [])


def turn_out(seen: Snapshot) -> TurnOut:
    """A turn as it is shown."""
    turn = seen.turn
    return TurnOut(
        id=turn.pk,
        conversation_id=turn.conversation_id,
        status=turn.status,
        text=seen.text,
        cancel_requested=turn.cancel_requested_at is not None,
        started_at=turn.started_at,
        finished_at=turn.finished_at,
        result=reply_of(seen.response) if seen.response is not None else None,
        error=ErrorDetail(**error_body(seen.error)) if seen.error is not None else None,
        waiting=[WaitingCall.model_validate(call) for call in seen.waiting],
        sources=[SourceOut.from_orm(link) for link in seen_sources(turn)],
    )
