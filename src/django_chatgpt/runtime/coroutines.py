"""Drive steps in the calling coroutine, and perform effects with the async client."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator
from concurrent.futures import Future
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Any, TypeVar

from django_chatgpt.core.effects import (
    EFFECTS,
    CallFunctions,
    Checkpoint,
    CloseStream,
    Complete,
    Db,
    Effect,
    Embed,
    Moderate,
    OpenChunks,
    OpenStream,
    ReadChunk,
    ReadStream,
    Stopped,
    Wait,
)
from django_chatgpt.core.request import EmbeddingRequest, Embeddings
from django_chatgpt.core.run import CHECKPOINT_SECONDS
from django_chatgpt.database import ahop
from django_chatgpt.exceptions import AIServiceError
from django_chatgpt.functions.calls import FunctionBox
from django_chatgpt.runtime.checkpoints import Checkpointed, checkpoints

if TYPE_CHECKING:
    from django_chatgpt import providers

T = TypeVar("T")


class TaskWorld:
    """Performs effects with the async client, and in threads what may not block the event loop.

    What must not be left half done, a write or a close, is waited for through a cancellation; `Stopped`
    then meets the steps at their next effect that can be left.
    """

    def __init__(self, functions: FunctionBox | None = None, turn: Checkpointed | None = None) -> None:
        self.stop: Stopped | None = None
        self.cancelled = False
        # The SDK takes a second to import, which a command that asks nobody anything need not wait for.
        self._providers = import_module("django_chatgpt.providers")
        self._functions = functions
        self._turn = turn
        self._stream: providers.AsyncStream | None = None
        self._chunks: providers.AsyncCompletionChunks | None = None

    async def perform(self, effect: Effect) -> Any:
        """Perform one effect. Raises Stopped where the task was cancelled meanwhile."""
        if isinstance(effect, Db):
            return await self._hop_to_the_end(effect.function)
        if isinstance(effect, CloseStream):
            await self._to_the_end(self._close())
            return None
        if self.stop is None:
            try:
                # Done for each piece of a stream, and so without another coroutine.
                if isinstance(effect, ReadStream):
                    assert self._stream is not None
                    return await self._stream.read(CHECKPOINT_SECONDS)
                return await self._perform(effect)
            except asyncio.CancelledError:
                self._note_cancel()
        stop, self.stop = self.stop, None
        assert stop is not None
        raise stop

    async def _perform(self, effect: Effect) -> Any:
        match effect:
            case ReadChunk():
                assert self._chunks is not None
                return await anext(self._chunks, None)
            case Checkpoint(text, keep):
                if self._turn is None:
                    await ahop(keep)
                else:
                    checkpoints().leave(self._turn, text)
            case OpenStream(request, renewal):
                self._stream = await _open(self._providers.aopen_stream(request), renewal)
            case Complete(endpoint, body, timeout):
                return await self._providers.acreate_completion(endpoint, body, timeout=timeout)
            case OpenChunks(endpoint, body, timeout, limit):
                self._chunks = await self._providers.astream_completion(
                    endpoint, body, timeout=timeout, limit=limit
                )
            case Embed(requests):
                return await asyncio.gather(*map(self._embedded, requests))
            case Moderate(request, renewal):
                return await self._moderate(self._providers.amoderate(request), renewal)
            case CallFunctions(calls):
                assert self._functions is not None
                return await self._functions.acall(calls)
            case Wait(seconds):
                await asyncio.sleep(seconds)
        return None

    async def _embedded(self, request: EmbeddingRequest) -> Embeddings | AIServiceError:
        try:
            vectors: Embeddings = await self._providers.acreate_embeddings(request)
        except AIServiceError as error:
            return error
        return vectors

    async def _moderate(
        self, judging: Coroutine[Any, Any, T], renewal: Callable[[], Callable[[], object] | None]
    ) -> T:
        """Wait for a verdict and do meanwhile what is due."""
        task = asyncio.ensure_future(judging)
        try:
            while not (await asyncio.wait({task}, timeout=CHECKPOINT_SECONDS))[0]:
                due = renewal()
                if due is not None:
                    await self._hop(due)
        finally:
            task.cancel()
        return task.result()

    async def _hop(self, function: Callable[[], Any]) -> Any:
        if self._turn is not None:
            await checkpoints().forget(self._turn.turn_id)
        return await ahop(function)

    async def _close(self) -> None:
        stream, self._stream = self._stream, None
        if stream is not None:
            await stream.aclose()
        chunks, self._chunks = self._chunks, None
        if chunks is not None:
            await chunks.aclose()

    async def _hop_to_the_end(self, function: Callable[[], Any]) -> Any:
        """Do something in a thread, and once, even if the loop is wound up meanwhile."""
        while True:
            done: Future[Any] = Future()
            if await self._to_the_end(self._hop(partial(_fulfil, done, function))):
                return done.result()
            if not done.cancel():  # begun: the thread does its work, whoever waits
                return await self._outlast(asyncio.wrap_future(done))

    async def _to_the_end(self, work: Coroutine[Any, Any, object]) -> bool:
        """Wait until work is done. False if it was broken off: a loop that is wound up cancels every task."""
        task = asyncio.ensure_future(work)
        try:
            await self._outlast(task)
        except asyncio.CancelledError:
            self._note_cancel()
            return False
        return True

    async def _outlast(self, future: asyncio.Future[T]) -> T:
        while not future.done():
            try:
                await asyncio.wait({future})
            except asyncio.CancelledError:
                self._note_cancel()
        return future.result()

    def _note_cancel(self) -> None:
        """Remember that the task is to end. A stop that was asked for by name keeps its name."""
        self.cancelled = True
        if self.stop is None:
            self.stop = Stopped("interrupted")
        task = asyncio.current_task()
        if task is not None:
            task.uncancel()


def _fulfil(done: Future[Any], function: Callable[[], Any]) -> None:
    """Do something unless that was cancelled before it began, and keep what comes of it."""
    if done.set_running_or_notify_cancel():
        try:
            done.set_result(function())
        except BaseException as error:
            done.set_exception(error)
            raise


async def _open(
    opening: Coroutine[Any, Any, providers.AsyncStream], renewal: Callable[[], Callable[[], object] | None]
) -> providers.AsyncStream:
    """Open a stream and do meanwhile what is due. Leaves nothing open if it is left."""
    task = asyncio.ensure_future(opening)
    try:
        while not (await asyncio.wait({task}, timeout=CHECKPOINT_SECONDS))[0]:
            due = renewal()
            if due is not None:
                await ahop(due)
    except BaseException:
        if not task.cancel() and task.exception() is None:
            await task.result().aclose()
        raise
    return task.result()


async def adrive(steps: Generator[Any, Any, Any]) -> AsyncGenerator[Any]:
    """Perform the effects that `steps` yields and pass on everything else; closing early stops the steps."""
    world = TaskWorld()
    answer: Any = None
    error: BaseException | None = None
    watched = True
    while True:
        try:
            step = steps.send(answer) if error is None else steps.throw(error)
        except (StopIteration, Stopped):
            break
        answer = error = None
        try:
            if isinstance(step, EFFECTS):
                answer = await world.perform(step)
            elif watched:
                yield step
        except GeneratorExit:
            watched, error = False, Stopped("cancelled")
        except asyncio.CancelledError:
            watched, error, world.cancelled = False, Stopped("cancelled"), True
        except Exception as caught:
            error = caught
    if world.cancelled:
        raise asyncio.CancelledError


async def aperform(steps: Generator[Effect, Any, T]) -> T:
    """Perform the effects that `steps` yields and give what they return."""
    world = TaskWorld()
    answer: Any = None
    error: Exception | None = None
    while True:
        try:
            effect = steps.send(answer) if error is None else steps.throw(error)
        except StopIteration as end:
            if world.cancelled:
                raise asyncio.CancelledError from None
            result: T = end.value
            return result
        except Stopped:
            raise asyncio.CancelledError from None
        answer = error = None
        try:
            answer = await world.perform(effect)
        except Exception as caught:
            error = caught
