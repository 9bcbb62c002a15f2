"""Under which kind of server a request runs, and how a turn is driven there."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from asgiref.sync import sync_to_async
from django.http import HttpRequest

from django_chatgpt.database import arelease
from django_chatgpt.models import AITurn
from django_chatgpt.runtime.tasks import TurnTask
from django_chatgpt.services import chat
from django_chatgpt.services.chat import Prepared

T = TypeVar("T")

Begin = Callable[[], Prepared | AITurn]


def is_async(request: HttpRequest) -> bool:
    """Whether the server is an ASGI server; under WSGI a coroutine would hold a stream back to its end."""
    return hasattr(request, "scope")


async def run_inline(function: Callable[[], T]) -> T:
    """Hand over to the thread of the request, which WSGI has one of."""
    return await sync_to_async(function, thread_sensitive=True)()


async def alaunch(begin: Begin) -> TurnTask | AITurn:
    """Begin a turn in one hop and launch it.

    What the thread of the request holds is given back first: were the middleware of sixteen requests to
    hold all connections there are, none of them could begin.
    """
    await arelease()
    return await chat.alaunch(begin)
