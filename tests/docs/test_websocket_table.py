"""The reference of the sockets says what they do."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import pytest

pytest.importorskip("channels")

from django_chatgpt.consumers import chat, frames, incoming, outbox, socket
from django_chatgpt.services import monitoring
from django_chatgpt.services.bodies import ChatIn

PAGE = (Path(__file__).parents[2] / "docs/reference/websocket.md").read_text()


def rows(title: str) -> dict[str, str]:
    """The second column of a table by the first."""
    section = PAGE.split(f"\n## {title}\n", 1)[1].split("\n## ", 1)[0]
    return dict(re.findall(r"^\| `?([\w ,]+?)`? \| (.+?) \|", section, re.MULTILINE))


def names(text: str) -> set[str]:
    return set(re.findall(r"`(\w+)`", text))


@pytest.mark.parametrize(
    ("title", "known"), [("ws/ai/chat/: in", incoming.CHAT), ("ws/ai/monitoring/: in", incoming.MONITORING)]
)
def test_what_comes_in(title: str, known: Mapping[str, type[incoming.Incoming]]) -> None:
    listed = rows(title)
    listed.pop("type")
    listed.pop("---", None)
    assert list(listed) == list(known)
    for kind, model in known.items():
        own = set(model.model_fields) - {"type", "ref"}
        if kind == "chat_message":
            own -= set(ChatIn.model_fields)
        assert names(listed[kind]) == own, kind


@pytest.mark.parametrize(
    ("title", "known"), [("ws/ai/chat/: out", frames.CHAT), ("ws/ai/monitoring/: out", frames.MONITORING)]
)
def test_what_goes_out(title: str, known: Mapping[str, tuple[str, ...]]) -> None:
    listed = rows(title)
    listed.pop("type")
    listed.pop("---", None)
    assert list(listed) == list(known)
    inside = {"fields", "turn_id", "retry_after"} | set(monitoring.WATCHED) | {"conversations"}
    for kind, fields in known.items():
        assert set(fields) <= names(listed[kind]), kind
        assert names(listed[kind]) - set(fields) <= inside, kind
    if known is frames.MONITORING:
        assert set(monitoring.WATCHED) <= names(listed["monitoring_event"])


def test_the_close_codes() -> None:
    codes = {socket.ANONYMOUS, socket.NOT_ALLOWED, socket.OVER_QUOTA, socket.BROKEN}
    assert {int(code) for code in rows("Close codes") if code.isdigit()} == codes


def test_the_limits() -> None:
    listed = rows("Limits")
    assert listed["answers shown on one socket at once"] == str(chat.MOST_TURNS)
    assert listed["frames of one socket that are being answered at once"] == str(socket.MOST_JOBS)
    assert listed["frames that wait for a slow reader"] == str(outbox.MOST_WAITING)
    assert listed["events of a turn that wait for a slow reader"] == str(chat.MOST_EVENTS)
