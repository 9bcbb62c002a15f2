"""Who is let in, and who is told why not; looked at again as long as the socket is open."""

from __future__ import annotations

from typing import Any

import pytest
from asgiref.sync import sync_to_async
from channels.auth import AuthMiddlewareStack
from channels.routing import URLRouter
from channels.testing import WebsocketCommunicator
from django.contrib.auth.models import AnonymousUser, User
from django.contrib.sessions.backends.db import SessionStore
from django.db import OperationalError
from django.test import Client
from django.test.utils import override_settings

from django_chatgpt import adapter
from django_chatgpt.consumers import socket as socket_module
from django_chatgpt.consumers.identity import find_user
from django_chatgpt.models import AIMessage
from django_chatgpt.routing import websocket_urlpatterns
from django_chatgpt.services import AIService, notifications
from django_chatgpt.services.access import NotAuthenticatedError
from django_chatgpt.testing import Answer, FakeOpenAI, Gate
from tests.consumers.pages import PATIENCE, Monitor, Open, Page, text_of, until

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.sqlite_only]


class Nobody(adapter.Adapter):
    """Lets nobody in."""

    def may_use(self, user: Any) -> bool:
        return False


NOBODY = f"{Nobody.__module__}.{Nobody.__name__}"


class Visitor(Page):
    """A browser: it has a cookie, an origin, and no user in its scope."""

    def __init__(self, user: Any, client: Client, path: str = "/ws/ai/chat/", **headers: str) -> None:
        cookies = "; ".join(f"{name}={value.value}" for name, value in client.cookies.items())
        given = {"cookie": cookies, "host": "testserver"} | headers
        encoded = [(name.encode(), value.encode()) for name, value in given.items()]
        self.socket = WebsocketCommunicator(
            AuthMiddlewareStack(URLRouter(websocket_urlpatterns)), path, headers=encoded
        )
        self.seen = []


@pytest.mark.parametrize("kind", [Page, Monitor])
@pytest.mark.parametrize("user", [None, AnonymousUser()], ids=["none", "anonymous"])
async def test_nobody_is_signed_in(kind: type[Page], user: Any) -> None:
    """The socket is accepted first: before that a browser is told no code."""
    page = kind(user)
    assert await page.refused() == (4001, "not_authenticated")
    await page.send("ping")
    await page.leave()


async def test_somebody_who_may_not(user: User, staff_user: User) -> None:
    with override_settings(OPENAI_ADAPTER=NOBODY):
        assert await Page(user).refused() == (4003, "permission_denied")
    assert await Monitor(user).refused() == (4003, "permission_denied")
    user.is_active = False
    await user.asave()
    assert (await Page(user).refused())[0] == 4003
    await user.adelete()
    assert (await Page(user).refused())[0] == 4001


async def test_somebody_who_has_used_up_the_limit(user: User, fake: FakeOpenAI) -> None:
    """Looking does not count: it is as it was when they ask."""
    with override_settings(OPENAI_RATE_LIMITS={"user": "1/h"}):
        for _ in range(3):
            await (await Page(user).open()).leave()
        await AIService(user).aask("Hi")
        code, reason = await Page(user).refused()
    assert code == 4029
    assert reason.startswith("rate_limited; retry after ")


async def test_somebody_whose_budget_is_used_up(user: User, fake: FakeOpenAI) -> None:
    await AIService(user).aask("Hi")
    with override_settings(OPENAI_BUDGETS=[{"scope": "user", "period": "day", "limit": "0.000001"}]):
        code, reason = await Page(user).refused()
    assert code == 4029
    assert reason.startswith("quota_exceeded; retry after ")
    with override_settings(OPENAI_BUDGETS=[{"scope": "user", "period": "day", "limit": "5"}]):
        await (await Page(user).open()).leave()


async def test_a_site_that_is_misconfigured(user: User, caplog: pytest.LogCaptureFixture) -> None:
    with override_settings(OPENAI_RATE_LIMITS={"user": "often"}):
        assert await Page(user).refused() == (1011, "not_configured")
    assert "OPENAI_RATE_LIMITS" in caplog.text


@pytest.mark.parametrize(
    ("origin", "let_in"),
    [
        ("http://testserver", True),
        (None, True),
        ("https://app.example.org", True),
        ("https://a.example.com", True),
        ("https://testserver", False),
        ("http://testserver.evil.org", False),
        ("http://evil.org", False),
        ("http://a.example.com", False),
        ("https://aexample.com", False),
        ("http://[", False),
        ("null", False),
        ("", False),
    ],
)
async def test_where_the_page_is_from(
    user: User, user_client: Client, origin: str | None, let_in: bool
) -> None:
    """A foreign page is told nothing: it is refused before the socket is accepted."""
    headers = {} if origin is None else {"origin": origin}
    with override_settings(CSRF_TRUSTED_ORIGINS=["https://app.example.org", "https://*.example.com"]):
        visitor = Visitor(user, user_client, **headers)
        accepted, code = await visitor.socket.connect(PATIENCE)
    assert accepted is let_in
    if not let_in:
        assert code == 4003
    await visitor.leave()


async def test_a_host_that_is_not_the_sites(user: User, user_client: Client) -> None:
    visitor = Visitor(user, user_client, host="evil.org", origin="http://evil.org")
    assert (await visitor.socket.connect(PATIENCE))[0] is False
    await visitor.leave()


async def test_signing_out_ends_it(user: User, user_client: Client, fake: FakeOpenAI) -> None:
    visitor = await Visitor(user, user_client, origin="http://testserver").open()
    assert (await visitor.ask())[-1]["type"] == "message_complete"
    await sync_to_async(user_client.logout)()
    assert (await visitor.error("get_conversations"))["code"] == "not_authenticated"
    assert await visitor.closed() == (4001, "not_authenticated")
    await visitor.leave()


async def test_signing_out_elsewhere_ends_what_is_being_shown(
    user: User, user_client: Client, fake: FakeOpenAI, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing more is shown, though nothing is asked; the answer is written to its end."""
    monkeypatch.setattr(socket_module, "TRUSTED_SECONDS", -1.0)
    visitor = await Visitor(user, user_client, origin="http://testserver").open()
    fake.script(Answer(chunks=["One ", "two ", "three"], stall_after=1, stall=gate))
    await visitor.send("chat_message", message="Count", ref="mine")
    await visitor.read_to("content_chunk")
    await sync_to_async(user_client.logout)()
    gate.open()
    told = (await visitor.read_to("error"))[-1]
    assert (told["error"]["code"], told["ref"]) == ("not_authenticated", "mine")
    assert text_of(visitor.seen) == "One "
    assert await visitor.closed() == (4001, "not_authenticated")
    await visitor.leave()
    await until(AIMessage.objects.filter(role="assistant", content="One two three").aexists)


async def test_a_look_while_the_database_is_away(
    page: Page,
    fake: FakeOpenAI,
    gate: Gate,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """What runs is shown on: nobody is sent off because nobody can be looked up."""

    def away(self: Any) -> Any:
        raise OperationalError("gone")

    fake.script(Answer(chunks=["One ", "two"], stall_after=1, stall=gate))
    await page.send("chat_message", message="Count")
    await page.read_to("content_chunk")
    monkeypatch.setattr(socket_module.Socket, "user", away)
    monkeypatch.setattr(socket_module, "TRUSTED_SECONDS", -1.0)
    gate.open()
    assert (await page.read_to("message_complete", "error"))[-1]["type"] == "message_complete"
    assert "the database is away" in caplog.text


async def test_a_new_password_ends_it(user: User, user_client: Client) -> None:
    visitor = await Visitor(user, user_client, path="/ws/ai/chat/").open()
    user.set_password("another")
    await user.asave()
    assert (await visitor.error("start_conversation"))["code"] == "not_authenticated"
    assert (await visitor.closed())[0] == 4001
    await visitor.leave()


async def test_a_session_signed_with_the_key_before(user: User, user_client: Client) -> None:
    """It counts, and it stays: no new key can be given to the browser over a socket."""
    with override_settings(SECRET_KEY="new", SECRET_KEY_FALLBACKS=["only-for-tests"]):
        key = user_client.session.session_key
        visitor = Visitor(user, user_client)
        visitor.socket.scope["user"] = user
        visitor.socket.scope["session"] = SessionStore(key)
        assert await sync_to_async(find_user)(visitor.socket.scope) == user
        assert await sync_to_async(SessionStore().exists)(key)
    with override_settings(SECRET_KEY="new"), pytest.raises(NotAuthenticatedError):
        await sync_to_async(find_user)(visitor.socket.scope)


async def test_a_permission_that_is_taken_away(page: Page, user: User, fake: FakeOpenAI) -> None:
    """What is refused is said, and the socket lives: the permission may come back."""
    with override_settings(OPENAI_ADAPTER=NOBODY):
        for kind, fields in (("chat_message", {"message": "Hi"}), ("get_conversations", {})):
            assert (await page.error(kind, **fields))["code"] == "permission_denied"
    fake.assert_nothing_asked()
    assert (await page.ask())[-1]["type"] == "message_complete"


async def test_nothing_is_brought_to_somebody_who_is_gone(
    page: Page, user: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(socket_module, "TRUSTED_SECONDS", -1.0)
    notifications.notify(user.pk, {"event": "first"})
    assert (await page.read())["payload"] == {"event": "first"}
    with override_settings(OPENAI_ADAPTER=NOBODY):
        notifications.notify(user.pk, {"event": "second"})
        assert (await page.closed())[0] == 4003


async def test_staff_no_more(visit: Open, staff_user: User) -> None:
    monitor = await visit(staff_user, Monitor)
    assert (await monitor.answer("get_system_stats"))["type"] == "system_stats"
    staff_user.is_staff = False
    await staff_user.asave()
    assert (await monitor.error("get_system_stats"))["code"] == "permission_denied"
