"""The reference of the signals says what the code says."""

import logging
import re
from pathlib import Path

import pytest
from django.contrib.auth.models import User
from django.test import override_settings

from django_chatgpt import models, signals
from django_chatgpt.exceptions import ProviderUnavailableError
from django_chatgpt.services import AIService, breakers
from django_chatgpt.testing import FakeOpenAI

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


FIELDS = re.findall(
    r"^\| `(django_chatgpt\.\w+)` \| [^|]+ \| (.+) \|$",
    (PAGE.parents[1] / "how-to" / "observe.md").read_text(encoding="utf-8"),
    re.MULTILINE,
)


@pytest.mark.django_db
@override_settings(OPENAI_BREAKER_FAILURES=1)
def test_the_table_of_log_records_has_every_field(
    user: User, fake_openai: FakeOpenAI, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "django_chatgpt")
    fake_openai.script("Hello")
    AIService(user).ask("Hi")
    breakers.note(None, "m", ProviderUnavailableError(), accepted=False)
    usual = vars(logging.makeLogRecord({})).keys() | {"message", "asctime"}
    logged = {
        record.name: vars(record).keys() - usual
        for record in caplog.records
        if "django_chatgpt" in record.name
    }
    assert {name: set(re.findall(r"`(\w+)`", fields)) for name, fields in FIELDS} == logged
