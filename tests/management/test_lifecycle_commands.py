"""The commands for those who run the site: prune, export, erase, report, costs."""

from __future__ import annotations

import io
import json
import os
import stat
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from django.contrib.auth import get_user_model
from django.core.management import CommandError, call_command
from pytest_django import Settings

from django_chatgpt.models import AIConversation
from tests.models import rows
from tests.services import words
from tests.services.test_retention import talk

if TYPE_CHECKING:
    from django.contrib.auth.models import User

pytestmark = pytest.mark.django_db


def said(*arguments: str) -> str:
    out, err = io.StringIO(), io.StringIO()
    call_command(*arguments, stdout=out, stderr=err)
    assert err.getvalue() == ""
    return out.getvalue()


class TestPrune:
    def test_by_the_options(self) -> None:
        talk(100)
        talk(40)
        told = said("chatgpt_prune", "--dry-run", "--delete-after", "90", "--archive-after", "30")
        assert "1 conversations would be deleted." in told
        assert AIConversation.active.count() == 2
        told = said("chatgpt_prune", "--delete-after", "90", "--archive-after", "30")
        assert told.splitlines() == [
            "0 turns ended.",
            "0 calls left to workers ended.",
            "0 rows of events deleted.",
            "0 calls left to workers deleted.",
            "1 conversations deleted.",
            "1 conversations archived.",
            "0 vectors deleted.",
            "0 memos of past budgets deleted.",
        ]

    def test_no_number_of_days(self) -> None:
        with pytest.raises(CommandError, match="days"):
            said("chatgpt_prune", "--delete-after", "-1")


class TestExport:
    def test_to_the_terminal(self, user: User) -> None:
        words.say_everywhere(user, "marmalade")
        for name in ("ada", str(user.pk)):
            assert json.loads(said("chatgpt_export", name))["user"]["username"] == "ada"

    def test_to_a_file_for_own_eyes(self, user: User, tmp_path: Path) -> None:
        words.say_everywhere(user, "marmalade")
        path = tmp_path / "ada.json"
        assert " rows written to " in said("chatgpt_export", "ada", "-o", str(path))
        assert json.loads(path.read_text())["messages"]
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert list(tmp_path.iterdir()) == [path]

    def test_nobody_takes_the_place_of_another_by_a_name(self, user: User) -> None:
        other = get_user_model().objects.create_user(str(user.pk))
        with pytest.raises(CommandError, match=f"name of user {other.pk} and the key of user 'ada'"):
            said("chatgpt_export", str(user.pk))
        for name, key in (("ada", user.pk), (str(other.pk), other.pk)):
            assert json.loads(said("chatgpt_export", name))["user"]["id"] == key

    def test_nothing_that_lies_in_its_way_is_written_to(self, user: User, tmp_path: Path) -> None:
        other, path = tmp_path / "other", tmp_path / "ada.json"
        other.write_text("of somebody else")
        link = tmp_path / f"ada.json.{os.getpid()}.part"
        link.symlink_to(other)
        with pytest.raises(CommandError, match="can't be written"):
            said("chatgpt_export", "ada", "-o", str(path))
        assert other.read_text() == "of somebody else"
        assert link.is_symlink()
        assert not path.exists()

    def test_what_can_not_be_done(self, user: User, tmp_path: Path) -> None:
        with pytest.raises(CommandError, match="There is no user 'nobody'"):
            said("chatgpt_export", "nobody")
        with pytest.raises(CommandError, match="can't be written"):
            said("chatgpt_export", "ada", "-o", str(tmp_path / "no" / "such.json"))


class TestErase:
    def test_first_what_there_is(self, user: User) -> None:
        words.say_everywhere(user, "marmalade")
        told = said("chatgpt_erase", "ada", "--dry-run")
        assert "4 messages" in told
        assert "1 usage (stay)" in told
        assert words.found("marmalade")

    def test_then_it_is_gone(self, user: User) -> None:
        words.say_everywhere(user, "marmalade")
        assert "1 conversations erased." in said("chatgpt_erase", "ada", "--yes", "--forget")
        assert words.found("marmalade") == []

    def test_not_without_being_told(self, user: User) -> None:
        with pytest.raises(CommandError, match="--yes"):
            said("chatgpt_erase", "ada")

    def test_somebody_who_goes_on_asking(self, user: User, monkeypatch: pytest.MonkeyPatch) -> None:
        words.run_on(user, "marmalade")
        monkeypatch.setattr("django_chatgpt.services.erase._stop", lambda *_: None)
        with pytest.raises(CommandError, match="goes on asking"):
            said("chatgpt_erase", "ada", "--yes")


class TestReport:
    def test_as_text_and_as_json(self, user: User) -> None:
        rows.usage(user=user, outcome="completed", total_tokens=7, estimated_cost=Decimal("0.5"))
        assert "1 request, 7 tokens, 0.5 USD" in said("chatgpt_report", "--days", "1")
        report = json.loads(said("chatgpt_report", "--user", "ada", "--json"))
        assert report["total"]["tokens"] == 7
        assert len(report["daily"]) == 30
        period = said("chatgpt_report", "--start", "2020-01-01", "--end", "2020-01-31")
        assert period.startswith("From 2020-01-01 to 2020-01-31: 0 requests")

    def test_no_period(self) -> None:
        with pytest.raises(CommandError, match="start"):
            said("chatgpt_report", "--start", "2020-01-01")


class TestCosts:
    def test_none(self) -> None:
        assert said("chatgpt_costs") == "There is no threshold.\n"

    def test_more_than_the_threshold(self, settings: Settings) -> None:
        settings.OPENAI_DAILY_COST_THRESHOLD = "0.10"
        settings.OPENAI_MONTHLY_COST_THRESHOLD = "10"
        rows.usage(outcome="completed", estimated_cost=Decimal("0.5"))
        day, month = said("chatgpt_costs").splitlines()
        assert day.endswith("0.5 USD of 0.10 USD, which is more; an alert was raised.")
        assert month.endswith("0.5 USD of 10 USD.")
