"""A listener that is dropped again and again, at any event of a running turn, hears the whole stream once."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterator
from contextlib import aclosing
from importlib.util import find_spec
from itertools import chain, repeat
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.contrib.auth.models import User
from django.test import AsyncClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from django_chatgpt.core.events import TurnEvent
from django_chatgpt.runtime.tasks import TurnTask, wait_for_turns
from django_chatgpt.testing import Answer, Call, FakeOpenAI, Usage
from tests.api.conftest import Door, parse_events
from tests.parity.doors import QUESTION, replay, the_turn
from tests.parity.shown import HTTP, SOCKET, Shown, narrowed, of_engine, of_http, of_socket

pytestmark = pytest.mark.django_db(transaction=True)

#: How many events are heard each time before the listener is dropped; the last hears the rest.
CUTS = st.lists(st.integers(1, 9), max_size=12)
TEXTS = st.lists(st.text("aé\n😀", min_size=1, max_size=3), min_size=1, max_size=5)

Torn = Callable[[User, Iterator[int]], Coroutine[Any, Any, list[Shown]]]


async def over_http(user: User, cuts: Iterator[int]) -> list[Shown]:
    """The stream of the question itself, and then of its turn, after the last event that was heard."""
    client = AsyncClient()
    await client.aforce_login(user)
    body = {"message": QUESTION, "stream": True}
    response = await client.post("/ai/chat/", body, content_type="application/json")
    heard: list[dict[str, Any]] = []
    while True:
        heard += await _hear(response, next(cuts))
        if heard[-1]["type"] == "done":
            return of_http(heard)
        turn_id, last = heard[0]["turn_id"], heard[-1]["seq"]
        response = await client.get(f"/ai/turns/{turn_id}/events/", headers={"Last-Event-ID": str(last)})


async def _hear(response: Any, most: int) -> list[dict[str, Any]]:
    heard: list[dict[str, Any]] = []
    async with aclosing(aiter(response)) as parts:
        async for part in parts:
            heard += parse_events(part)
            if len(heard) >= most:
                break
    response.close()
    return heard[:most]


async def over_sockets(user: User, cuts: Iterator[int]) -> list[Shown]:
    """A page after the other."""
    from tests.consumers.pages import Page

    heard: list[dict[str, Any]] = []
    while not heard or heard[-1]["type"] != "message_complete":
        page = await Page(user).open()
        if heard:
            await page.send("resume", turn_id=heard[0]["turn_id"], after=heard[-1]["id"])
        else:
            await page.send("chat_message", message=QUESTION)
        for _ in range(next(cuts)):
            heard.append(await page.read())
            if heard[-1]["type"] == "message_complete":
                break
        await page.leave()
    return of_socket(heard)


DOORS: dict[str, tuple[Torn, dict[str, tuple[str, ...]]]] = {
    "http": (over_http, HTTP),
    "socket": (over_sockets, SOCKET),
}


@pytest.fixture
def original(monkeypatch: pytest.MonkeyPatch) -> list[TurnEvent]:
    """The events as the turn itself brings them, whoever listens."""
    events: list[TurnEvent] = []
    show = TurnTask._show

    def noted(task: TurnTask, event: TurnEvent) -> None:
        events.append(event)
        show(task, event)

    monkeypatch.setattr(TurnTask, "_show", noted)
    return events


@pytest.mark.parametrize("door", DOORS)
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(texts=TEXTS, cuts=CUTS)
def test_dropped_at_any_event(
    door: str,
    texts: list[str],
    cuts: list[int],
    user: User,
    fake_openai: FakeOpenAI,
    original: list[TurnEvent],
) -> None:
    if door == "socket" and find_spec("channels") is None:
        pytest.skip("could not import 'channels'")
    original.clear()
    calls = [Call("look", {"word": "a"}, id="call_look")]
    fake_openai.script(
        Answer(chunks=texts, calls=calls, delay=0.005, usage=Usage(10, 5)),
        Answer(chunks=texts, delay=0.005, usage=Usage(20, 5)),
    )
    listen, words = DOORS[door]

    async def run() -> list[Shown]:
        heard = await listen(user, chain(cuts, repeat(10**6)))
        await wait_for_turns()
        return heard

    heard = async_to_sync(run)()
    assert heard == narrowed(of_engine(original), words)
    kept = replay(Door("wsgi", user), the_turn(user), 0)
    assert of_http(kept.events) == narrowed(of_engine(original), HTTP)
