from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import pytest
from asgiref.sync import ThreadSensitiveContext, async_to_sync

from django_chatgpt.core.messages import FunctionCall, FunctionResult
from django_chatgpt.functions import FunctionRegistry, function_registry
from django_chatgpt.functions.calls import FunctionBox

Make = Callable[[FunctionBox, Sequence[FunctionCall]], list[FunctionResult]]


@pytest.fixture
def registry(monkeypatch: pytest.MonkeyPatch) -> FunctionRegistry:
    """The registry of the process, empty for the time of a test."""
    monkeypatch.setattr(function_registry, "_functions", {})
    monkeypatch.setattr(function_registry, "_duplicates", [])
    return function_registry


def sync(box: FunctionBox, calls: Sequence[FunctionCall]) -> list[FunctionResult]:
    return box.call(calls)


def on_a_loop(box: FunctionBox, calls: Sequence[FunctionCall]) -> list[FunctionResult]:
    return async_to_sync(box.acall)(calls)


def in_a_request(box: FunctionBox, calls: Sequence[FunctionCall]) -> list[FunctionResult]:
    """As a server does: each request has a thread of its own for what is thread-sensitive."""

    async def request() -> list[FunctionResult]:
        async with ThreadSensitiveContext():
            return await box.acall(calls)

    return asyncio.run(request())


@pytest.fixture(params=[sync, on_a_loop, in_a_request], ids=lambda colour: colour.__name__)
def make(request: pytest.FixtureRequest) -> Make:
    """Makes calls, in each colour."""
    return request.param  # type: ignore[no-any-return]
