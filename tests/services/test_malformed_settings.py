"""A setting that goes bad under a running site: a question is refused before it is stored, or answered."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import User
from django.test import Client, override_settings

from django_chatgpt.conf import SETTINGS
from django_chatgpt.models import AITurn, AIUsage
from django_chatgpt.testing import FakeOpenAI

pytestmark = [pytest.mark.django_db, pytest.mark.sqlite_only]

NAMES = sorted(SETTINGS)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.usefixtures("fake_openai")
def test_no_turn_is_left_behind(user_client: Client, caplog: pytest.LogCaptureFixture, name: str) -> None:
    prices = {"gpt-6-luna": {"input": "1", "output": "1"}}
    with override_settings(OPENAI_PRICES=prices), override_settings(**{name: object()}):
        answer = user_client.post("/ai/chat/", {"message": "Hi"}, content_type="application/json")
    if answer.status_code == 200:
        assert AITurn.objects.get().status == "completed"
        assert AIUsage.objects.get().outcome == "completed"
    else:
        assert answer.status_code == 503
        assert answer.json()["error"]["code"] == "not_configured"
        assert not AITurn.objects.exists()
        assert name in caplog.text


@pytest.mark.parametrize("name", ["OPENAI_DAILY_COST_THRESHOLD", "OPENAI_BREAKER_FAILURES"])
def test_what_can_not_be_looked_after_is_logged(
    user: User,
    user_client: Client,
    fake_openai: FakeOpenAI,
    caplog: pytest.LogCaptureFixture,
    name: str,
) -> None:
    prices = {"gpt-6-luna": {"input": "1", "output": "1"}}
    with override_settings(OPENAI_PRICES=prices), override_settings(**{name: object()}):
        answer = user_client.post("/ai/chat/", {"message": "Hi"}, content_type="application/json")
    assert answer.status_code == 200
    assert AITurn.objects.get(user=user).status == "completed"
    assert name in caplog.text
