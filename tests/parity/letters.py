"""The provider's answers a letter at a time, so that it does not matter how many bytes a read brings."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from django_chatgpt import providers
from django_chatgpt.core.request import CallFragment, Delta


def letters(delta: Delta) -> Iterator[Delta]:
    """The same in pieces: of what is shown each letter, and then the rest."""
    for letter in delta.text:
        yield Delta(text=letter)
    for fragment in delta.calls:
        if fragment.id or fragment.name:
            yield Delta(calls=[replace(fragment, arguments="")])
        for letter in fragment.arguments:
            yield Delta(calls=[CallFragment(index=fragment.index, arguments=letter)])
    yield replace(delta, text="", calls=[])


class _Spelt:
    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self._waiting: deque[Delta] = deque()

    def _next(self, delta: Delta | None) -> Delta | None:
        if delta is None:
            return None
        self._waiting.extend(letters(delta))
        return self._waiting.popleft()


class SpeltSync(_Spelt):
    def read(self, timeout: float) -> Delta | None:
        return self._waiting.popleft() if self._waiting else self._next(self._stream.read(timeout))

    def close(self) -> None:
        self._stream.close()


class SpeltAsync(_Spelt):
    async def read(self, timeout: float) -> Delta | None:  # noqa: ASYNC109 - as the one that it reads from
        return self._waiting.popleft() if self._waiting else self._next(await self._stream.read(timeout))

    async def aclose(self) -> None:
        await self._stream.aclose()


def spell(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have every answer arrive so."""
    open_stream, aopen_stream = providers.open_stream, providers.aopen_stream

    async def aopen(*arguments: Any, **options: Any) -> SpeltAsync:
        return SpeltAsync(await aopen_stream(*arguments, **options))

    monkeypatch.setattr(providers, "open_stream", lambda *a, **o: SpeltSync(open_stream(*a, **o)))
    monkeypatch.setattr(providers, "aopen_stream", aopen)
