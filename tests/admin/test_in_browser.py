"""The admin in a browser: light, dark and on a telephone, under a strict policy; pictures for the docs.

With DJANGO_CHATGPT_SCREENSHOTS=1 the pictures in docs/screenshots are taken anew.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.models import User
from django.test import Client
from pytest_django.live_server_helper import LiveServer

from django_chatgpt.functions import function_registry
from django_chatgpt.models import (
    AIAlert,
    AIBudget,
    AIConversation,
    AIFunction,
    AIFunctionCall,
    AITurn,
    AIUsage,
)
from django_chatgpt.testing import Answer, FakeOpenAI
from tests.admin import lamp_shop
from tests.admin.makers import address

playwright = pytest.importorskip("playwright.sync_api")

pytestmark = [pytest.mark.chromium, pytest.mark.sqlite_only, pytest.mark.django_db(transaction=True)]

PICTURES = Path(__file__).resolve().parents[2] / "docs" / "screenshots"
SHOWN = ("transcript", "usage", "approval")
LOOKS: dict[str, dict[str, Any]] = {
    "light": {"viewport": {"width": 1100, "height": 760}, "color_scheme": "light"},
    "dark": {"viewport": {"width": 1100, "height": 760}, "color_scheme": "dark"},
    "phone": {"viewport": {"width": 390, "height": 844}, "color_scheme": "light"},
}


def reserve(article: str, pieces: int, customer: str) -> str:
    """Reserve pieces of an article for a customer.

    Args:
        article: Its name.
        pieces: How many.
        customer: For whom.
    """
    return "reserved"


@pytest.fixture
def shop(settings: Any) -> Iterator[AIFunctionCall]:
    """The shop's rows; the call that waits."""
    settings.OPENAI_BUDGETS = [
        {"scope": "user", "period": "month", "limit": "2"},
        {"scope": "site", "period": "month", "limit": "5"},
    ]
    settings.OPENAI_PRICES = {"gpt-6-luna": {"input": "0.1", "output": "0.5"}}
    settings.OPENAI_MAX_TOKENS = 300
    users: list[User] = [
        get_user_model().objects.create_user(name) for name in ("ada", "bob", "chandra", "dorothee", "emil")
    ]
    lamp_shop.ledger(users)
    lamp_shop.fittings()
    function_registry.register(reserve, requires_approval=True, approval_permission="auth.delete_user")
    yield lamp_shop.talk(users[0])
    function_registry.unregister("reserve")


@pytest.fixture
def staff_cookie(staff_user: User) -> str:
    browser = Client()
    browser.force_login(staff_user)
    return browser.cookies["sessionid"].value


@pytest.fixture
def server(settings: Any, transactional_db: None) -> Iterator[str]:
    """A server whose answers go with a strict Content-Security-Policy."""
    settings.MIDDLEWARE = ["tests.admin.strict_policy.strict", *settings.MIDDLEWARE]
    started = LiveServer("localhost")
    yield started.url
    started.stop()


@pytest.fixture
def look(shop: AIFunctionCall, staff_cookie: str, server: str) -> Iterator[Callable[[str], Any]]:
    """A page of a browser in which a superuser is logged in, by the name of its look.

    What the browser complains of fails the test.
    """
    complaints: list[str] = []
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])

        def open_page(name: str) -> Any:
            context = browser.new_context(base_url=server, **LOOKS[name])
            context.add_cookies([{"name": "sessionid", "value": staff_cookie, "url": server}])
            page = context.new_page()
            page.on("console", lambda said: complaints.append(said.text) if is_complaint(said) else None)
            page.on("pageerror", lambda error: complaints.append(str(error)))
            return page

        yield open_page
        browser.close()
    assert complaints == []


def is_complaint(said: Any) -> bool:
    """Whether the browser's console has an error that is ours; it asks every site for an icon."""
    return said.type == "error" and not said.location.get("url", "").endswith("/favicon.ico")


def addresses(call: AIFunctionCall, look: str) -> dict[str, str]:
    """The pages of ours, by the names of their pictures; the lists too, where there is least room."""
    pages = {
        "transcript": address(AIConversation, "transcript", call.turn.conversation_id),
        "usage": address(AIUsage, "report") + "?period=90",
        "approval": address(AIFunctionCall, "decide", call.pk),
        "budgets": address(AIBudget, "now"),
    }
    lists = (AIAlert, AIConversation, AIFunction, AIFunctionCall, AITurn, AIUsage)
    return pages | ({each.__name__: address(each, "changelist") for each in lists} if look == "phone" else {})


def test_every_page_fits_and_obeys_the_policy(look: Callable[[str], Any], shop: AIFunctionCall) -> None:
    for name in LOOKS:
        page = look(name)
        for title, where in addresses(shop, name).items():
            answer = page.goto(where, wait_until="load")
            assert answer.status == 200, where
            assert "default-src 'self'" in answer.headers["content-security-policy"]
            assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"), (name, where)
            if title == "usage":
                assert charts_shown(page, "dark" if name == "dark" else "light") == 3
            if name == "light" and title in SHOWN and os.environ.get("DJANGO_CHATGPT_SCREENSHOTS") == "1":
                PICTURES.mkdir(exist_ok=True)
                page.screenshot(path=PICTURES / f"admin-{title}.png")


def charts_shown(page: Any, theme: str) -> int:
    """How many charts of a theme are drawn, once they are."""
    charts = page.locator(f".ai-chart img.ai-{theme}").element_handles()
    for chart in charts:
        chart.scroll_into_view_if_needed()
        page.wait_for_function("each => each.complete && each.naturalWidth > 0", arg=chart)
    page.evaluate("window.scrollTo(0, 0)")
    return len(charts)


def test_a_call_is_declined_with_the_keyboard_alone(
    look: Callable[[str], Any], shop: AIFunctionCall, fake_openai: FakeOpenAI
) -> None:
    fake_openai.script(Answer("As you like."))
    page = look("light")
    page.goto(address(AIFunctionCall, "decide", shop.pk))
    page.get_by_label("Arguments").focus()
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.name") == "deny"
    with page.expect_navigation():
        page.keyboard.press("Enter")
    assert "Denied." in page.locator(".messagelist").inner_text()
