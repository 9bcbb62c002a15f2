"""What the pages about limits and tenants show works as they say."""

from __future__ import annotations

import re
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from pytest_django import Settings

from django_chatgpt import adapter
from django_chatgpt.conf import RateLimit, conf
from django_chatgpt.exceptions import InvalidRequestError
from django_chatgpt.models import AITurn
from django_chatgpt.services import AIService
from django_chatgpt.testing import FakeOpenAI

DOCS = Path(__file__).parents[2] / "docs" / "how-to"


def snippet(page: str, number: int = 0) -> dict[str, Any]:
    """What the names of a snippet stand for once it has run."""
    found = re.findall(r"^```python\n(.*?)^```$", (DOCS / page).read_text(), re.MULTILINE | re.DOTALL)
    names: dict[str, Any] = {"__name__": "shop.ai"}
    exec(compile(found[number], page, "exec"), names)
    return names


def test_the_limits(settings: Settings) -> None:
    settings.OPENAI_RATE_LIMITS = snippet("limits.md")["OPENAI_RATE_LIMITS"]
    assert conf.rate_limits == (
        RateLimit("user", 20, 60),
        RateLimit("group:trial", 50, 86_400),
        RateLimit("site", 1000, 3600),
    )


def test_the_adapter(
    user: User, settings: Settings, fake_openai: FakeOpenAI, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = snippet("tenants.md")["ShopAdapter"]

    class Local(shop):  # type: ignore[misc]
        """The same, with the address of a server that is there."""

        def endpoint(self, user: Any, tenant: str = "") -> Any:
            found = super().endpoint(user, tenant)
            return adapter.Endpoint(found.api_key, fake_openai.base_url, None, "chat")

    monkeypatch.setattr(adapter, "get_adapter", Local)
    monkeypatch.setattr("django_chatgpt.services.access.get_adapter", Local)
    monkeypatch.setattr("django_chatgpt.services.chat.get_adapter", Local)
    user.last_name = "globex"
    fake_openai.reply("It flies.")
    AIService(user).ask("How is Project Nightingale?")
    [call] = fake_openai.calls
    assert call.carried("sk-globex")
    assert call.texts == ["How is the project?"]
    assert AITurn.objects.get().options["tenant"] == "globex"
    with pytest.raises(InvalidRequestError, match="gpt-6-luna"):
        AIService(user).ask("Hi", model="gpt-6-sol")
    assert snippet("tenants.md", 1)["OPENAI_ADAPTER"] == f"{shop.__module__}.{shop.__name__}"


def test_the_thrifty_one(user: User) -> None:
    thrifty = snippet("tenants.md", 2)["Thrifty"]
    thrifty.share_used = lambda self, user: self.used
    chosen = []
    for used in ("0.49", "0.5", "0.95"):
        thrifty.used = Decimal(used)
        chosen.append(thrifty().model_for(user, "gpt-6-sol"))
    assert chosen == ["gpt-6-sol", "gpt-6-terra", "gpt-6-luna"]


def test_every_question_of_the_adapter_is_listed() -> None:
    listed = re.findall(r"^\| `(\w+)\(", (DOCS / "tenants.md").read_text(), re.MULTILINE)
    asked = [name for name, each in vars(adapter.Adapter).items() if callable(each) and name[0] != "_"]
    assert listed == asked
