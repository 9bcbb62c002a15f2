"""A loopback server in a thread of its own, with an event loop of its own."""

import asyncio
import socket
import threading
from typing import Final

from django_chatgpt.testing.http import Connection, Handler

HOST: Final = "127.0.0.1"
_START_TIMEOUT = 10.0


class LoopbackServer:
    """Serves a handler on 127.0.0.1, whatever the caller's thread and loop are doing.

    `port`: 0 takes any that is free; OSError from `start` when a given one is taken.
    """

    def __init__(self, handler: Handler, port: int = 0) -> None:
        self._handler = handler
        self._wanted_port = port
        self._connections: set[Connection] = set()
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self.port = 0

    @property
    def running(self) -> bool:
        return self._thread is not None

    @property
    def open_connections(self) -> int:
        """How many TCP connections are open now, idle ones included."""
        return len(self._connections)

    def start(self) -> None:
        if self._thread is not None:
            raise RuntimeError("the server is already running")
        listener = socket.create_server((HOST, self._wanted_port), backlog=1024)
        self.port = listener.getsockname()[1]
        ready = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(
            target=self._run, args=(self._loop, listener, ready), name=f"fake-openai-{self.port}", daemon=True
        )
        self._thread.start()
        ready.wait(_START_TIMEOUT)

    def stop(self) -> None:
        """Drop all connections and end the thread; harmless when not running."""
        thread, loop = self._thread, self._loop
        if thread is None or loop is None:
            return
        loop.call_soon_threadsafe(loop.stop)
        thread.join(_START_TIMEOUT)
        self._thread = self._loop = None

    def drop_busy(self) -> None:
        """Drop the connections on which a request is being answered; idle ones stay for their clients."""
        loop = self._loop
        if loop is None:
            return
        done = threading.Event()

        def drop() -> None:
            for connection in list(self._connections):
                if connection.busy:
                    connection.abort()
            done.set()

        loop.call_soon_threadsafe(drop)
        done.wait(_START_TIMEOUT)

    def _run(self, loop: asyncio.AbstractEventLoop, listener: socket.socket, ready: threading.Event) -> None:
        asyncio.set_event_loop(loop)
        try:
            server = loop.run_until_complete(
                loop.create_server(lambda: Connection(self._handler, self._connections), sock=listener)
            )
            loop.call_soon(ready.set)
            loop.run_forever()
            server.close()
            for connection in list(self._connections):
                connection.abort()
            loop.run_until_complete(_settled())
        finally:
            asyncio.set_event_loop(None)
            loop.close()


async def _settled() -> None:
    """Wait until every task has ended and every closed transport has said so."""
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
    await asyncio.sleep(0)
