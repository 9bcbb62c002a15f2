"""Whatever comes in, the socket lives, and says nothing but what is wrong."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test.utils import override_settings
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from django_chatgpt.consumers import incoming
from django_chatgpt.models import AIConversation, AITurn
from tests.consumers.pages import Monitor, Open, Page

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.sqlite_only]

TYPES = [*incoming.CHAT, *incoming.MONITORING, "on_cancel", "__class__", ""]
NAMES = sorted({name for each in incoming.CHAT.values() for name in each.model_fields} - {"type"})
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.sampled_from(["\x00", "\ud800", "x" * 201, "0198c5a0-0000-7000-8000-000000000000"])
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
FRAMES = st.fixed_dictionaries(
    {"type": st.sampled_from(TYPES) | VALUES}, optional=dict.fromkeys(NAMES, VALUES)
)


@pytest.mark.parametrize("kind", [Page, Monitor])
@pytest.mark.parametrize(
    ("frame", "named"),
    [
        ("no JSON", "frame"),
        ("[1]", "frame"),
        ("5", "frame"),
        ("null", "frame"),
        ('"ping"', "frame"),
        ("{}", "type"),
        ('{"type": 5}', "type"),
        ('{"type": ["ping"]}', "type"),
        ('{"type": "pong"}', "type"),
        ('{"type": "on_cancel"}', "type"),
        ('{"type": "ping", "colour": "red"}', "colour"),
        ('{"type": "ping", "ref": "\\ud800"}', "ref"),
        ('{"type": "ping", "ref": "\\u0000"}', "ref"),
        ('{"type": "ping", "' + "n" * 500 + '": 1}', "n" * 100),
        ('{"type": "ping", "\\ud800": 1}', "frame"),
        ("[" * 100_000, "frame"),
        ('{"type": "ping", "ref": ' + "[" * 100_000 + "]" * 100_000 + "}", "frame"),
        ('{"type": "ping", "ref": ' + "9" * 5000 + "}", "frame"),
        ('{"type": "ping", "ref": "' + "x" * 5_000_000 + '"}', "frame"),
        ('{"type": "ping", "ref": "' + "x" * 500_000 + '"}', "ref"),
        ("{" + ",".join(f'"{number}": 1' for number in range(50)) + ', "type": "ping"}', "frame"),
    ],
    ids=lambda value: str(value)[:40],
)
async def test_a_frame_that_is_none(
    kind: type[Page], visit: Open, staff_user: User, frame: str, named: str
) -> None:
    page = await visit(staff_user, kind)
    await page.socket.send_to(text_data=frame)
    error = (await page.read())["error"]
    assert error["code"] in ("invalid_request", "too_large")
    assert list(error["fields"]) == [named]
    assert named in error["message"]
    assert await page.answer("ping", ref="still") == {"type": "pong", "ref": "still"}


async def test_a_binary_frame(page: Page) -> None:
    await page.socket.send_to(bytes_data=b"\x00\xff")
    assert set((await page.read())["error"]["fields"]) == {"frame"}
    await page.socket.send_input({"type": "websocket.receive", "text": ""})
    assert set((await page.read())["error"]["fields"]) == {"frame"}
    assert await page.answer("ping") == {"type": "pong"}


async def test_a_site_that_reads_less(page: Page) -> None:
    with override_settings(DATA_UPLOAD_MAX_MEMORY_SIZE=100):
        assert (await page.error("chat_message", message="x" * 100))["code"] == "too_large"
    with override_settings(DATA_UPLOAD_MAX_MEMORY_SIZE=None):
        await page.socket.send_to(text_data='{"type": "ping", "ref": "' + "x" * 3_000_000 + '"}')
        assert set((await page.read())["error"]["fields"]) == {"ref"}


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(frames=st.lists(FRAMES, min_size=1, max_size=8))
def test_any_frames(user: User, frames: list[Any]) -> None:
    """Each is answered by an `error`, or was one after all; nothing but the database's own ids is made up."""

    async def exchange() -> list[dict[str, Any]]:
        page = await Page(user).open()
        answers = []
        for frame in frames:
            await page.socket.send_to(text_data=json.dumps(frame))
            answers.append(await page.read())
        assert await page.answer("ping", ref="still") == {"type": "pong", "ref": "still"}
        await page.leave()
        return answers

    for frame, answer in zip(frames, asyncio.run(exchange()), strict=True):
        if answer["type"] == "error":
            assert answer["error"]["code"] in ("invalid_request", "not_found", "unknown_function"), answer
            assert answer["error"]["message"]
        else:
            assert answer["type"] in ("pong", "conversations_list", "conversation_started"), (frame, answer)
    assert not AITurn.objects.exists()
    AIConversation.objects.all().delete()
