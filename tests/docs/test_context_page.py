"""The page on the context window says what the code says."""

import re

from django.test import override_settings

from django_chatgpt.conf import conf
from django_chatgpt.core.limits import DEFAULT_WINDOW, LONGEST_ANSWERS
from django_chatgpt.services.context import ALLOWANCE
from django_chatgpt.storage.history import WRITTEN_BACK
from tests.docs.test_snippets import DOCS, snippets

PAGE = "explanation/context.md"
TEXT = (DOCS / PAGE).read_text(encoding="utf-8")


def test_the_longest_answers() -> None:
    table = TEXT.split("\n| --- | --- |\n")[1].split("\n\n")[0]
    assert table.splitlines() == [f"| `{model}` | {most:,} |" for model, most in LONGEST_ANSWERS.items()]


def test_the_figures() -> None:
    assert f"else {DEFAULT_WINDOW:,} tokens" in TEXT
    assert f"{WRITTEN_BACK} of them at a time" in TEXT
    assert f"{conf.token_buffer} tokens, for what" in TEXT
    assert ALLOWANCE == 8
    assert "an eighth of the window" in TEXT


def test_the_window_can_be_set() -> None:
    names: dict[str, object] = {}
    exec(snippets(PAGE)[0], names)
    with override_settings(OPENAI_CONTEXT_WINDOW=names["OPENAI_CONTEXT_WINDOW"]):
        assert conf.context_window == {"smollm2": 6000}


def test_every_setting_that_is_spoken_of_exists() -> None:
    from django_chatgpt.conf import SETTINGS

    assert set(re.findall(r"\bOPENAI_[A-Z_]+", TEXT)) <= set(SETTINGS)
