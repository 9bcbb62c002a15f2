"""POST chat/: ask, and get the reply whole or as it comes."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from ninja import Router
from pydantic_core import to_json

from django_chatgpt.api.auth import DeferredSessionLogin, authorise
from django_chatgpt.api.body import parse_body
from django_chatgpt.api.openapi import CHAT
from django_chatgpt.api.rendering import Rendering, wants_html
from django_chatgpt.api.running import alaunch, is_async, run_inline
from django_chatgpt.api.schemas import ChatIn, ChatOut, ReplyMessage
from django_chatgpt.api.sse import stream_prepared, stream_task, stream_watch, stream_watch_inline
from django_chatgpt.database import hop
from django_chatgpt.exceptions import InvalidRequestError
from django_chatgpt.models import AITurn
from django_chatgpt.services import chat as service
from django_chatgpt.services import follow
from django_chatgpt.services.ai import afold
from django_chatgpt.services.bodies import BAD_KEY, asked, is_key
from django_chatgpt.services.results import Snapshot, fold
from django_chatgpt.services.types import AIResponse

router = Router(tags=["chat"])


@router.post("chat/", auth=DeferredSessionLogin(), url_name="chat", openapi_extra=CHAT)
async def chat(request: HttpRequest) -> HttpResponseBase:
    """Ask a question, in a new conversation or in one of your own.

    With `stream` the answer is `text/event-stream`. A header `Idempotency-Key` makes a repeat of the same
    request return the first turn instead of asking again. With `render=html` events carry the answer as safe
    HTML, too.
    """
    begin = _Begin(request)
    if is_async(request):
        return await _under_asgi(begin)
    return await run_inline(partial(_under_wsgi, begin))


async def _under_asgi(begin: _Begin) -> HttpResponseBase:
    turn = await alaunch(begin)
    if not isinstance(turn, AITurn):
        return stream_task(turn, begin.rendering) if begin.stream else render_reply(await afold(turn))
    if begin.stream:
        return stream_watch(follow.Watch(turn.pk, turn.user_id), begin.rendering)
    return render_reply(_result(await follow.await_end(turn.pk, turn.user_id)))


def _under_wsgi(begin: _Begin) -> HttpResponseBase:
    turn = hop(begin)
    if not isinstance(turn, AITurn):
        if begin.stream:
            return stream_prepared(turn, begin.rendering)
        return render_reply(fold(service.run(turn, release=True)))
    if begin.stream:
        return stream_watch_inline(follow.Watch(turn.pk, turn.user_id), begin.rendering)
    return render_reply(_result(follow.wait(turn.pk, turn.user_id, release=True)))


@dataclass(slots=True)
class _Begin:
    """Everything that may refuse the question, in one hop to the database; the others are known after it."""

    request: HttpRequest
    stream: bool = False
    rendering: Rendering | None = None

    def __call__(self) -> service.Prepared | AITurn:
        user = authorise(self.request)
        data = parse_body(ChatIn, self.request)
        self.stream = data.stream
        self.rendering = Rendering() if wants_html(self.request) else None
        ask = asked(user, data, _idempotency_key(self.request))
        return service.begin(ask)


def _idempotency_key(request: HttpRequest) -> str | None:
    key = request.headers.get("Idempotency-Key")
    if key is None:
        return None
    if not is_key(key):
        raise InvalidRequestError(fields={"Idempotency-Key": BAD_KEY})
    return key


def _result(seen: Snapshot) -> AIResponse:
    if seen.error is not None:
        raise seen.error
    assert seen.response is not None
    return seen.response


def reply_of(response: AIResponse) -> ChatOut:
    """A whole reply as it is shown."""
    return ChatOut(
        id=response.message_id,
        conversation_id=response.conversation_id,
        turn_id=response.turn_id,
        message=ReplyMessage(
            content=response.content,
            tool_calls=[dict(call.as_tool_call()) for call in response.function_calls],
        ),
        model=response.model,
        finish_reason=response.finish_reason,
        usage=response.usage,
        cost=response.cost,
    )


def render_reply(response: AIResponse) -> HttpResponse:
    return HttpResponse(to_json(reply_of(response)), content_type="application/json")
