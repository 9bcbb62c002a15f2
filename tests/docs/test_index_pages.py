"""The pages about indexes, run on a model as they describe it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import pytest
from django.contrib.auth.models import User
from django.db import connection, models
from django.test.utils import isolate_apps

from django_chatgpt.functions import function_registry
from django_chatgpt.indexes import index_registry
from django_chatgpt.services import indexing
from django_chatgpt.services.freshness import refresher
from django_chatgpt.testing import FakeOpenAI
from tests.docs.test_snippets import snippets

PAGES = ["how-to/index-your-models.md", "how-to/sources.md"]


@pytest.fixture
def article(user: User) -> Iterator[type[models.Model]]:
    with isolate_apps("django_chatgpt", "django.contrib.auth"):

        class Article(models.Model):  # noqa: DJ008
            title = models.CharField(max_length=100)
            body = models.TextField()
            public = models.BooleanField(default=True)
            author = models.ForeignKey(User, models.CASCADE, related_name="+", db_constraint=False)

            objects: Any = models.Manager()

            class Meta:
                app_label = "django_chatgpt"

    with connection.schema_editor() as editor:
        editor.create_model(Article)
    yield Article
    with connection.schema_editor() as editor:
        editor.delete_model(Article)


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("page", PAGES)
def test_the_snippets_of_a_page_run(
    page: str, article: Any, user: User, fake_openai: FakeOpenAI, capsys: pytest.CaptureFixture[str]
) -> None:
    article.objects.create(title="Returns", body="Send it back within 30 days.", author=user)
    article.objects.create(title="Draft", body="Send it back never.", author=user, public=False)
    given: dict[str, Any] = {"request": SimpleNamespace(user=user)}
    first, *rest = snippets(PAGES[0])
    rest = rest if page == PAGES[0] else snippets(page)
    fake_openai.script("Within 30 days [1].")
    try:
        with mock.patch.dict(sys.modules, {"blog.models": SimpleNamespace(Article=article)}):
            exec(compile(first, page, "exec"), given)
        assert not given["articles"].problems
        indexing.build(given["articles"], lambda number: None)
        for number, code in enumerate(rest):
            exec(compile(code, f"{page}, snippet {number + 2}", "exec"), given)
    finally:
        assert refresher.join(20)
        index_registry.unregister("articles")
        function_registry.unregister("search_articles")
    shown = capsys.readouterr().out
    assert "Returns" in shown
    assert "Draft" not in shown


def test_the_pages_name_commands_options_and_verbs_that_exist() -> None:
    text = (Path(__file__).parents[2] / "docs" / PAGES[0]).read_text(encoding="utf-8")
    for option in (
        "--dry-run",
        "--stale",
        "`chunk_tokens` (400)",
        "`overlap` (50)",
        "per_object",
        "background",
    ):
        assert option in text
