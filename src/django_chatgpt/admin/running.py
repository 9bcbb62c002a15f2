"""Turns that somebody in the admin sets going, under whichever kind of server that is."""

from __future__ import annotations

from contextvars import copy_context

from asgiref.sync import async_to_sync
from django.http import HttpRequest

from django_chatgpt.services import chat
from django_chatgpt.services.chat import Prepared


def is_async(request: HttpRequest) -> bool:
    """Whether the server is an ASGI server; its views run in threads, beside an event loop."""
    return hasattr(request, "scope")


def set_going(prepared: Prepared, request: HttpRequest) -> bool:
    """Run a turn; True if it is over by now, or rests, False if it runs on by itself.

    Under ASGI it gets a task of its own on the server's event loop, as any other turn, and whoever has set it
    going does not wait. Under WSGI there is nobody but the thread of the request to run it.
    """
    if not is_async(request):
        for _ in chat.run(prepared, release=True):
            pass
        return True
    # The task outlives the bridge below, and so must not be told to use the thread that waits there.
    context = copy_context()

    async def launch() -> None:
        context.run(chat.launch, prepared)

    async_to_sync(launch)()
    return False
