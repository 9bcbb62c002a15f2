"""The reference of the signals says what the code says."""

import re
from pathlib import Path

from django_chatgpt import models, signals

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "signals.md"
ROWS = re.findall(
    r"^\| `(\w+)` \| `(\w+)` \| [A-Z].+\. \| (.+) \|$", PAGE.read_text(encoding="utf-8"), re.MULTILINE
)


def test_the_table_has_a_row_for_each_signal_with_its_arguments() -> None:
    declared = {
        name: value.arguments
        for name, value in vars(signals).items()
        if isinstance(value, signals.Observation)
    }
    assert {name: tuple(re.findall(r"`(\w+)`", arguments)) for name, _, arguments in ROWS} == declared


def test_the_senders_exist() -> None:
    assert [sender for _, sender, _ in ROWS if sender != "None" and not hasattr(models, sender)] == []
