"""The command that holds the totals against the ledger."""

from __future__ import annotations

import io
import threading
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.db import connection, connections
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from pytest_django import Settings

from django_chatgpt.models import AIBudget, AIConversation, AITurn, AIUsage
from django_chatgpt.services import AIService
from django_chatgpt.storage import audit
from django_chatgpt.testing import Answer, FakeOpenAI, Usage
from tests.models import rows

pytestmark = pytest.mark.django_db

IN_ORDER = "0 conversations differ from the ledger, 0 reservations are held for nobody.\n"


def said(*arguments: str) -> str:
    out, err = io.StringIO(), io.StringIO()
    call_command("chatgpt_ledger", *arguments, stdout=out, stderr=err)
    assert err.getvalue() == ""
    return out.getvalue()


def talk_of(tokens: int, cost: str, *, says: tuple[int, str] | None = None) -> AIConversation:
    """A conversation with two rows in the ledger; `says` are its totals where they are others."""
    total_tokens, total_cost = says or (tokens, cost)
    talk = rows.conversation(total_tokens=total_tokens, total_cost=Decimal(total_cost))
    half = Decimal(cost) / 2
    for amount in (half, Decimal(cost) - half):
        rows.usage(conversation=talk, outcome="completed", total_tokens=tokens // 2, estimated_cost=amount)
    return talk


class TestTotals:
    def test_in_order(self, user: User, fake_openai: FakeOpenAI, settings: Settings) -> None:
        settings.OPENAI_PRICES = {"gpt-6-luna": {"input": "0.1", "output": "0.5"}}
        AIService(user).ask("Hi")
        rows.conversation()
        talk = talk_of(20, "0.3")
        rows.usage(conversation=talk, outcome="interrupted")
        assert said() == said("--check") == IN_ORDER
        assert said("--rebuild") == "0 conversations mended, 0 reservations released.\n"

    @pytest.mark.parametrize("says", [(19, "0.3"), (20, "0.30000001"), (0, "0"), (20, "0")])
    def test_a_total_that_is_not_the_sum(self, says: tuple[int, str]) -> None:
        talk_of(8, "0.1")
        wrong = talk_of(20, "0.3", says=says)
        used = wrong.updated_at
        with pytest.raises(CommandError, match=r"^1 conversations differ .*--rebuild mends them") as failure:
            said()
        assert failure.value.returncode == 1
        answer = said("--rebuild").splitlines()
        assert answer[0].startswith(f"{wrong.pk} has {says[0]} tokens and ")
        assert answer[0].endswith("the ledger 20 and 0.300000000000")
        assert answer[1] == "1 conversations mended, 0 reservations released."
        wrong.refresh_from_db()
        assert (wrong.total_tokens, wrong.total_cost) == (20, Decimal("0.3"))
        assert wrong.updated_at == used
        assert said() == IN_ORDER

    def test_one_without_any_row(self) -> None:
        wrong = rows.conversation(total_tokens=3, total_cost=1)
        said("--rebuild")
        wrong.refresh_from_db()
        assert (wrong.total_tokens, wrong.total_cost) == (0, 0)

    def test_sums_of_fractions(self) -> None:
        talk = rows.conversation()
        for _ in range(300):
            cost = Decimal("0.000123456789")
            rows.usage(conversation=talk, outcome="completed", total_tokens=1, estimated_cost=cost)
        AIConversation.objects.update(total_tokens=300, total_cost=Decimal("0.0370370367"))
        assert said() == IN_ORDER

    def test_only_the_first_are_shown(self) -> None:
        for _ in range(22):
            talk_of(2, "1", says=(2, "2"))
        lines = said("--rebuild").splitlines()
        assert len(lines) == 22
        assert lines[20:] == ["... and 2 more.", "22 conversations mended, 0 reservations released."]

    def test_one_query_for_a_batch(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(audit, "BATCH", 4)

        def queries() -> int:
            with CaptureQueriesContext(connection) as captured:
                assert said() == IN_ORDER
            return len(captured)

        none = queries()
        for number in range(12):
            talk_of(2, "1")
            assert queries() == none + 1 + number // 4
        AIConversation.objects.update(total_cost=5)
        with pytest.raises(CommandError, match=r"^12 conv"):
            said()
        assert said("--rebuild").splitlines()[-1].startswith("12 conversations mended")
        assert said() == IN_ORDER

    def test_both_at_once_are_refused(self) -> None:
        with pytest.raises(CommandError, match="not allowed with"):
            said("--check", "--rebuild")


class TestReservations:
    """What is held needs somebody who holds it."""

    @staticmethod
    def held(turn: AITurn | None, minutes: int = 5, **fields: Any) -> AIUsage:
        until = timezone.now() + timedelta(minutes=minutes)
        talk = turn and turn.conversation
        return rows.usage(turn=turn, conversation=talk, reserved_cost=1, reserved_until=until, **fields)

    @staticmethod
    def turn(status: str, minutes: int = 5) -> AITurn:
        until = timezone.now() + timedelta(minutes=minutes)
        return rows.turn(rows.conversation(), status=status, lease_expires_at=until)

    def test_live_ones(self) -> None:
        self.held(None)
        self.held(self.turn("running"))
        self.held(self.turn("running"), outcome="completed")
        self.held(self.turn("running"), minutes=-5)
        self.held(self.turn("queued"))
        assert said() == IN_ORDER
        said("--rebuild")
        assert AIUsage.objects.filter(reserved_cost=1).count() == 5

    def test_stray_ones(self) -> None:
        strays = [
            self.held(None, minutes=-1),
            self.held(None, outcome="completed"),
            self.held(self.turn("completed")),
            self.held(self.turn("failed"), outcome="failed"),
            self.held(self.turn("awaiting_approval"), outcome="completed"),
            self.held(self.turn("running", minutes=-1)),
            rows.usage(reserved_cost=1),
        ]
        with pytest.raises(CommandError, match=r"^0 conversations .* 7 reservations are held for nobody"):
            said()
        assert said("--rebuild") == "0 conversations mended, 7 reservations released.\n"
        assert len(strays) == 7
        assert not AIUsage.objects.exclude(reserved_cost=None, reserved_until=None).exists()
        assert AITurn.objects.filter(status="interrupted").count() == 1
        assert said() == IN_ORDER

    def test_budgets_add_up_anew(self) -> None:
        start = timezone.now() - timedelta(days=1)
        for number in range(3):
            AIBudget.objects.create(
                key=f"user:{number}:day:x", starts_at=start, settled_before=timezone.now(), settled_cost=4
            )
        said("--rebuild")
        assert set(AIBudget.objects.values_list("settled_cost", "settled_before")) == {(0, start)}


@pytest.mark.django_db(transaction=True)
def test_what_is_settled_while_it_mends_is_not_lost(fake_openai: FakeOpenAI, settings: Settings) -> None:
    settings.OPENAI_PRICES = {"gpt-6-luna": {"input": "1000000", "output": "1000000"}}
    fake_openai.respond_with(lambda request: Answer("Hello", usage=Usage(8, 3)))
    user = User.objects.create_user("ada")
    talks = [rows.conversation(user=user) for _ in range(3)]
    start = threading.Barrier(4, timeout=20)
    errors: list[BaseException] = []
    done = threading.Event()

    def ask(talk: AIConversation) -> None:
        try:
            start.wait()
            for _ in range(5):
                AIService(user).ask("Hi", conversation=talk, use_functions=False)
        except BaseException as error:
            errors.append(error)
        finally:
            connections.close_all()

    def mend() -> None:
        try:
            start.wait()
            while not done.is_set():
                # Something to mend each time: the totals are a hundred too much.
                AIConversation.objects.filter(pk=talks[0].pk).update(total_tokens=100)
                said("--rebuild")
        except BaseException as error:
            errors.append(error)
        finally:
            connections.close_all()

    asking = [threading.Thread(target=ask, args=(talk,)) for talk in talks]
    mending = threading.Thread(target=mend)
    for thread in [*asking, mending]:
        thread.start()
    for thread in asking:
        thread.join(60)
    done.set()
    mending.join(60)
    assert errors == []
    assert said() == IN_ORDER
    assert set(AIConversation.objects.values_list("total_tokens", "total_cost")) == {(55, 55)}
