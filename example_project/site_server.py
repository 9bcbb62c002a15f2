"""The example site under uvicorn, in a thread, so that it lives as long as the program that started it."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn


class SiteError(Exception):
    """The site could not be started; the message says why."""


def bound_socket(port: int | None, preferred: int = 8000) -> socket.socket:
    """A socket on loopback: on `port`, or when that is None on `preferred` if free, else on any free port."""
    reason = None
    for candidate in (port,) if port is not None else (preferred, 0):
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(("127.0.0.1", candidate))
        except OSError as error:
            listener.close()
            reason = error.strerror
        else:
            return listener
    raise SiteError(f"Port {port} can't be used ({reason}); leave --port out to take a free one.")


@contextmanager
def running_site(listener: socket.socket, *, start_timeout: float = 30) -> Iterator[str]:
    """Serve the site on `listener` while the block runs; gives its address, without a slash at the end."""
    config = uvicorn.Config(
        "example.asgi:application",
        log_level="warning",
        access_log=False,
        lifespan="off",
        timeout_graceful_shutdown=1,
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, name="site", daemon=True)
    thread.start()
    try:
        deadline = time.monotonic() + start_timeout
        while not server.started:
            if not thread.is_alive():
                raise SiteError("The site ended while it was starting; the lines above say why.")
            if time.monotonic() > deadline:
                raise SiteError(f"The site did not start within {start_timeout:.0f} s.")
            time.sleep(0.02)
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(timeout=3)
        listener.close()
