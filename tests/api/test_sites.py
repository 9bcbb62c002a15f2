"""Sites that are set up in other ways, each of which has broken somebody's stream before."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from asgiref.sync import async_to_sync, iscoroutinefunction, markcoroutinefunction
from django.conf import settings
from django.contrib.auth import get_user_model
from django.db import connection, connections
from django.middleware.csrf import CSRF_SESSION_KEY
from django.test import AsyncClient, Client
from django.test.utils import override_settings

from django_chatgpt.models import AIMessage, AITurn
from django_chatgpt.runtime.tasks import wait_for_turns
from django_chatgpt.testing import Answer, FakeOpenAI, Gate
from tests.api.conftest import Door, Handler, parse_events
from tests.api.test_access import ROUTES, Route, ids_of
from tests.api.test_conflicts import in_background

TOKEN = "y" * 32
#: Done, or answered by what is behind the doors: there is no such function, no call waits.
LET_THROUGH = (200, 201, 204, 404, 409)


@pytest.fixture
def gate() -> Iterator[Gate]:
    gate = Gate()
    yield gate
    gate.open()


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("stream", [False, True])
def test_atomic_requests(
    handler: Handler, user: Any, fake: FakeOpenAI, gate: Gate, monkeypatch: pytest.MonkeyPatch, stream: bool
) -> None:
    """The question is committed, and seen by others, before the provider has answered."""
    monkeypatch.setitem(connection.settings_dict, "ATOMIC_REQUESTS", True)
    fake.script(Answer("Hello", stall_after=0, stall=gate))
    door = Door(handler, user)
    answer = in_background(lambda: door.ask("Hi", stream=stream))
    fake.wait_for(1)
    assert AIMessage.objects.get().content == "Hi"
    assert AITurn.objects.get().status == "running"
    gate.open()
    assert answer().status == 200
    assert answer().text == "Hello"
    assert AITurn.objects.get().status == "completed"


@pytest.mark.django_db
@pytest.mark.parametrize("route", ROUTES, ids=str)
def test_atomic_requests_of_any_database(
    door: Door, fake: FakeOpenAI, monkeypatch: pytest.MonkeyPatch, route: Route
) -> None:
    for alias in connections:
        monkeypatch.setitem(connections[alias].settings_dict, "ATOMIC_REQUESTS", True)
    ids = ids_of(AITurn.objects.get(pk=door.ask("Hi").turn_id).conversation)
    assert door.send(route.method, route.path(**ids), route.body).status in LET_THROUGH


def first_of_stream(handler: Handler, user: Any, then: Callable[[bytes], None]) -> tuple[Any, bytes]:
    """POST chat/ with a stream that may be compressed: `then` gets what came until the first words."""
    body, headers = {"message": "Hi", "stream": True}, {"Accept-Encoding": "gzip, br, deflate"}

    async def exchange() -> tuple[Any, bytes]:
        client = AsyncClient()
        await client.aforce_login(user)
        response = await client.post("/ai/chat/", body, content_type="application/json", headers=headers)
        got = b""
        async for part in response:
            got += part
            if b"Hello" in got:
                then(got)
        await wait_for_turns()
        return response, got

    if handler == "asgi":
        return async_to_sync(exchange)()
    client = Client()
    client.force_login(user)
    response: Any = client.post("/ai/chat/", body, content_type="application/json", headers=headers)
    got = b""
    for part in response:
        got += part
        if b"Hello" in got:
            then(got)
    return response, got


@pytest.mark.django_db
@pytest.mark.parametrize(
    "middleware",
    [
        "django.middleware.gzip.GZipMiddleware",
        "django.middleware.http.ConditionalGetMiddleware",
        "django.middleware.cache.UpdateCacheMiddleware",
    ],
)
def test_middleware_does_not_hold_the_stream_back(
    handler: Handler, user: Any, fake: FakeOpenAI, gate: Gate, middleware: str
) -> None:
    """The first words are there while the provider has not said the last."""
    fake.script(Answer(chunks=["Hello ", "there"], stall_after=1, stall=gate))

    def then(got: bytes) -> None:
        if b"there" not in got:
            assert fake.calls[0].finished is None
            gate.open()

    with override_settings(MIDDLEWARE=[middleware, *settings.MIDDLEWARE]):
        response, got = first_of_stream(handler, user, then)
    assert response.get("Content-Encoding", "identity") == "identity"
    assert not response.has_header("Content-Length")
    assert gate.reached.is_set()
    assert parse_events(got)[-1]["type"] == "done"


def counting(get_response: Any) -> Any:
    """A site's middleware that passes a stream through something of its own."""

    def counted(parts: Any) -> Any:
        for part in parts:
            yield b": %d\n\n" % len(part) + part

    async def acounted(parts: Any) -> Any:
        async for part in parts:
            yield b": %d\n\n" % len(part) + part

    def wrap(response: Any) -> Any:
        count = acounted if response.is_async else counted
        response.streaming_content = count(response.streaming_content)
        return response

    if not iscoroutinefunction(get_response):
        return lambda request: wrap(get_response(request))

    async def middleware(request: Any) -> Any:
        return wrap(await get_response(request))

    return markcoroutinefunction(middleware)


counting.sync_capable = counting.async_capable = True  # type: ignore[attr-defined]


@pytest.mark.django_db
def test_what_a_middleware_puts_in_place_of_the_stream_is_sent(
    handler: Handler, user: Any, fake: FakeOpenAI
) -> None:
    fake.script(Answer(chunks=["Hello ", "there"]))
    with override_settings(MIDDLEWARE=[f"{__name__}.counting", *settings.MIDDLEWARE]):
        _, got = first_of_stream(handler, user, lambda got: None)
    got, pieces = re.subn(rb": \d+\n\n", b"", got)
    assert pieces > 0
    assert [event["type"] for event in parse_events(got)][-2:] == ["finish", "done"]


@pytest.mark.django_db
@pytest.mark.parametrize("stream", [False, True])
def test_tokens_in_the_session(handler: Handler, user: Any, fake: FakeOpenAI, stream: bool) -> None:
    with override_settings(CSRF_USE_SESSIONS=True):
        door = Door(handler, user, csrf=True)
        session = door.client.session
        session[CSRF_SESSION_KEY] = TOKEN
        session.save()
        body = {"message": "Hi", "stream": stream}
        assert door.send("POST", "/ai/chat/", body).status == 403
        assert door.send("POST", "/ai/chat/", body, {"X-CSRFToken": "z" * 32}).status == 403
        fake.assert_nothing_asked()
        assert door.send("POST", "/ai/chat/", body, {"X-CSRFToken": TOKEN}).status == 200
        made = door.send("POST", "/ai/conversations/", {}, {"X-CSRFToken": TOKEN})
        assert made.status == 201


@pytest.mark.django_db
@pytest.mark.parametrize("route", ROUTES, ids=str)
def test_a_site_that_asks_everybody_to_sign_in(
    handler: Handler, user: Any, fake: FakeOpenAI, route: Route
) -> None:
    """A program is told 401 and not sent to a page with a form."""
    middleware = [*settings.MIDDLEWARE, "django.contrib.auth.middleware.LoginRequiredMiddleware"]
    with override_settings(MIDDLEWARE=middleware):
        door = Door(handler, user)
        ids = ids_of(AITurn.objects.get(pk=door.ask("Hi").turn_id).conversation)
        anonymous = Door(handler, None).send(route.method, route.path(**ids), route.body)
        assert anonymous.status == 401
        assert anonymous.error["code"] == "not_authenticated"
        assert door.send(route.method, route.path(**ids), route.body).status in LET_THROUGH


@pytest.mark.django_db
@pytest.mark.parametrize("stream", [False, True])
def test_a_session_that_is_saved_each_time(
    handler: Handler, user: Any, fake: FakeOpenAI, stream: bool
) -> None:
    with override_settings(SESSION_SAVE_EVERY_REQUEST=True):
        door = Door(handler, user)
        assert door.ask(stream=stream).status == 200
        assert door.ask(stream=stream).status == 200


@pytest.mark.django_db
@pytest.mark.parametrize("engine", ["cache", "cached_db", "signed_cookies", "file"])
def test_sessions_that_are_kept_elsewhere(
    handler: Handler, fake: FakeOpenAI, engine: str, tmp_path: Any
) -> None:
    user = get_user_model().objects.create_user("eve")
    with override_settings(
        SESSION_ENGINE=f"django.contrib.sessions.backends.{engine}", SESSION_FILE_PATH=str(tmp_path)
    ):
        assert Door(handler, user).ask(stream=True).text
        assert Door(handler, None).ask().status == 401


class Sync:
    """A middleware as many sites have it: a class that knows nothing of coroutines."""

    def __init__(self, get_response: Any) -> None:
        self.get_response = get_response

    def __call__(self, request: Any) -> Any:
        response = self.get_response(request)
        response["X-Sync"] = str(request.user)
        return response


@pytest.mark.django_db
def test_a_middleware_that_is_not_async(handler: Handler, user: Any, fake: FakeOpenAI, gate: Gate) -> None:
    fake.script(Answer(chunks=["Hello ", "there"], stall_after=1, stall=gate))

    def then(got: bytes) -> None:
        if b"there" not in got:
            assert fake.calls[0].finished is None
            gate.open()

    with override_settings(MIDDLEWARE=[*settings.MIDDLEWARE, "tests.api.test_sites.Sync"]):
        response, got = first_of_stream(handler, user, then)
    assert response["X-Sync"] == "ada"
    assert parse_events(got)[-1]["type"] == "done"
