"""The reference of the settings says what the code says, row by row, and its examples are accepted."""

import re
from pathlib import Path

import pytest
from django.test import override_settings

from django_chatgpt.conf import SETTINGS, Problem, Setting, conf

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "settings.md"
TEXT = PAGE.read_text(encoding="utf-8")
SNIPPETS = re.findall(r"^```python\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)


def row(setting: Setting[object]) -> str:
    default = f'"{setting.default}"' if isinstance(setting.default, str) else repr(setting.default)
    cells = f"`{setting.name}`", setting.form.type, f"`{default}`", setting.unit or "-", setting.meaning
    return f"| {' | '.join(cells)} |"


def test_the_table_has_a_row_for_each_setting_and_no_other() -> None:
    table = TEXT.split("\n| --- | --- | --- | --- | --- |\n")[1].split("\n\n")[0]
    assert table.splitlines() == [row(setting) for setting in SETTINGS.values()]


def test_the_environment_variables() -> None:
    table = TEXT.split("\n| --- | --- |\n")[1].split("\n\n")[0]
    assert table.splitlines() == [
        f"| `{setting.name}` | `{setting.env}` |" for setting in SETTINGS.values() if setting.env
    ]


def test_every_setting_that_is_spoken_of_exists() -> None:
    assert set(re.findall(r"\bOPENAI_[A-Z_]+", TEXT)) - {"OPENAI_ORG_ID"} == set(SETTINGS)


@pytest.mark.parametrize("snippet", SNIPPETS)
def test_example(snippet: str) -> None:
    names: dict[str, object] = {}
    exec(compile(snippet, str(PAGE), "exec"), names)
    chosen = {name: value for name, value in names.items() if name.startswith("OPENAI_")}
    with override_settings(**chosen):
        assert [SETTINGS[name].read() for name in chosen if isinstance(SETTINGS[name].read(), Problem)] == []
    if "seconds_until_given_up" in names:
        assert eval("seconds_until_given_up()", names) == conf.timeout * 5


def test_there_are_examples() -> None:
    assert len(SNIPPETS) == 6
