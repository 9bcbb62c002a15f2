"""What a user is told at once, from wherever; and that it harms nobody where it can't be."""

from __future__ import annotations

import asyncio
import threading
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from asgiref.sync import sync_to_async
from channels.layers import get_channel_layer
from django.contrib.auth.models import User
from django.db import transaction
from django.test.utils import override_settings

from django_chatgpt.services import alerts, notifications
from tests.consumers.pages import ABSENT, Open, Page

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.sqlite_only]

REDIS = {
    "default": {
        "BACKEND": "channels_redis.core.RedisChannelLayer",
        "CONFIG": {"hosts": ["redis://127.0.0.1:6379/9"], "prefix": "django-chatgpt-tests"},
    }
}


async def test_from_a_thread(page: Page, visit: Open, user: User, other_user: User) -> None:
    """Everybody who is that user is told, and nobody else; values are made plain."""
    again, stranger = await visit(user), await visit(other_user)
    payload = {"event": "report", "report_id": UUID(ABSENT), "cost": Decimal("0.5")}
    thread = threading.Thread(target=notifications.notify, args=(user.pk, payload))
    thread.start()
    for each in (page, again):
        told = await each.read()
        assert told == {
            "type": "notification",
            "payload": {"event": "report", "report_id": ABSENT, "cost": "0.5"},
        }
    await asyncio.to_thread(thread.join)
    assert await stranger.socket.receive_nothing(0.05)


async def test_from_elsewhere_on_the_layer(page: Page, user: User) -> None:
    """The group and the type are public: other code of the site may send, too."""
    layer = get_channel_layer()
    await layer.group_send(f"ai_user_{user.pk}", {"type": "ai_notification", "text": "Hello"})
    assert (await page.read())["payload"] == {"text": "Hello"}
    await layer.group_send(f"ai_user_{user.pk}", {"type": "ai_unheard_of"})
    assert await page.answer("ping") == {"type": "pong"}


async def test_not_before_it_is_committed(page: Page, user: User) -> None:
    def work(fails: bool) -> None:
        with transaction.atomic():
            notifications.notify(user.pk, {"event": str(fails)})
            if fails:
                raise KeyError

    with pytest.raises(KeyError):
        await sync_to_async(work)(True)
    await sync_to_async(work)(False)
    assert (await page.read())["payload"] == {"event": "False"}


async def test_of_an_alert_the_user_is_told_little(page: Page, user: User) -> None:
    def raise_alert(kind: str, **more: Any) -> None:
        alerts.raise_alert(
            kind, f"{kind}:1", severity="warning", title="Of the host db1", description="db1", **more
        )

    await sync_to_async(raise_alert)("price")
    await sync_to_async(raise_alert)("task", user_id=user.pk)
    told = (await page.read())["payload"]
    assert (told["event"], told["kind"], told["severity"]) == ("alert", "task", "warning")
    assert "db1" not in str(told)


@pytest.mark.parametrize(
    "layers",
    [
        {},
        {"default": {"BACKEND": "nowhere.Layer"}},
        {
            "default": {
                "BACKEND": "channels_redis.core.RedisChannelLayer",
                "CONFIG": {"hosts": ["redis://127.0.0.1:9"]},
            }
        },
    ],
    ids=["none", "broken", "away"],
)
@pytest.mark.parametrize("in_coroutine", [True, False])
async def test_where_nobody_can_be_told(layers: Any, in_coroutine: bool, user: User) -> None:
    pytest.importorskip("channels_redis")
    with override_settings(CHANNEL_LAYERS=layers):
        if in_coroutine:
            notifications.notify(user.pk, {})
            await asyncio.sleep(0.05)
        else:
            await asyncio.to_thread(notifications.notify, user.pk, {})
            notifications.notify(user.pk, {"large": "x" * notifications.MOST})
            notifications.notify(user.pk, {"odd": object()})


@pytest.mark.parametrize(
    ("user_id", "group"),
    [(5, "ai_user_5"), (UUID(ABSENT), f"ai_user_{ABSENT}"), ("ada@example.com", None), ("é" * 200, None)],
    ids=["number", "uuid", "mail", "long"],
)
def test_every_id_has_a_group(user_id: Any, group: str | None) -> None:
    name = notifications.group_of(user_id)
    get_channel_layer().require_valid_group_name(name)
    assert name == group or group is None
    assert name.startswith("ai_user_")


async def test_a_site_without_a_layer(visit: Open, user: User) -> None:
    with override_settings(CHANNEL_LAYERS={}):
        page = await visit(user)
        assert await page.answer("ping") == {"type": "pong"}


async def test_a_layer_that_fails_now_and_then(
    user: User, monkeypatch: pytest.MonkeyPatch, visit: Open
) -> None:
    """The groups are joined again, as a server that was started anew knows none of them."""
    from channels.layers import InMemoryChannelLayer

    from django_chatgpt.consumers import socket as socket_module

    monkeypatch.setattr(socket_module, "LAYER_AGAIN_SECONDS", 0.0)
    fails = asyncio.Event()
    receive, joins = InMemoryChannelLayer.receive, []
    add = InMemoryChannelLayer.group_add

    async def broken(layer: Any, channel: str) -> Any:
        if fails.is_set():
            fails.clear()
            layer.groups.clear()
            raise ConnectionError
        async with asyncio.timeout(0.05):
            return await receive(layer, channel)

    async def joined(layer: Any, group: str, channel: str) -> None:
        joins.append(group)
        if len(joins) == 2:
            raise ConnectionError
        await add(layer, group, channel)

    monkeypatch.setattr(InMemoryChannelLayer, "receive", broken)
    monkeypatch.setattr(InMemoryChannelLayer, "group_add", joined)
    page = await visit(user)
    fails.set()
    while len(joins) < 3:  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    notifications.notify(user.pk, {"event": "again"})
    assert (await page.read())["payload"] == {"event": "again"}


@pytest.mark.redis
async def test_over_redis(user: User) -> None:
    """From a thread that has no event loop, as in a worker, and from the loop of the socket."""
    pytest.importorskip("channels_redis")
    with override_settings(CHANNEL_LAYERS=REDIS):
        page = await Page(user).open()
        await page.answer("ping")
        loops, notifications._loops = notifications._loops, type(notifications._loops)()
        try:
            await asyncio.to_thread(notifications.notify, user.pk, {"event": "far"})
        finally:
            notifications._loops = loops
        assert (await page.read())["payload"] == {"event": "far"}
        await asyncio.to_thread(notifications.notify, user.pk, {"event": "near"})
        assert (await page.read())["payload"] == {"event": "near"}
        await page.leave()
        await get_channel_layer().close_pools()
