"""The page on caching runs from the top, and its figures are the code's."""

from types import SimpleNamespace
from typing import Any

import pytest
from django.contrib.auth.models import User

from django_chatgpt.conf import conf
from django_chatgpt.services import caching
from django_chatgpt.testing import FakeOpenAI
from tests.docs.test_snippets import DOCS, snippets

PAGE = "how-to/caching.md"


def test_the_snippets_run(user: User, fake_openai: FakeOpenAI, capsys: pytest.CaptureFixture[str]) -> None:
    given: dict[str, Any] = {"request": SimpleNamespace(user=user)}
    fake_openai.reply("Boil with joy.")
    for number, code in enumerate(snippets(PAGE)):
        exec(compile(code, f"{PAGE}, snippet {number + 1}", "exec", dont_inherit=True), given)
    assert capsys.readouterr().out.split() == ["True", "64", "1"]
    assert len(fake_openai.calls) == 1
    assert (given["OPENAI_ENABLE_CACHING"], given["OPENAI_CACHE_TTL"]) == (
        conf.enable_caching,
        conf.cache_ttl,
    )


def test_the_figures() -> None:
    text = (DOCS / PAGE).read_text(encoding="utf-8")
    assert f"above {caching.MAX_BYTES // 1024} KiB" in text
    assert "for ten seconds at most" in text
    assert caching.PATIENCE_SECONDS == 10
    assert "`web_search_options`" in text
    assert "web_search_options" in caching.UNCACHED
