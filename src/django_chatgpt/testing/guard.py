"""No test calls the real world by accident: HTTP clients refuse any host but this machine."""

import importlib.util
import ipaddress
from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack, contextmanager
from functools import wraps
from typing import Any


class StrayRequest(BaseException):
    """A test tried to send a request to the real world.

    Not an Exception: a client that retries, or code that treats every error as "provider unavailable",
    would hide it.
    """

    def __init__(self, host: str) -> None:
        super().__init__(
            f"a request to {host!r} was refused: tests talk to the fake OpenAI. Take the fixture fake_openai "
            "(without pytest: FakeOpenAIMixin, or FakeOpenAI().settings()) and say what is answered: "
            'fake_openai.reply("Hello!"). For a call that is meant there is the marker allow_openai.'
        )
        self.host = host


def is_loopback(host: str) -> bool:
    """Whether a host name or address is this machine."""
    name = host.strip("[]").rstrip(".").lower()
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        address = ipaddress.ip_address(name)
    except ValueError:
        return False
    return address.is_loopback or address.is_unspecified


@contextmanager
def refuse_stray_requests(allow: Collection[str] = ()) -> Iterator[None]:
    """Let httpx2, httpx and aiohttp reach this machine only, and the hosts in `allow`; StrayRequest for any
    other.

    Clients over a unix socket and in-process transports are left alone.
    """

    def check(host: str) -> None:
        if not (is_loopback(host) or host in allow):
            raise StrayRequest(host)

    with ExitStack() as patches:
        for name in ("httpx2", "httpx"):
            if importlib.util.find_spec(name) is not None:
                module = importlib.import_module(name)
                patches.enter_context(_patched(module.HTTPTransport, "handle_request", _httpx(check)))
                patches.enter_context(
                    _patched(module.AsyncHTTPTransport, "handle_async_request", _httpx(check))
                )
        if importlib.util.find_spec("aiohttp") is not None:
            aiohttp = importlib.import_module("aiohttp")
            patches.enter_context(_patched(aiohttp.TCPConnector, "connect", _aiohttp(check)))
        yield


Wrapper = Callable[[Callable[..., Any]], Callable[..., Any]]


@contextmanager
def _patched(owner: type, name: str, wrapper: Wrapper) -> Iterator[None]:
    own = name in vars(owner)
    original = getattr(owner, name)
    setattr(owner, name, wrapper(original))
    try:
        yield
    finally:
        if own:
            setattr(owner, name, original)
        else:
            delattr(owner, name)


def _httpx(check: Callable[[str], None]) -> Wrapper:
    def wrapper(original: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(original)
        def handle(transport: Any, request: Any) -> Any:
            if getattr(transport._pool, "_uds", None) is None:
                check(request.url.host)
            return original(transport, request)

        return handle

    return wrapper


def _aiohttp(check: Callable[[str], None]) -> Wrapper:
    def wrapper(original: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(original)
        async def connect(connector: Any, request: Any, *args: Any, **kwargs: Any) -> Any:
            check(request.url.host or "")
            return await original(connector, request, *args, **kwargs)

        return connect

    return wrapper
