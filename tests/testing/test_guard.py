"""Requests to the real world are refused, in every client that the SDK may use."""

import importlib.machinery
import socket
import sys
import threading
from pathlib import Path
from types import ModuleType
from typing import Any

import httpx2
import openai
import pytest

from django_chatgpt.testing import FakeOpenAI, StrayRequest, refuse_stray_requests
from django_chatgpt.testing.guard import is_loopback
from tests.testing.conftest import HELLO, MODEL, Sdk

ELSEWHERE = "http://api.openai.example/v1"

# Without the plugin's own guard around these tests.
pytestmark = pytest.mark.allow_openai


@pytest.mark.parametrize(
    ("host", "here"),
    [
        ("localhost", True),
        ("LocalHost.", True),
        ("app.localhost", True),
        ("127.0.0.1", True),
        ("127.9.8.7", True),
        ("::1", True),
        ("[::1]", True),
        ("0.0.0.0", True),
        ("api.openai.com", False),
        ("10.0.0.1", False),
        ("localhost.example", False),
        ("", False),
    ],
)
def test_what_this_machine_is(host: str, here: bool) -> None:
    assert is_loopback(host) is here


async def test_the_sdk_is_refused_and_cannot_hide_it(fake: FakeOpenAI, sdk: Sdk) -> None:
    client = sdk.client.with_options(base_url=ELSEWHERE, max_retries=5)
    with refuse_stray_requests():
        with pytest.raises(StrayRequest, match=r"'api\.openai\.example' was refused"):
            await sdk.call(client.chat.completions.create, model=MODEL, messages=HELLO)
        await sdk.chat()
    assert not issubclass(StrayRequest, Exception)


async def test_the_sdk_over_aiohttp(fake: FakeOpenAI) -> None:
    pytest.importorskip("aiohttp")
    async with openai.AsyncOpenAI(
        api_key="k", base_url=fake.base_url, http_client=openai.DefaultAioHttpClient(), max_retries=0
    ) as client:
        with refuse_stray_requests():
            with pytest.raises(StrayRequest):
                await client.with_options(base_url=ELSEWHERE).models.list()
            assert (await client.models.list()).data


async def test_aiohttp_itself(fake: FakeOpenAI) -> None:
    aiohttp = pytest.importorskip("aiohttp")
    headers = {"Authorization": "Bearer k"}
    async with aiohttp.ClientSession(headers=headers) as session:
        with refuse_stray_requests():
            with pytest.raises(StrayRequest) as caught:
                await session.get(ELSEWHERE)
            async with session.get(f"{fake.base_url}/models") as answer:
                assert answer.status == 200
    assert caught.value.host == "api.openai.example"


def test_hosts_that_are_allowed(fake: FakeOpenAI) -> None:
    with refuse_stray_requests(allow=["api.openai.invalid"]):
        with pytest.raises(httpx2.ConnectError):
            httpx2.get("http://api.openai.invalid/v1")
        with pytest.raises(StrayRequest):
            httpx2.get("http://openai.invalid/v1")


def test_other_transports_are_left_alone(tmp_path: Path) -> None:
    mock = httpx2.MockTransport(lambda request: httpx2.Response(200, text=request.url.host))
    path = str(tmp_path / "socket")
    with socket.socket(socket.AF_UNIX) as listener, refuse_stray_requests():
        listener.bind(path)
        listener.listen()
        thread = threading.Thread(target=_answer_once, args=(listener,))
        thread.start()
        with httpx2.Client(transport=mock) as client:
            assert client.get(ELSEWHERE).text == "api.openai.example"
        with httpx2.Client(transport=httpx2.HTTPTransport(uds=path)) as client:
            assert client.get(ELSEWHERE).status_code == 204
        thread.join()


def _answer_once(listener: socket.socket) -> None:
    connection, _ = listener.accept()
    with connection:
        connection.recv(65536)
        connection.sendall(b"HTTP/1.1 204 No Content\r\n\r\n")


def test_a_client_made_before_is_refused_too_and_everything_is_put_back() -> None:
    before = httpx2.HTTPTransport.handle_request
    with httpx2.Client() as client:
        with refuse_stray_requests(), refuse_stray_requests(), pytest.raises(StrayRequest):
            client.get(ELSEWHERE)
        assert httpx2.HTTPTransport.handle_request is before


def test_the_older_httpx_is_refused_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    legacy: Any = ModuleType("httpx")
    legacy.__spec__ = importlib.machinery.ModuleSpec("httpx", None)

    class HTTPTransport:
        _pool = None

        def handle_request(self, request: httpx2.Request) -> str:
            return f"asked {request.url.host}"

    class AsyncHTTPTransport(HTTPTransport):
        handle_async_request = HTTPTransport.handle_request

    legacy.HTTPTransport, legacy.AsyncHTTPTransport = HTTPTransport, AsyncHTTPTransport
    monkeypatch.setitem(sys.modules, "httpx", legacy)
    with refuse_stray_requests():
        assert HTTPTransport().handle_request(httpx2.Request("GET", "http://localhost/")) == "asked localhost"
        for method in (HTTPTransport().handle_request, AsyncHTTPTransport().handle_async_request):
            with pytest.raises(StrayRequest):
                method(httpx2.Request("GET", ELSEWHERE))
    assert HTTPTransport().handle_request(httpx2.Request("GET", ELSEWHERE)) == "asked api.openai.example"
