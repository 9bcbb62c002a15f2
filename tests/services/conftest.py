"""The service in both colours, as one: a test is run twice and does not see which."""

from __future__ import annotations

from typing import Any

import pytest
from asgiref.sync import async_to_sync
from pytest_django import Settings

from django_chatgpt.core.events import TurnEvent
from django_chatgpt.runtime.tasks import wait_for_turns
from django_chatgpt.services import AIResponse


class Sync:
    """The plain colour."""

    name = "sync"

    def ask(self, service: Any, *args: Any, **options: Any) -> AIResponse:
        reply: AIResponse = service.ask(*args, **options)
        return reply

    def stream(self, service: Any, *args: Any, **options: Any) -> list[TurnEvent]:
        return list(service.stream(*args, **options))

    def leave_after(self, service: Any, kind: type[TurnEvent], *args: Any, **options: Any) -> TurnEvent:
        """Listen until the first event of that kind, and go."""
        events = service.stream(*args, **options)
        for event in events:
            if isinstance(event, kind):
                events.close()
                return event
        raise AssertionError("no such event")

    def complete(self, service: Any, *args: Any, **options: Any) -> Any:
        return service.chat_completion(*args, **options)

    def chunks(self, service: Any, *args: Any, **options: Any) -> list[Any]:
        return list(service.chat_completion(*args, stream=True, **options))

    def call(self, service: Any, verb: str, *args: Any, **options: Any) -> Any:
        """Any verb that gives one value."""
        return getattr(service, verb)(*args, **options)

    def first_chunk(self, service: Any, *args: Any, **options: Any) -> Any:
        chunks = service.chat_completion(*args, stream=True, **options)
        first = next(chunks)
        chunks.close()
        return first


class Async:
    """The other colour, under `async_to_sync` so that it sees the test's transaction."""

    name = "async"

    def ask(self, service: Any, *args: Any, **options: Any) -> AIResponse:
        reply: AIResponse = async_to_sync(service.aask)(*args, **options)
        return reply

    def stream(self, service: Any, *args: Any, **options: Any) -> list[TurnEvent]:
        async def collect() -> list[TurnEvent]:
            return [event async for event in service.astream(*args, **options)]

        return async_to_sync(collect)()

    def leave_after(self, service: Any, kind: type[TurnEvent], *args: Any, **options: Any) -> TurnEvent:
        async def listen() -> TurnEvent:
            events = service.astream(*args, **options)
            async for event in events:
                if isinstance(event, kind):
                    await events.aclose()
                    await wait_for_turns()
                    return event
            raise AssertionError("no such event")

        return async_to_sync(listen)()

    def complete(self, service: Any, *args: Any, **options: Any) -> Any:
        return async_to_sync(service.achat_completion)(*args, **options)

    def chunks(self, service: Any, *args: Any, **options: Any) -> list[Any]:
        async def collect() -> list[Any]:
            chunks = await service.achat_completion(*args, stream=True, **options)
            return [chunk async for chunk in chunks]

        return async_to_sync(collect)()

    def call(self, service: Any, verb: str, *args: Any, **options: Any) -> Any:
        return async_to_sync(getattr(service, f"a{verb}"))(*args, **options)

    def first_chunk(self, service: Any, *args: Any, **options: Any) -> Any:
        async def first() -> Any:
            chunks = await service.achat_completion(*args, stream=True, **options)
            chunk = await anext(chunks)
            await chunks.aclose()
            return chunk

        return async_to_sync(first)()


@pytest.fixture(params=[Sync, Async], ids=["sync", "async"])
def colour(request: pytest.FixtureRequest) -> Sync | Async:
    made: Sync | Async = request.param()
    return made


@pytest.fixture(params=["chat", "responses"])
def dialect(request: pytest.FixtureRequest, settings: Settings) -> str:
    settings.OPENAI_API = request.param
    return str(request.param)
