"""The Python on the pages runs, page by page, from the top."""

from __future__ import annotations

import os
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import pytest
from django.contrib.auth.models import User
from django.urls import include, path
from ninja import NinjaAPI

from django_chatgpt.core.ids import uuid7
from django_chatgpt.core.request import Endpoint, ModelRequest
from django_chatgpt.core.spec import TurnSpec
from django_chatgpt.models import AIConfiguration
from django_chatgpt.testing import FakeOpenAI

DOCS = Path(__file__).parents[2] / "docs"
PAGES = [
    "tutorial/install.md",
    "how-to/ask.md",
    "how-to/batch.md",
    "how-to/budgets.md",
    "how-to/export-and-erase.md",
    "how-to/pgvector.md",
    "how-to/change-embedding-model.md",
    "how-to/observe.md",
    "how-to/resilience.md",
    "how-to/reprice.md",
    "how-to/resume-and-stop.md",
    "how-to/retention.md",
    "how-to/search.md",
    "how-to/websockets.md",
    "reference/errors.md",
    "reference/http.md",
    "reference/signals.md",
    "explanation/why-generators.md",
]


def snippets(page: str) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```$", (DOCS / page).read_text(), re.MULTILINE | re.DOTALL)


def spec() -> TurnSpec:
    request = ModelRequest(Endpoint("sk-test"), "m", ({"role": "user", "content": "Hi"},))
    return TurnSpec(uuid7(), uuid7(), uuid7(), request, mock.Mock())


@pytest.mark.parametrize("page", PAGES)
def test_the_snippets_of_a_page_run(page: str, user: User) -> None:
    AIConfiguration.objects.create(name="careful", system_prompt="Doubt.")
    given: dict[str, Any] = {
        "request": SimpleNamespace(user=user),
        "spec": spec(),
        "os": os,
        "path": path,
        "include": include,
        "INSTALLED_APPS": [],
        "urlpatterns": [],
        "DATABASES": {"default": {}},
        "api": NinjaAPI(urls_namespace="docs"),
    }
    found = snippets(page)
    assert found
    with FakeOpenAI() as fake, fake.settings(), mock.patch.dict(os.environ, {"OPENAI_API_KEY": "sk-test"}):
        for number, code in enumerate(found):
            exec(compile(code, f"{page}, snippet {number + 1}", "exec"), given)
    for left in given.values():
        close = getattr(left, "close", None)
        if hasattr(left, "send") and close is not None and not isinstance(left, type):
            close()
