"""SIGTERM while turns run on an event loop: who hears of it, in which order, and what is held back."""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Iterator
from functools import partial
from uuid import UUID, uuid4

import pytest

from django_chatgpt.runtime import shutdown, stops

pytestmark = pytest.mark.skipif(
    threading.current_thread() is not threading.main_thread(), reason="signals reach the main thread alone"
)


class Process:
    """What happens to it, in order. Its own handler of SIGTERM notes that instead of ending it."""

    def __init__(self) -> None:
        self.noted: list[str] = []

    def end(self, number: int, frame: object) -> None:
        self.noted.append("ended")

    def handle(self, number: int, frame: object) -> None:
        self.noted.append("told")

    def begin_turn(self) -> UUID:
        turn_id = uuid4()
        stops.watch(turn_id, partial(self._stop, turn_id))
        shutdown.attend()
        return turn_id

    def _stop(self, turn_id: UUID, why: str) -> None:
        self.noted.append(why)
        asyncio.get_running_loop().call_soon(self.end_turn, turn_id)

    def end_turn(self, turn_id: UUID) -> None:
        self.noted.append("stored")
        stops.forget(turn_id)

    async def serve_like_uvicorn(self, serving: asyncio.Future[None]) -> None:
        """Handle signals while serving, and raise them again at the end for whoever handled them before."""
        before = signal.signal(signal.SIGTERM, self.handle)
        try:
            await serving
        finally:
            signal.signal(signal.SIGTERM, before)
        for _ in range(self.noted.count("told")):
            signal.raise_signal(signal.SIGTERM)
        self.noted.append("served")


@pytest.fixture
def process(monkeypatch: pytest.MonkeyPatch) -> Iterator[Process]:
    process = Process()
    monkeypatch.setattr(shutdown, "_begun", False)
    before = signal.signal(signal.SIGTERM, process.end)
    yield process
    signal.signal(signal.SIGTERM, before)
    assert signal.SIGTERM not in signal.pthread_sigmask(signal.SIG_BLOCK, [])
    assert not stops.any_runs()


def serving() -> asyncio.Future[None]:
    return asyncio.get_running_loop().create_future()


def test_the_signal_that_is_raised_again_waits_for_the_turns(process: Process) -> None:
    async def main() -> None:
        until = serving()
        server = asyncio.ensure_future(process.serve_like_uvicorn(until))
        await asyncio.sleep(0)
        process.begin_turn()
        signal.raise_signal(signal.SIGTERM)
        await asyncio.sleep(0.1)
        assert process.noted == ["told"]
        assert shutdown.has_begun()
        until.set_result(None)
        await server

    asyncio.run(main())
    assert process.noted == ["told", "served", "interrupted", "stored", "ended"]


def test_a_process_without_turns_ends_where_it_did(process: Process) -> None:
    async def main() -> None:
        until = serving()
        server = asyncio.ensure_future(process.serve_like_uvicorn(until))
        await asyncio.sleep(0)
        process.end_turn(process.begin_turn())
        signal.raise_signal(signal.SIGTERM)
        until.set_result(None)
        await server

    asyncio.run(main())
    assert process.noted == ["stored", "told", "ended", "served"]


def test_turns_that_end_by_themselves_hold_nothing_back(process: Process) -> None:
    """Nor do they keep later ones from it."""

    async def main() -> None:
        until = serving()
        server = asyncio.ensure_future(process.serve_like_uvicorn(until))
        await asyncio.sleep(0)
        first = process.begin_turn()
        signal.raise_signal(signal.SIGTERM)
        await asyncio.sleep(0.1)
        process.end_turn(first)
        await asyncio.sleep(0.2)
        assert signal.SIGTERM not in signal.pthread_sigmask(signal.SIG_BLOCK, [])
        process.begin_turn()
        until.set_result(None)
        await server

    asyncio.run(main())
    assert process.noted == ["told", "stored", "served", "interrupted", "stored", "ended"]


def test_a_turn_that_does_not_end_keeps_nothing_for_long(
    process: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutdown, "END_SECONDS", 0.2)
    turn_id = uuid4()

    async def main() -> None:
        until = serving()
        server = asyncio.ensure_future(process.serve_like_uvicorn(until))
        await asyncio.sleep(0)
        stops.watch(turn_id, process.noted.append)
        shutdown.attend()
        signal.raise_signal(signal.SIGTERM)
        until.set_result(None)
        await server

    asyncio.run(main())
    stops.forget(turn_id)
    assert process.noted == ["told", "served", "interrupted", "ended"]


def test_nothing_is_installed_where_the_signal_is_to_end_the_process(process: Process) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_DFL)

    async def main() -> None:
        process.end_turn(process.begin_turn())

    asyncio.run(main())
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_one_handler_does_for_any_number_of_loops(process: Process) -> None:
    async def main() -> None:
        process.end_turn(process.begin_turn())

    asyncio.run(main())
    installed = signal.getsignal(signal.SIGTERM)
    asyncio.run(main())
    assert isinstance(installed, shutdown.Handler)
    assert signal.getsignal(signal.SIGTERM) is installed
    signal.raise_signal(signal.SIGTERM)
    assert process.noted == ["stored", "stored", "ended"]


def test_a_loop_in_another_thread_leaves_signals_alone(process: Process) -> None:
    async def main() -> None:
        process.end_turn(process.begin_turn())

    thread = threading.Thread(target=lambda: asyncio.run(main()))
    thread.start()
    thread.join()
    assert process.noted == ["stored"]
    assert signal.getsignal(signal.SIGTERM) == process.end
