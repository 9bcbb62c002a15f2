"""The reference of the system checks lists what the code can say, and nothing else."""

import re
from pathlib import Path

from pytest_django import Settings

import django_chatgpt
from django_chatgpt.checks import CHECKS, check_settings

TEXT = (Path(__file__).parents[2] / "docs" / "reference" / "checks.md").read_text(encoding="utf-8")


def row(check: str) -> str:
    level = "Error" if ".E" in check else "Warning"
    meaning = re.sub(r"(OPENAI_[A-Z_]*)", r"`\1`", CHECKS[check])
    return f"| `{check}` | {level} | {meaning} |"


def test_the_table_has_a_row_for_each_check_and_no_other() -> None:
    table = TEXT.split("| --- | --- | --- |\n")[1].split("\n\n")[0]
    assert table.splitlines() == [row(check) for check in CHECKS]


def test_every_id_in_the_code_is_listed() -> None:
    sources = Path(django_chatgpt.__file__).parent.rglob("*.py")
    found = {
        name for path in sources for name in re.findall(r"django_chatgpt\.[EW]\d{3}", path.read_text("utf-8"))
    }
    assert found == set(CHECKS)


def test_the_messages_shown_are_real(settings: Settings) -> None:
    shown = TEXT.split("```text\n")[1].split("```")[0]
    settings.OPENAI_TIMEOUT = -1
    settings.OPENAI_KEY = "sk-1"
    assert shown == "".join(f"{message}\n" for message in check_settings())
