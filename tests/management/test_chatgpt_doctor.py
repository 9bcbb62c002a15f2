"""The command that says what is misconfigured."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from pytest_django import Settings

from django_chatgpt.services import doctor
from django_chatgpt.testing import FakeOpenAI

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("fine")]

PAGE = (Path(__file__).parents[2] / "docs" / "how-to" / "doctor.md").read_text(encoding="utf-8")


@pytest.fixture
def fine(fake_openai: FakeOpenAI, settings: Settings) -> None:
    settings.OPENAI_PRICES = {"gpt-6-luna": {"input": "1", "output": "1"}}


def said(*arguments: str, **options: Any) -> tuple[str, str]:
    out, err = io.StringIO(), io.StringIO()
    call_command("chatgpt_doctor", *arguments, stdout=out, stderr=err, **options)
    return out.getvalue(), err.getvalue()


def test_a_site_in_good_health() -> None:
    out, err = said("--server", "asgi")
    assert "ok       vocabulary: Tokens are counted exactly." in out
    assert err == "0 errors, 0 warnings.\n"
    assert max(map(len, out.splitlines())) <= 100


def test_what_is_worst_comes_first_and_says_how_to_mend_it(settings: Settings) -> None:
    settings.OPENAI_TIMEOUT = -1
    settings.OPENAI_RATE_LIMITS = {"user": "1/m"}
    out = io.StringIO()
    with pytest.raises(CommandError, match="1 error, 1 warning\\.") as caught:
        call_command("chatgpt_doctor", "--offline", stdout=out)
    assert caught.value.returncode == 1
    lines = out.getvalue().splitlines()
    assert lines[0].startswith("error    settings: OPENAI_TIMEOUT is -1")
    assert "         -> Use Redis or Memcached as the default cache: CACHES in the settings." in lines


def test_as_json_for_scripts(settings: Settings) -> None:
    settings.OPENAI_API_KEY = "sk-secret-0123456789"
    out, _ = said("--json")
    body = json.loads(out)
    assert {each["id"] for each in body} == {each.id for each in doctor.DIAGNOSES}
    assert {*body[0]} == {"id", "level", "what", "why", "mend"}
    assert "sk-secret" not in out


@pytest.mark.parametrize(
    ("level", "fails"), [("never", False), ("error", False), ("warning", True), ("info", True)]
)
def test_what_fails_is_chosen(level: str, fails: bool, settings: Settings) -> None:
    settings.OPENAI_RATE_LIMITS = {"user": "1/m"}
    try:
        said("--offline", "--fail-level", level, verbosity=0)
    except CommandError:
        assert fails
    else:
        assert not fails


def test_quietly_only_what_is_wrong_is_said(settings: Settings) -> None:
    assert said("--offline", verbosity=0)[0] == ""


def test_the_page_names_every_subject() -> None:
    table = PAGE.partition("## What it looks at")[2]
    assert re.findall(r"^\| `([a-z-]+)` \|", table, re.MULTILINE) == [each.id for each in doctor.DIAGNOSES]
