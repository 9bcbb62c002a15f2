"""The page on the content filter runs from the top, with the settings that it shows."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import override_settings

from django_chatgpt.testing import FakeOpenAI
from tests.docs.test_snippets import snippets

pytestmark = pytest.mark.django_db


def test_the_snippets_of_the_page_run(user: User, capsys: pytest.CaptureFixture[str]) -> None:
    given: dict[str, Any] = {"request": SimpleNamespace(user=user)}
    settings, asking, checking, classifier = snippets("how-to/content-filter.md")
    shown: dict[str, Any] = {}
    exec(settings, {}, shown)
    exec(classifier, {}, shown)
    with FakeOpenAI() as fake, fake.settings(**shown):
        exec(asking, given)
        fake.assert_nothing_asked()
        fake.script('{"on_topic": false}')
        exec(checking, given)
        assert [request.model for request in fake.requests] == [
            shown["OPENAI_MODERATION_MODEL"],
            shown["OPENAI_CLASSIFIER_MODEL"],
        ]
        with override_settings(OPENAI_CONTENT_FILTER=False):
            given["service"].validate_content("My password")
    first, second = capsys.readouterr().out.splitlines()
    assert first == "content_filter The text was refused by the content filter."
    assert second == "content_filter"
