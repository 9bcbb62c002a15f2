"""A configuration is tried with one question: answered, counted and paid for like any other."""

from __future__ import annotations

from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.contrib.auth.models import User
from django.test import AsyncClient, Client

from django_chatgpt.models import AIConfiguration, AIConversation, AIUsage
from django_chatgpt.testing import Answer, Failure, FakeOpenAI
from tests.admin.makers import address
from tests.admin.staff import staff_browser

pytestmark = pytest.mark.django_db


@pytest.fixture
def configuration() -> AIConfiguration:
    return AIConfiguration.objects.create(
        name="careful", model="gpt-6-sol", system_prompt="Doubt.", is_active=False
    )


def page_of(configuration: AIConfiguration) -> str:
    return address(AIConfiguration, "try", configuration.pk)


def test_the_answer_is_shown_with_its_tokens_and_cost(
    fake_openai: FakeOpenAI,
    admin_browser: Client,
    staff_user: User,
    configuration: AIConfiguration,
    settings: Any,
) -> None:
    settings.OPENAI_PRICES = {"gpt-6-sol": {"input": "1000", "output": "2000"}}
    fake_openai.script(Answer("**Perhaps** <b>"))
    assert "Ask" in admin_browser.get(page_of(configuration)).text
    page = admin_browser.post(page_of(configuration), {"question": "Is it so?"})
    assert "<strong>Perhaps</strong> &lt;b&gt;" in page.text
    row = AIUsage.objects.get()
    assert (row.user, row.model, row.outcome) == (staff_user, "gpt-6-sol", "completed")
    assert f"<dd>{row.prompt_tokens}</dd>" in page.text
    assert page.context["reply"].cost == row.estimated_cost
    assert address(AIConversation, "transcript", AIConversation.objects.get().pk) in page.text
    sent = fake_openai.requests[-1].body
    assert "Doubt." in str(sent)
    assert not sent.get("tools")


def test_it_is_answered_under_asgi_too(
    fake_openai: FakeOpenAI, staff_user: User, configuration: AIConfiguration
) -> None:
    fake_openai.script(Answer("Perhaps"))
    browser = AsyncClient()
    browser.force_login(staff_user)
    page = async_to_sync(browser.post)(page_of(configuration), {"question": "Is it so?"})
    assert "Perhaps" in page.content.decode()


def test_an_error_is_told_kindly(
    fake_openai: FakeOpenAI, admin_browser: Client, configuration: AIConfiguration, settings: Any
) -> None:
    settings.OPENAI_MAX_RETRIES = 0
    fake_openai.script(Failure(500))
    page = admin_browser.post(page_of(configuration), {"question": "Is it so?"})
    assert page.status_code == 200
    assert "provider_unavailable" in page.text
    assert "Trying again may help." in page.text
    assert "Is it so?" in page.text


def test_an_empty_question_is_asked_for(admin_browser: Client, configuration: AIConfiguration) -> None:
    page = admin_browser.post(page_of(configuration), {"question": " "})
    assert page.context["form"].errors
    assert not AIUsage.objects.exists()


def test_it_needs_the_permission_to_change_them(configuration: AIConfiguration) -> None:
    viewer = staff_browser("view_aiconfiguration")
    assert viewer.get(page_of(configuration)).status_code == 403
    assert viewer.post(page_of(configuration), {"question": "Is it so?"}).status_code == 403
    assert "Try it" not in viewer.get(address(AIConfiguration, "change", configuration.pk)).text
    changer = staff_browser("view_aiconfiguration", "change_aiconfiguration", name="changer")
    assert "Try it" in changer.get(address(AIConfiguration, "change", configuration.pk)).text
    assert changer.get(page_of(configuration)).status_code == 200
