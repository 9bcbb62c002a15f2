"""Clients are made once and shared, and never across a loop's end or a fork."""

import asyncio
import gc
import os
import threading
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace

import httpx2
import openai
import pytest

from django_chatgpt import providers
from django_chatgpt.core.request import Endpoint, ModelRequest
from django_chatgpt.exceptions import NotConfiguredError
from django_chatgpt.providers import clients, connections
from django_chatgpt.testing import FakeOpenAI
from tests.providers.conftest import KEY, question

HERE = Endpoint(KEY, "http://127.0.0.1:9/v1")


@pytest.fixture
def request_(fake: FakeOpenAI) -> ModelRequest:
    return question(fake.base_url)


def ask(request: ModelRequest) -> str:
    stream = providers.open_stream(request)
    text = ""
    try:
        while (delta := stream.read(5)) is not None:
            text += delta.text
    finally:
        stream.close()
    return text


async def aask(request: ModelRequest) -> str:
    stream = await providers.aopen_stream(request)
    text = ""
    try:
        while (delta := await stream.read(5)) is not None:
            text += delta.text
    finally:
        await stream.aclose()
    return text


def fork() -> int:
    """Fork although there are threads, as pre-forking servers with a monitor thread do."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return os.fork()


@contextmanager
def nothing_built() -> Iterator[None]:
    before = clients.built_clients()
    yield
    assert clients.built_clients() == before


def test_none_is_built_per_request(request_: ModelRequest) -> None:
    ask(request_)
    with nothing_built():
        for _ in range(5):
            ask(request_)
        providers.create_completion(request_.endpoint, {"model": "m", "messages": list(request_.messages)})


def test_none_is_built_per_request_on_a_loop(request_: ModelRequest) -> None:
    async def main() -> None:
        await aask(request_)
        with nothing_built():
            await asyncio.gather(*[aask(request_) for _ in range(10)])

    asyncio.run(main())


def test_three_loops_in_a_row(fake: FakeOpenAI, request_: ModelRequest) -> None:
    """Each closes what it had opened; asyncio complains about nothing."""
    before = clients.built_clients()
    for number in range(3):
        fake.reply(f"Answer {number}")
        assert asyncio.run(aask(request_)) == f"Answer {number}"
    assert clients.built_clients() == before + 3
    gc.collect()
    assert clients.known_loops() == 0
    fake.wait_for(3, finished=True)


def test_a_loop_that_was_closed_without_a_word_is_forgotten(request_: ModelRequest) -> None:
    async def look() -> int:
        clients.async_client(HERE)
        return clients.known_loops()

    loop = asyncio.new_event_loop()
    loop.run_until_complete(look())
    loop.close()
    assert clients.known_loops() == 1
    assert asyncio.run(look()) == 1
    assert clients.known_loops() == 0


def test_loops_side_by_side(request_: ModelRequest) -> None:
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: asyncio.run(aask(request_)), range(12)))
    assert len(answers) == 12
    assert clients.known_loops() == 0


def test_sixteen_threads(fake: FakeOpenAI, request_: ModelRequest) -> None:
    fake.respond_with(lambda asked: f"You asked {asked.question}")

    def one(number: int) -> bool:
        asked = replace(request_, messages=[{"role": "user", "content": f"number {number}"}])
        return ask(asked) == f"You asked number {number}"

    before = clients.built_clients()
    with ThreadPoolExecutor(16) as pool:
        assert all(pool.map(one, range(96)))
    assert clients.built_clients() == before + 1


def test_after_a_fork_the_child_starts_afresh(fake: FakeOpenAI, request_: ModelRequest) -> None:
    """It makes connections of its own, and the parent goes on with its."""
    ask(request_)
    parents = fake.calls[0].connection
    receiver, sender = os.pipe()
    child = fork()
    if child == 0:  # pragma: no cover - in the child
        try:
            built = clients.built_clients()
            outcome = f"{built} {bool(ask(request_))} {bool(asyncio.run(aask(request_)))}"
            os.write(sender, outcome.encode())
        finally:
            os._exit(0)
    os.close(sender)
    os.waitpid(child, 0)
    with os.fdopen(receiver, "rb") as pipe:
        assert pipe.read() == b"0 True True"
    ask(request_)
    first, *childs, last = [request.connection for request in fake.calls]
    assert first == last == parents
    assert len(childs) == 2
    assert parents not in childs


def test_what_a_child_does_first() -> None:
    """The same without a fork, where it can be looked at."""
    clients.sync_client(HERE)
    with nothing_built():
        clients.sync_client(HERE)
    clients._after_fork()
    assert clients.built_clients() == 0
    clients.sync_client(HERE)
    assert clients.built_clients() == 1
    clients.close()
    parents = clients._inherited.pop().sync
    assert parents is not None
    parents.http.close()


def test_a_fork_while_a_client_is_being_made(request_: ModelRequest) -> None:
    """The child must not wait for a lock that a thread of its parent held."""
    held, release = threading.Event(), threading.Event()

    def hold() -> None:
        with clients._pool.lock:
            held.set()
            release.wait(10)

    holder = threading.Thread(target=hold)
    holder.start()
    held.wait(5)
    child = fork()
    if child == 0:  # pragma: no cover - in the child
        clients.sync_client(HERE)
        os._exit(7)
    release.set()
    holder.join()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7


def test_tenants_share_connections_but_not_credentials(fake: FakeOpenAI) -> None:
    keys = [f"sk-tenant-{number}" for number in range(3)]
    for key in keys:
        ask(question(fake.base_url, endpoint=Endpoint(key, fake.base_url, f"org-{key[-1]}", "chat")))
    assert [request.carried(key) for request, key in zip(fake.calls, keys, strict=True)] == [True] * 3
    assert [request.headers["openai-organization"] for request in fake.calls] == ["org-0", "org-1", "org-2"]
    assert len({request.connection for request in fake.calls}) == 1


def test_the_least_recently_used_is_given_up() -> None:
    before = clients.built_clients()
    first = clients.sync_client(replace(HERE, api_key="sk-0"))
    for number in range(1, clients.MAX_ENDPOINTS):
        clients.sync_client(replace(HERE, api_key=f"sk-{number}"))
    assert clients.sync_client(replace(HERE, api_key="sk-0")) is first
    clients.sync_client(replace(HERE, api_key="sk-one-more"))
    assert clients.sync_client(replace(HERE, api_key="sk-0")) is first
    assert clients.built_clients() == before + clients.MAX_ENDPOINTS + 1
    clients.sync_client(replace(HERE, api_key="sk-1"))
    assert clients.built_clients() == before + clients.MAX_ENDPOINTS + 2


def test_the_environment_belongs_to_nobody_here(fake: FakeOpenAI, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the SDK would take from the environment is the site's, and not a tenant's."""
    monkeypatch.setenv("OPENAI_API_KEY", "sk-environment")
    monkeypatch.setenv("OPENAI_ORG_ID", "org-environment")
    monkeypatch.setenv("OPENAI_PROJECT_ID", "proj-environment")
    monkeypatch.setenv("OPENAI_ADMIN_KEY", "sk-admin")
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/v1")
    ask(question(fake.base_url))
    request = fake.calls[0]
    assert request.carried(KEY)
    assert not {"openai-organization", "openai-project"} & set(request.headers)
    assert str(clients.sync_client(Endpoint(KEY)).base_url) == "https://api.openai.com/v1/"


def test_cookies_are_not_carried_from_one_tenant_to_the_next() -> None:
    seen: list[str | None] = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        seen.append(request.headers.get("cookie"))
        return httpx2.Response(200, json={"choices": [1]}, headers={"set-cookie": "session=a; Path=/"})

    http = clients._sync_http()
    http._mounts.clear()
    http._transport = httpx2.MockTransport(answer)
    with clients.http_clients(http):
        for key in ("sk-a", "sk-b"):
            providers.create_completion(replace(HERE, api_key=key), {"model": "m", "messages": []})
    assert seen == [None, None]


@pytest.mark.parametrize("key", ["", " ", "sk-a b", "sk-a\n", "sk-ä", "sk-a\x00"])
def test_a_key_that_is_none_is_named_and_not_quoted(key: str) -> None:
    with pytest.raises(NotConfiguredError) as caught:
        clients.sync_client(Endpoint(key))
    assert "OPENAI_API_KEY" in str(caught.value)
    assert not key.strip() or key not in str(caught.value)


def test_an_organization_that_is_none() -> None:
    with pytest.raises(NotConfiguredError, match="OPENAI_ORGANIZATION"):
        clients.sync_client(Endpoint(KEY, None, "org\r\nX-Evil: 1"))


def test_an_address_that_is_none() -> None:
    with pytest.raises(NotConfiguredError, match="OPENAI_BASE_URL"):
        ask(question("http://[::1"))
    with pytest.raises(NotConfiguredError, match="OPENAI_BASE_URL"):
        ask(question("127.0.0.1/v1"))


def test_a_proxy_for_everything_is_respected(monkeypatch: pytest.MonkeyPatch) -> None:
    assert set(connections.mounts(clients.tls_context(), clients.LIMITS)) == {"all://"}
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:3128")
    assert connections.mounts(clients.tls_context(), clients.LIMITS) == {}


def test_limits_allow_a_thousand_streams() -> None:
    assert (clients.LIMITS.max_connections or 0) >= 1000
    context = clients.tls_context()
    assert clients.tls_context() is context


async def test_asynchronous_clients_use_aiohttp_where_it_is_installed() -> None:
    http = clients.async_client(HERE)._client
    expected = openai.DefaultAioHttpClient if clients.aiohttp_installed() else openai.DefaultAsyncHttpxClient
    assert isinstance(http, expected)


def test_sync_clients_can_be_closed_and_come_back(request_: ModelRequest) -> None:
    ask(request_)
    clients.close()
    clients.close()
    assert ask(request_)


def test_many_streams_at_once(fake: FakeOpenAI, request_: ModelRequest) -> None:
    """More than the hundred connections that HTTP clients allow by default, all open together."""
    fake.respond_with(lambda asked: "one two three four")

    async def main() -> int:
        streams = await asyncio.gather(*[providers.aopen_stream(request_) for _ in range(150)])
        opened = fake.open_connections
        await asyncio.gather(*[stream.aclose() for stream in streams])
        return opened

    assert asyncio.run(main()) == 150
