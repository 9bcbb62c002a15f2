"""What both sockets do: let somebody in, take frames, answer each without keeping the next one waiting."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from contextlib import suppress
from functools import partial
from typing import Any, ClassVar

from asgiref.sync import ThreadSensitiveContext
from channels.consumer import get_handler_name
from channels.exceptions import StopConsumer
from channels.generic.websocket import AsyncWebsocketConsumer
from channels.layers import get_channel_layer
from channels.utils import await_many_dispatch
from django.conf import settings
from django.db import InterfaceError, OperationalError

from django_chatgpt.consumers import incoming
from django_chatgpt.consumers.frames import Frame, error_frame, render
from django_chatgpt.consumers.identity import find_user
from django_chatgpt.consumers.incoming import Incoming
from django_chatgpt.consumers.origin import is_ours
from django_chatgpt.consumers.outbox import Close, Outbox
from django_chatgpt.database import ahop
from django_chatgpt.exceptions import (
    AIServiceError,
    InvalidRequestError,
    PermissionDeniedError,
    QuotaExceededError,
    RateLimitedError,
    without_text,
)
from django_chatgpt.services import notifications
from django_chatgpt.services.access import NotAuthenticatedError
from django_chatgpt.services.bodies import NO_OBJECT, parse_json, validated
from django_chatgpt.services.shown import seconds_to_wait

logger = logging.getLogger("django_chatgpt.consumers")

ANONYMOUS = 4001
NOT_ALLOWED = 4003
OVER_QUOTA = 4029
BROKEN = 1011

#: Frames of one socket that are being answered; whoever sends more at once is told to wait.
MOST_JOBS = 16
#: Characters of a frame that are read at once; more are read in a thread.
SMALL = 65_536
#: Seconds for which somebody is told things without a look whether they are still signed in, and still may.
TRUSTED_SECONDS = 60.0
#: Seconds after which a group is joined again: layers forget, and their servers are started anew.
JOIN_AGAIN_SECONDS = 3600.0
#: Seconds until a layer that failed is asked again.
LAYER_AGAIN_SECONDS = 1.0
#: Seconds that leaving the groups may take.
LEAVE_SECONDS = 2.0

Handler = Callable[[Any], Awaitable[None]]


class Socket(AsyncWebsocketConsumer):  # type: ignore[misc]
    """A socket of somebody signed in.

    `frames`: what may come in, by type; the method `on_<type>` answers it, in a task of its own. What that
    raises becomes an `error` frame, and the socket lives. The database is used in hops, as everywhere; this
    has a thread context of its own, and holds no connection.
    """

    frames: ClassVar[Mapping[str, type[Incoming]]] = {}

    # subclasses say

    def admit(self, user: Any) -> None:
        """Refuse somebody before anything is said. Uses the database."""
        raise NotImplementedError

    def check(self, user: Any) -> None:
        """Refuse somebody who may not, or may not any more, listen or ask. Uses the database."""
        raise NotImplementedError

    def groups_of(self, user: Any) -> list[str]:
        """The groups of the channel layer whose messages this socket gets."""
        raise NotImplementedError

    def fit(self, frame: Frame) -> Frame:
        """What of a message of the channel layer whoever was looked up last may be told."""
        return frame

    # running

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Like AsyncConsumer's, but a channel layer that fails is not the end."""
        async with ThreadSensitiveContext():
            self.scope, self.base_send = scope, send
            self._outbox: Outbox | None = None
            self._jobs: set[asyncio.Task[None]] = set()
            self._joined: list[str] = []
            self._closing = False
            self._seen_at = float("-inf")
            sources = [receive]
            self.channel_layer = get_channel_layer(self.channel_layer_alias)
            if self.channel_layer is not None:
                self.channel_name = await self.channel_layer.new_channel()
                sources.append(self._mail)
            notifications.listening(asyncio.get_running_loop())
            try:
                with suppress(StopConsumer):
                    await await_many_dispatch(sources, self.dispatch)
            finally:
                await self._let_go()

    async def dispatch(self, message: dict[str, Any]) -> None:
        """Channels would close connections here that this never opens, in a thread for each socket."""
        handler = getattr(self, get_handler_name(message), None)
        if handler is None:
            logger.warning("A socket got a message of a type that it does not know.")
            return
        await handler(message)

    async def _mail(self) -> Any:
        """The next message from the channel layer."""
        while True:
            try:
                async with asyncio.timeout(JOIN_AGAIN_SECONDS):
                    return await self.channel_layer.receive(self.channel_name)
            except TimeoutError:
                pass
            except Exception as error:
                logger.warning("The channel layer can't be read: %s", type(error).__qualname__)
                await asyncio.sleep(LAYER_AGAIN_SECONDS)
            await self._join(self._joined)

    async def _join(self, groups: list[str]) -> None:
        for group in groups:
            try:
                await self.channel_layer.group_add(group, self.channel_name)
            except Exception as error:
                logger.warning("A group can't be joined: %s", type(error).__qualname__)

    async def _let_go(self) -> None:
        """Whatever the end was: nothing of this socket goes on."""
        self._closing = True
        jobs = list(self._jobs)
        for job in jobs:
            job.cancel()
        if self._outbox is not None:
            await self._outbox.stop()
        if jobs:
            await asyncio.wait(jobs)
        with suppress(Exception):
            async with asyncio.timeout(LEAVE_SECONDS):
                for group in self._joined:
                    await self.channel_layer.group_discard(group, self.channel_name)

    # coming and going

    async def connect(self) -> None:
        """Let somebody in, or tell them by a close code why not.

        A browser is told no code before the socket is accepted, so it is accepted first; except where a
        foreign page asks, which is told nothing.
        """
        if not is_ours(self.scope):
            logger.warning("A socket was refused that a page of another site wanted to open.")
            await self.close(NOT_ALLOWED)
            return
        try:
            user = await ahop(self._admitted)
        except AIServiceError as error:
            if not error.public:
                logger.error("%s", error.message)
            await self.accept()
            self._closing = True
            await self.close(*_why(error))
            return
        await self.accept()
        self._outbox = Outbox(self._send, self._shut)
        await self.tell({"type": "connection_established"})
        if self.channel_layer is not None:
            self._joined = self.groups_of(user)
            await self._join(self._joined)

    def _admitted(self) -> Any:
        user = find_user(self.scope)
        self.admit(user)
        self._seen_at = time.monotonic()
        return user

    def user(self) -> Any:
        """Who it is now. Raises NotAuthenticatedError, and what `check` does. Uses the database."""
        user = find_user(self.scope)
        self.check(user)
        self._seen_at = time.monotonic()
        return user

    async def look_again(self) -> None:
        """Look who it is, if that was long ago. Raises what `user` does."""
        if time.monotonic() - self._seen_at < TRUSTED_SECONDS:
            return
        # One look is enough for all that is told on this socket meanwhile.
        self._seen_at = time.monotonic()
        try:
            await ahop(self.user)
        except AIServiceError:
            self._seen_at = float("-inf")
            raise
        except (OperationalError, InterfaceError):
            logger.warning("Who a socket belongs to can't be looked up: the database is away.")

    async def websocket_disconnect(self, message: dict[str, Any]) -> None:
        self._closing = True
        await self.disconnect(message.get("code"))
        raise StopConsumer

    # taking

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        """Take a frame. Returns at once: whatever takes time is done in a task."""
        most = settings.DATA_UPLOAD_MAX_MEMORY_SIZE
        if self._closing:
            return
        if text_data is None:
            self.offer_error(InvalidRequestError(fields={"frame": "must be text; this one is binary."}))
        elif most is not None and len(text_data) > most:
            problem = {"frame": f"has {len(text_data)} characters; at most {most} are read."}
            self.offer_error(InvalidRequestError(fields=problem, code="too_large"))
        elif len(text_data) > SMALL:
            self.begin(self._take_large(text_data))
        else:
            self._take(partial(parse_json, text_data, "frame"))

    async def _take_large(self, text: str) -> None:
        data = await ahop(partial(_outcome, text))
        self._take(lambda: _raised(data))

    def _take(self, parse: Callable[[], Any]) -> None:
        ref = None
        try:
            data = parse()
            ref = incoming.ref_of(data)
            frame = self._frame_of(data)
        except AIServiceError as error:
            self.offer_error(error, ref)
            return
        if frame.type == "ping":
            self.offer({"type": "pong"} if ref is None else {"type": "pong", "ref": ref})
        else:
            self.begin(getattr(self, f"on_{frame.type}")(frame), ref)

    def _frame_of(self, data: Any) -> Incoming:
        if not isinstance(data, dict):
            raise InvalidRequestError(fields={"frame": NO_OBJECT})
        kind = data.get("type")
        model = self.frames.get(kind) if isinstance(kind, str) else None
        if model is None:
            raise InvalidRequestError(fields={"type": f"must be one of {', '.join(self.frames)}."})
        return validated(model, data, "frame")

    def begin(self, work: Coroutine[Any, Any, None], ref: str | None = None) -> None:
        """Do something in a task, unless there is too much to do already."""
        if len(self._jobs) >= MOST_JOBS:
            work.close()
            text = f"More than {MOST_JOBS} things at once on one socket; wait for an answer."
            self.offer_error(RateLimitedError(text, retry_after=1), ref)
            return
        job = asyncio.get_running_loop().create_task(self._do(work, ref))
        self._jobs.add(job)
        job.add_done_callback(self._jobs.discard)

    async def _do(self, work: Coroutine[Any, Any, None], ref: str | None) -> None:
        try:
            await work
        except NotAuthenticatedError as error:
            await self.tell_error(error, ref)
            await self.shut(error)
        except AIServiceError as error:
            await self.tell_error(error, ref)
        except Exception as error:
            # The text of an unforeseen exception may quote a message or a key.
            said = without_text(error)
            logger.error("%s while answering a frame", type(error).__qualname__, exc_info=said)
            await self.tell_error(AIServiceError(), ref)

    # telling

    async def tell(self, frame: Frame) -> None:
        """Send a frame, as soon as there is room for it."""
        if self._outbox is not None:
            await self._outbox.put(render(frame))

    def offer(self, frame: Frame) -> None:
        """Send a frame if there is room for it."""
        if self._outbox is not None:
            self._outbox.offer(render(frame))

    async def tell_error(self, error: AIServiceError, ref: str | None = None) -> None:
        if not error.public:
            logger.error("%s", error.message)
        await self.tell(error_frame(error, ref))

    def offer_error(self, error: AIServiceError, ref: str | None = None) -> None:
        self.offer(error_frame(error, ref))

    async def pass_on(self, frame: Frame) -> None:
        """Send what the channel layer brought, to whoever may still have it."""
        if time.monotonic() - self._seen_at < TRUSTED_SECONDS:
            self.offer(self.fit(frame))
        else:
            self.begin(self._pass_on(frame))

    async def _pass_on(self, frame: Frame) -> None:
        try:
            await ahop(self.user)
        except PermissionDeniedError as error:
            await self.shut(error)
        else:
            self.offer(self.fit(frame))

    async def shut(self, error: AIServiceError) -> None:
        """Close the socket when everything before is sent; nothing more is taken."""
        self._closing = True
        if self._outbox is not None:
            await self._outbox.put(Close(*_why(error)))

    async def _send(self, frame: str) -> None:
        await self.send(text_data=frame)

    async def _shut(self, end: Close) -> None:
        await self.close(end.code, end.reason)


def _why(error: AIServiceError) -> tuple[int, str]:
    """The close code of an error, and its reason: the error's code, and when to try again."""
    codes = {NotAuthenticatedError: ANONYMOUS, PermissionDeniedError: NOT_ALLOWED}
    codes |= {RateLimitedError: OVER_QUOTA, QuotaExceededError: OVER_QUOTA}
    code = next((code for kind, code in codes.items() if isinstance(error, kind)), BROKEN)
    wait = seconds_to_wait(error)
    return code, error.code if wait is None else f"{error.code}; retry after {wait} s"


def _outcome(text: str) -> Any:
    try:
        return parse_json(text, "frame")
    except AIServiceError as error:
        return error


def _raised(outcome: Any) -> Any:
    if isinstance(outcome, AIServiceError):
        raise outcome
    return outcome
