"""Turns that wait for a worker, and what the broker was told of them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.utils import timezone
from pytest_django import Settings

from django_chatgpt.models import AITurn
from django_chatgpt.services import chat, runners
from django_chatgpt.testing import FakeOpenAI

Leave = Callable[..., AITurn]


@pytest.fixture
def fake(settings: Settings, fake_openai: FakeOpenAI) -> FakeOpenAI:
    """The provider, of a site whose workers answer."""
    settings.OPENAI_BASE_URL, settings.OPENAI_API_KEY = fake_openai.base_url, fake_openai.api_key
    settings.OPENAI_MAX_RETRIES = 0
    settings.OPENAI_TURN_RUNNER = "celery"
    settings.OPENAI_PRICES = {"gpt-6-luna": {"input": "1", "output": "2"}}
    return fake_openai


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The ids of the turns that workers were told of, in the place of a broker."""
    ids: list[str] = []

    def send(name: str, *arguments: str, task_id: str | None = None) -> None:
        assert name == runners.ANSWER
        ids.extend(arguments)

    monkeypatch.setattr(runners, "queues", lambda: True)
    monkeypatch.setattr(runners, "send", send)
    return ids


@pytest.fixture
def leave(fake: FakeOpenAI, sent: list[str], user: User) -> Leave:
    """Ask, and leave the turn to a worker."""

    def leave(text: str = "Hi", **options: Any) -> AITurn:
        turn = chat.begin(chat.Ask(user=user, text=text, **options))
        assert isinstance(turn, AITurn)
        assert turn.status == "queued"
        return turn

    return leave


def overdue(turn: AITurn) -> AITurn:
    """The turn, after its lease has run out."""
    AITurn.objects.filter(pk=turn.pk).update(lease_expires_at=timezone.now() - timedelta(seconds=1))
    return AITurn.objects.get(pk=turn.pk)
