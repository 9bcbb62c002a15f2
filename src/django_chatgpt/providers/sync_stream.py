"""An open answer for synchronous code: a thread reads, the caller waits as long as it likes."""

from __future__ import annotations

import contextlib
import contextvars
import queue
import threading
from collections.abc import Callable
from typing import Final, cast

import httpx2

from django_chatgpt.core.request import Delta
from django_chatgpt.exceptions import AIServiceError
from django_chatgpt.providers.answer import Answer
from django_chatgpt.providers.connections import on_connection, shut_down
from django_chatgpt.providers.errors import cut_short, translate

BUFFER_BYTES: Final = 256 * 1024
DRAIN_SECONDS: Final = 0.1
JOIN_SECONDS: Final = 2.0


class Ended:
    """Nothing more will come; `failure` is why, None if the server ended it."""

    __slots__ = ("failure",)

    def __init__(self, failure: BaseException | None) -> None:
        self.failure = failure


class Reader:
    """The thread that opens one answer and reads it into a bounded buffer.

    Only this thread touches the HTTP library, which allows no other to; whoever wants it to stop shuts the
    socket down under it.
    """

    def __init__(self, post: Callable[[], httpx2.Response | AIServiceError], model: str) -> None:
        self.items: queue.SimpleQueue[bytes | Ended] = queue.SimpleQueue()
        self.headers: queue.SimpleQueue[httpx2.Headers | Ended] = queue.SimpleQueue()
        self._post = post
        self._model = model
        self._written = 0
        self._read = 0
        self._room = threading.Event()
        self._stopped = False
        self._connection: object = None
        # Held while the connection is cut or given back: back in the pool it is somebody else's.
        self._lock = threading.Lock()
        context = contextvars.copy_context()
        self.thread = threading.Thread(
            target=context.run, args=(self._run,), name="django-chatgpt-stream", daemon=True
        )
        self.thread.start()

    def accepted(self, tick: float | None, on_tick: Callable[[], object] | None) -> httpx2.Headers:
        """Wait for the headers of the answer; raises what came instead, or what `on_tick` raises."""
        headers: httpx2.Headers | Ended | None = None
        while headers is None:
            try:
                headers = self.headers.get(timeout=tick if on_tick else None)
            except queue.Empty:
                assert on_tick is not None
                on_tick()
        if isinstance(headers, Ended):
            raise headers.failure or cut_short()
        return headers

    def took(self, size: int) -> None:
        """The caller has taken so many bytes out of the buffer."""
        self._read += size
        self._room.set()

    def stop(self) -> None:
        """Close the connection now, even while the thread waits for bytes of it."""
        with self._lock:
            self._stopped = True
            if self._connection is not None:
                shut_down(self._connection)
        self._room.set()

    def _run(self) -> None:
        ended = Ended(self._open_and_read())
        self.headers.put(ended)
        self.items.put(ended)

    def _open_and_read(self) -> BaseException | None:
        on_connection.set(self._note_connection)
        response: httpx2.Response | None = None
        request_id = ""
        try:
            outcome = self._post()
            if isinstance(outcome, AIServiceError):
                return outcome
            response = outcome
            request_id = response.headers.get("x-request-id") or ""
            self._note_connection(response.extensions.get("network_stream"))
            self.headers.put(response.headers)
            self._pump(response)
        except Exception as error:
            return translate(error, model=self._model, request_id=request_id, reading=response is not None)
        except BaseException as error:
            # Not ours to judge, but whoever waits must hear of it: nobody else sees this thread end.
            return error
        finally:
            with self._lock:
                self._connection = None
            if response is not None:
                with contextlib.suppress(Exception):
                    response.close()
        return None

    def _pump(self, response: httpx2.Response) -> None:
        if self._stopped:
            return
        # The stream beneath doesn't give the connection back at its end; `close` does.
        encoded = "content-encoding" in response.headers
        for data in response.iter_bytes() if encoded else cast(httpx2.SyncByteStream, response.stream):
            self._written += len(data)
            self.items.put(data)
            while self._crowded():
                self._room.wait()
                self._room.clear()
            if self._stopped:
                return

    def _crowded(self) -> bool:
        return self._written - self._read > BUFFER_BYTES and not self._stopped

    def _note_connection(self, connection: object) -> None:
        """Remember the connection as soon as there is one, to be able to cut it before it answers."""
        with self._lock:
            self._connection = connection
            if self._stopped and connection is not None:
                shut_down(connection)


class SyncStream:
    """An open answer. One thread reads; any thread may close."""

    def __init__(self, reader: Reader, answer: Answer, request_id: str) -> None:
        self.request_id = request_id
        self._reader = reader
        self._answer = answer
        self._closed = False
        self._ended = False
        self._failure: AIServiceError | None = None

    def read(self, timeout: float) -> Delta | None:
        """Everything that has arrived, waiting at most `timeout` seconds for something.

        An empty Delta is silence; None is the answer's proper end. Raises what goes wrong, after all that
        had arrived before. Closed from elsewhere, it ends as cut short.
        """
        if self._answer.over:
            return self._answer.take(b"")
        # In one expression, for a traceback would show a variable with what the provider sent.
        return self._answer.take(self._arrived(timeout), ended=self._ended, failure=self._failure)

    def close(self) -> None:
        """Close the connection at once, unless the answer is complete: then it is kept for the next one."""
        if self._closed:
            return
        self._closed = True
        with contextlib.suppress(Exception):
            thread = self._reader.thread
            if self._answer.complete:
                thread.join(DRAIN_SECONDS)
            if thread.is_alive():
                self._reader.stop()
                thread.join(JOIN_SECONDS)

    def __del__(self) -> None:
        if not self._closed:
            self._reader.stop()

    def _arrived(self, timeout: float) -> bytes:
        """Take what is in the buffer; notes the end if that is there too."""
        items = self._reader.items
        parts: list[bytes] = []
        try:
            item = items.get(timeout=max(timeout, 0.0))
            while not isinstance(item, Ended):
                parts.append(item)
                item = items.get_nowait()
            if not (item.failure is None or isinstance(item.failure, AIServiceError)):
                raise item.failure
            self._ended, self._failure = True, item.failure
        except queue.Empty:
            pass
        data = parts[0] if len(parts) == 1 else b"".join(parts)
        self._reader.took(len(data))
        return data
