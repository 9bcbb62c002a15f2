"""What is told at once to whoever listens now, in whichever process: through the site's channel layer.

notify(user_id, payload)   to the pages that a user has open
broadcast(group, message)  to a group, for those who know its name

Where Channels is not installed or CHANNEL_LAYERS says nothing, nobody is told. What is told is not kept: it
is for what can be looked up, too.
"""

from __future__ import annotations

import asyncio
import json
import logging
import re
from collections.abc import Callable, Mapping
from functools import partial
from hashlib import sha256
from typing import Any
from weakref import WeakSet

from asgiref.sync import async_to_sync
from django.conf import settings
from django.db import connections, transaction
from pydantic_core import to_json

from django_chatgpt.storage.primary import primary

logger = logging.getLogger("django_chatgpt.notifications")

#: Seconds after which a layer that does not answer is left alone.
PATIENCE = 5.0
#: What one message may weigh, in bytes of JSON; a layer keeps it in memory for everybody who listens.
MOST = 65_536

_NAME = re.compile(r"[\w.-]{1,80}", re.ASCII)
_loops: WeakSet[asyncio.AbstractEventLoop] = WeakSet()
_under_way: set[asyncio.Task[None]] = set()


def group_of(user_id: Any) -> str:
    """The group of a user's sockets: `ai_user_<id>`; of an id that no group can be called by, its sha256."""
    name = str(user_id)
    return f"ai_user_{name if _NAME.fullmatch(name) else sha256(name.encode()).hexdigest()}"


def notify(user_id: Any, payload: Mapping[str, Any]) -> None:
    """Tell a user something, once the present transaction is committed; their sockets get `notification`.

    `payload` goes to the user as it is: nothing in it may be internal. Never raises; what can't be sent is
    logged.
    """
    broadcast(group_of(user_id), {"type": "ai_notification", "payload": dict(payload)})


def broadcast(group: str, message: Mapping[str, Any]) -> None:
    """Send to a group once the present transaction is committed. `type` names the handler. Never raises."""
    if not getattr(settings, "CHANNEL_LAYERS", None):
        return
    try:
        # Values are made plain now: who serialises them, and when, is the layer's affair.
        text = to_json(message)
        if len(text) > MOST:
            logger.error("What group %s was to be told has %d bytes; it is left out.", group, len(text))
            return
        _after_commit(partial(_send, group, json.loads(text)))
    except Exception as error:
        logger.error("Group %s can't be told: %s", group, type(error).__qualname__)


def listening(loop: asyncio.AbstractEventLoop) -> None:
    """Sockets are served on this event loop: messages of this process are sent there."""
    _loops.add(loop)


def _after_commit(send: Callable[[], None]) -> None:
    # Asking for more would open a connection, in threads that have none to close.
    if not _in_coroutine() and connections[primary()].in_atomic_block:
        transaction.on_commit(send, using=primary(), robust=True)
    else:
        send()


def _send(group: str, message: dict[str, Any]) -> None:
    try:
        from channels.layers import InMemoryChannelLayer, get_channel_layer
    except ModuleNotFoundError:
        return
    try:
        layer = get_channel_layer()
        if layer is None:
            return
        loops = [loop for loop in _loops if loop.is_running()]
        if isinstance(layer, InMemoryChannelLayer):
            # It is not made for threads: every loop tells its own.
            for loop in loops:
                loop.call_soon_threadsafe(_begin, layer, group, message)
        elif loops:
            loops[0].call_soon_threadsafe(_begin, layer, group, message)
        elif _in_coroutine():
            _begin(layer, group, message)
        else:
            async_to_sync(_deliver)(layer, group, message)
    except Exception as error:
        logger.error("Group %s can't be told: %s", group, type(error).__qualname__)


def _in_coroutine() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def _begin(layer: Any, group: str, message: dict[str, Any]) -> None:
    task = asyncio.get_running_loop().create_task(_deliver(layer, group, message))
    _under_way.add(task)
    task.add_done_callback(_under_way.discard)


async def _deliver(layer: Any, group: str, message: dict[str, Any]) -> None:
    try:
        async with asyncio.timeout(PATIENCE):
            await layer.group_send(group, message)
    except Exception as error:
        logger.error("Group %s can't be told: %s", group, type(error).__qualname__)
