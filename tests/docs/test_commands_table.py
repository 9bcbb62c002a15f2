"""The reference of the commands names those that there are."""

import re
from pathlib import Path

from django.core.management import get_commands, load_command_class

TEXT = (Path(__file__).parents[2] / "docs" / "reference" / "commands.md").read_text(encoding="utf-8")


def test_the_table_has_each_command_and_no_other() -> None:
    ours = {name for name, app in get_commands().items() if app == "django_chatgpt"}
    assert set(re.findall(r"^\| `(\w+)", TEXT, re.MULTILINE)) == ours


def test_the_options_that_are_named_exist() -> None:
    for name, shown in re.findall(r"^\| `(\w+)([^`]*)`", TEXT, re.MULTILINE):
        parser = load_command_class("django_chatgpt", name).create_parser("manage.py", name)
        assert set(re.findall(r"--[a-z-]+", shown)) <= set(parser._option_string_actions)
