"""ws/ai/chat/: conversations over one socket, several answers at once, each to be taken up again."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import aclosing, contextmanager
from functools import partial
from typing import Any
from uuid import UUID

from django_chatgpt.consumers import incoming
from django_chatgpt.consumers.frames import Frame, answer, frame_of
from django_chatgpt.consumers.identity import find_user
from django_chatgpt.consumers.socket import Socket
from django_chatgpt.core.events import Failed, Finished, TurnEvent
from django_chatgpt.database import ahop
from django_chatgpt.exceptions import ConflictError, RateLimitedError
from django_chatgpt.models import AITurn
from django_chatgpt.runtime.tasks import TurnTask
from django_chatgpt.services import access, budgets, chat, conversations, functions, notifications, rates
from django_chatgpt.services.bodies import asked
from django_chatgpt.services.cancel import cancel
from django_chatgpt.services.follow import Watch, afollow, await_end, last_word
from django_chatgpt.services.results import Snapshot, snapshot
from django_chatgpt.services.shown import ConversationOut, WaitingCall

#: Answers that one socket shows at once.
MOST_TURNS = 5
#: Events of a running turn that may wait for a slow reader; one with more waiting is told from the log.
MOST_EVENTS = 256


class AIStreamingConsumer(Socket):
    """Questions, and answers as they come. Closes 4001 anonymous, 4003 not allowed, 4029 over quota."""

    frames = incoming.CHAT

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._turns = 0
        self._shown: set[UUID] = set()

    def admit(self, user: Any) -> None:
        access.require(user)
        rates.check(user)
        budgets.check(user)

    def check(self, user: Any) -> None:
        access.require(user)

    def groups_of(self, user: Any) -> list[str]:
        return [notifications.group_of(user.pk)]

    # turns

    async def on_chat_message(self, frame: incoming.ChatMessage) -> None:
        with self._room():
            turn = await chat.alaunch(partial(self._begin, frame))
            if isinstance(turn, AITurn):
                await self._show_log(Watch(turn.pk, turn.user_id), frame.ref)
            else:
                await self._show_task(turn, frame.ref)

    def _begin(self, frame: incoming.ChatMessage) -> chat.Prepared | AITurn:
        return chat.begin(asked(self.user(), frame, frame.idempotency_key))

    async def on_resume(self, frame: incoming.Resume) -> None:
        """Show the rest of a turn; to whoever has all of it, its end again."""
        with self._room():
            watch = await ahop(partial(self._watch, frame))
            if not await self._show_log(watch, frame.ref):
                await self._tell_end(frame.turn_id, watch.user_id, frame.ref)

    def _watch(self, frame: incoming.Resume) -> Watch:
        watch = Watch(frame.turn_id, self.user().pk, frame.after)
        watch.begin()
        return watch

    async def on_cancel(self, frame: incoming.Cancel) -> None:
        """Who listens on this socket hears the end there; anybody else is told it here."""
        user_id = await ahop(partial(self._cancel, frame.turn_id))
        if frame.turn_id not in self._shown:
            await await_end(frame.turn_id, user_id)
            await self._tell_end(frame.turn_id, user_id, frame.ref)

    def _cancel(self, turn_id: UUID) -> Any:
        user = find_user(self.scope)
        cancel(turn_id, user.pk)
        return user.pk

    @contextmanager
    def _room(self) -> Iterator[None]:
        if self._turns >= MOST_TURNS:
            text = f"More than {MOST_TURNS} answers at once on one socket; wait for one of them."
            raise RateLimitedError(text, retry_after=1)
        self._turns += 1
        try:
            yield
        finally:
            self._turns -= 1

    @contextmanager
    def _showing(self, turn_id: UUID) -> Iterator[None]:
        if turn_id in self._shown:
            raise ConflictError("This socket is shown this turn already.", turn_id=turn_id)
        self._shown.add(turn_id)
        try:
            yield
        finally:
            self._shown.discard(turn_id)

    async def _show_task(self, task: TurnTask, ref: str | None) -> None:
        """Show a turn that runs here; leaving is what OPENAI_ON_DISCONNECT is about."""
        turn_id, user_id, last = task.spec.turn_id, self.scope["user"].pk, 0
        try:
            with self._showing(turn_id):
                async with aclosing(task.events(most=MOST_EVENTS)) as batches:
                    async for batch in batches:
                        for event in batch:
                            await self._show(event, user_id, ref)
                            last = event.seq
                if task.overrun:
                    await self._follow(Watch(turn_id, user_id, last), ref)
        finally:
            task.leave()

    async def _show_log(self, watch: Watch, ref: str | None) -> bool:
        """Show a turn by its log, wherever it runs; leaving changes nothing. Whether its end was shown."""
        with self._showing(watch.turn_id):
            return await self._follow(watch, ref)

    async def _follow(self, watch: Watch, ref: str | None) -> bool:
        ended = False
        async with aclosing(afollow(watch)) as batches:
            async for batch in batches:
                for event in batch:
                    await self._show(event, watch.user_id, ref)
                    ended = isinstance(event, Finished | Failed) or ended
        return ended

    async def _show(self, event: TurnEvent, user_id: Any, ref: str | None) -> None:
        await self.look_again()
        waiting: list[Frame] = []
        if isinstance(event, Finished) and event.reason == "awaiting_approval" and event.turn_id is not None:
            waiting = _calls(await ahop(partial(snapshot, event.turn_id, user_id)))
        frame = frame_of(event, waiting)
        if frame is None:
            return
        if ref is not None and frame["type"] in ("processing_start", "message_complete", "error"):
            frame["ref"] = ref
        await self.tell(frame)

    async def _tell_end(self, turn_id: UUID, user_id: Any, ref: str | None) -> None:
        end = await ahop(partial(last_word, turn_id, user_id))
        if end is not None:
            await self._show(end, user_id, ref)

    # the rest

    async def on_start_conversation(self, frame: incoming.StartConversation) -> None:
        begun = await ahop(lambda: _shown(conversations.create(self.user().pk, frame)))
        await self.tell(_conversation("conversation_started", frame.ref, begun))

    async def on_end_conversation(self, frame: incoming.EndConversation) -> None:
        put_away = {"is_active": False}
        ended = await ahop(
            lambda: _shown(conversations.change(frame.conversation_id, self.user().pk, put_away))
        )
        await self.tell(_conversation("conversation_ended", frame.ref, ended))

    async def on_get_conversations(self, frame: incoming.GetConversations) -> None:
        page = await ahop(lambda: conversations.page_of(self.user().pk, frame.page, frame.page_size))
        await self.tell(answer("conversations_list", frame.ref, **page.model_dump()))

    async def on_function_call(self, frame: incoming.FunctionCallIn) -> None:
        result = await functions.aexecute(self.user, frame.function_name, frame.arguments)
        fields = {"function_name": frame.function_name, "arguments": frame.arguments}
        await self.tell(
            answer("direct_function_result", frame.ref, **fields, result=result, status="completed")
        )

    async def ai_notification(self, event: dict[str, Any]) -> None:
        """Something for the user, from whichever process."""
        payload = event.get("payload", {name: value for name, value in event.items() if name != "type"})
        await self.pass_on({"type": "notification", "payload": payload})


def _shown(conversation: Any) -> ConversationOut:
    return ConversationOut.model_validate(conversation)


def _conversation(kind: str, ref: str | None, conversation: ConversationOut) -> Frame:
    return answer(kind, ref, conversation_id=conversation.id, conversation=conversation.model_dump())


def _calls(seen: Snapshot) -> list[Frame]:
    return [WaitingCall.model_validate(call).model_dump() for call in seen.waiting]
