"""The model in the terminal, where standard output is no terminal: one question, pipes, exit codes."""

from __future__ import annotations

import io
import json
import os
import signal
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.db import DatabaseError
from pytest_django import Settings

from django_chatgpt.functions import function_registry
from django_chatgpt.management.terminal import turns
from django_chatgpt.models import AIConfiguration, AIConversation, AITurn
from django_chatgpt.testing import Answer, Call, Failure, FakeOpenAI

pytestmark = pytest.mark.django_db


class Typed(io.StringIO):
    """What a person types, on a terminal; once it is used up there is no more."""

    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def at_a_terminal(monkeypatch: pytest.MonkeyPatch, fake_openai: FakeOpenAI) -> None:
    monkeypatch.setattr(sys, "stdin", Typed())


def said(*arguments: str, **options: Any) -> tuple[str, str, int]:
    """What it wrote to its two outputs, and its exit code."""
    out, err = io.StringIO(), io.StringIO()
    try:
        call_command("chatgpt", *arguments, stdout=out, stderr=err, **options)
    except CommandError as error:
        return out.getvalue(), f"{err.getvalue()}{error}", error.returncode
    except SystemExit as end:
        return out.getvalue(), err.getvalue(), int(str(end.code))
    return out.getvalue(), err.getvalue(), 0


def test_one_question(fake_openai: FakeOpenAI, settings: Settings) -> None:
    settings.OPENAI_PRICES = {"gpt-6-luna": {"input": "1", "output": "1"}}
    fake_openai.reply("A **framework**.\n- for the web")
    out, err, code = said("What is Django?")
    assert (out, code) == ("A **framework**.\n- for the web\n", 0)
    assert "tokens, 0.0000" in err
    assert str(AIConversation.objects.get().pk) in err
    assert AIConversation.objects.get().user is None
    assert said("Again?", verbosity=0)[1] == ""


def test_a_cost_that_is_not_known_is_said_to_be_so() -> None:
    assert "cost unknown" in said("Hi", "--model", "own-model")[1]


def test_a_pipe_is_part_of_the_question(fake_openai: FakeOpenAI, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("Sales: 3\n"))
    said("Summarise:")
    assert fake_openai.calls[0].question == "Summarise:\n\nSales: 3"
    monkeypatch.setattr(sys, "stdin", io.StringIO("Who?\n"))
    said()
    assert fake_openai.calls[1].question == "Who?"


def test_a_pipe_that_is_too_long_or_no_text(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.OPENAI_MAX_MESSAGE_CHARS = 10
    monkeypatch.setattr(sys, "stdin", io.StringIO("x" * 11))
    assert said("Sum up")[1:] == (
        "What came through the pipe has more than 10 characters: OPENAI_MAX_MESSAGE_CHARS.",
        2,
    )
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"\xff\xfe\x00"), encoding="utf-8"))
    assert said("Sum up")[1:] == ("What came through the pipe is no text.", 2)


@pytest.mark.parametrize("stdin", [None, open(os.devnull)])  # noqa: SIM115 - closed with the process
def test_no_input_at_all(stdin: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", stdin)
    assert said("Hi")[0] == "You said: Hi\n"
    assert said()[2] == 2


def test_it_goes_on_with_a_conversation(fake_openai: FakeOpenAI, user: User, other_user: User) -> None:
    said("One", "--user", "ada")
    mine = AIConversation.objects.get(user=user)
    said("Two", "--user", "ada", "--conversation", "last")
    said("Three", "--user", "ada", "--conversation", str(mine.pk))
    assert fake_openai.calls[2].texts[-1] == "Three"
    assert len(fake_openai.calls[2].messages) == 5
    assert AIConversation.objects.count() == 1
    for named in (str(mine.pk), "nothing", "last"):
        _, err, code = said("Four", "--user", "bob", "--conversation", named)
        assert (err, code) == (f"There is no conversation {named!r} of this user.", 1)


def test_a_configuration_and_a_model(fake_openai: FakeOpenAI) -> None:
    AIConfiguration.objects.create(name="careful", model="gpt-6-sol", system_prompt="Doubt.")
    said("Hi", "--configuration", "careful")
    fake_openai.assert_asked(model="gpt-6-sol", contains="Doubt.")
    said("Hi", "--configuration", "careful", "--model", "gpt-6-luna")
    fake_openai.assert_asked(model="gpt-6-luna", contains="Doubt.")
    assert "no active configuration" in said("Hi", "--configuration", "other")[1]


@pytest.mark.parametrize(
    ("arguments", "problem", "code"),
    [
        (["Hi", "--user", "nobody"], "There is no user 'nobody'.", 1),
        (["  "], "The question is empty.", 2),
        ([], "Give a question", 2),
        (["--json"], "--json needs a question.", 2),
    ],
)
def test_what_makes_no_sense_is_said_kindly(arguments: list[str], problem: str, code: int) -> None:
    _, err, found = said(*arguments)
    assert problem in err
    assert found == code


def test_json(fake_openai: FakeOpenAI) -> None:
    fake_openai.reply("Paris.")
    out, _, code = said("Capital?", "--json")
    body = json.loads(out)
    assert code == 0
    assert (body["content"], body["finish_reason"], body["cost"]) == ("Paris.", "stop", None)
    assert body["conversation_id"] == str(AIConversation.objects.get().pk)
    fake_openai.script(Failure(401))
    out, _, code = said("Capital?", "--json")
    assert code == 1
    assert json.loads(out)["error"]["code"]


def test_a_failure_is_said_and_has_a_code(
    fake_openai: FakeOpenAI, settings: Settings, user: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.OPENAI_MAX_RETRIES = 0
    fake_openai.script(Answer("Half of", cut_after=1))
    out, err, code = said("Hi")
    assert code == 1
    assert out == "Half \n" or out.startswith("Half")
    assert "cut short" in err
    settings.OPENAI_API_KEY = None
    _, err, code = said("Hi")
    assert code == 1
    assert "chatgpt_doctor" in err
    user.is_active = False
    user.save()
    assert said("Hi", "--user", "ada")[1:] == ("You may not use this.", 1)

    def broken(*_: Any, **__: Any) -> None:
        raise DatabaseError("no such table")

    monkeypatch.setattr("django_chatgpt.services.chat.begin", broken)
    _, err, code = said("Hi")
    assert err.startswith("DatabaseError: --traceback shows where.")
    out, _, _ = said("Hi", "--json")
    assert json.loads(out)["error"]["code"] == "internal_error"
    with pytest.raises(DatabaseError):
        said("Hi", traceback=True)


def test_an_answer_that_is_cut_off_says_so(fake_openai: FakeOpenAI) -> None:
    fake_openai.reply("Half", finish="length")
    assert "OPENAI_MAX_TOKENS" in said("Hi")[1]


def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


@pytest.fixture
def functions() -> Iterator[None]:
    function_registry.register(add)
    function_registry.register(add, name="pay", requires_approval=True)
    yield
    function_registry.unregister("add")
    function_registry.unregister("pay")


def test_calls_are_shown_beside_the_answer(functions: None, fake_openai: FakeOpenAI) -> None:
    fake_openai.script(Answer("Let me see.", calls=[Call("add", {"a": 2, "b": 3})]), "It is 5.")
    out, err, _ = said("2 + 3?")
    assert out == "Let me see.\nIt is 5.\n"
    assert '-> add({"a":2,"b":3})\n<- 5\n' in err
    fake_openai.reply("No idea.")
    said("2 + 3?", "--no-functions")
    assert not fake_openai.calls[-1].tools


def test_a_call_is_decided_in_the_terminal(
    functions: None, fake_openai: FakeOpenAI, user: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    for typed, end, code in (("y", "It is 5.", 0), ("no", "Then not.", 0), ("later", "", 3)):
        monkeypatch.setattr("builtins.input", lambda prompt, typed=typed: typed)
        fake_openai.script(Answer("", calls=[Call("pay", {"a": 2, "b": 3})]), *([end] if end else []))
        out, err, found = said("Pay", "--user", "ada")
        assert (out.strip(), found) == (end, code)
        assert 'pay is to be called with\n{"a":2,"b":3}' in err
    assert "waits until somebody who may has agreed" in err
    results = [request.texts for request in fake_openai.calls]
    assert "5" in results[1]
    assert any("declined" in text for text in results[3])


def test_who_may_not_decide_is_not_asked(functions: None, fake_openai: FakeOpenAI, user: User) -> None:
    function_registry.unregister("pay")
    function_registry.register(
        add, name="pay", requires_approval=True, approval_permission="auth.delete_user"
    )
    fake_openai.script(Answer("", calls=[Call("pay", {"a": 2, "b": 3})]))
    assert said("Pay", "--user", "ada")[2] == 3
    assert AITurn.objects.get().status == "awaiting_approval"


def test_two_calls_and_nobody_at_the_keyboard_for_the_second(
    functions: None, fake_openai: FakeOpenAI, user: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = iter(["y"])

    def typed(prompt: str) -> str:
        try:
            return next(answers)
        except StopIteration:
            raise EOFError from None

    monkeypatch.setattr("builtins.input", typed)
    fake_openai.script(Answer("", calls=[Call("pay", {"a": 1, "b": 1}), Call("pay", {"a": 2, "b": 2})]))
    assert said("Pay", "--user", "ada")[2] == 3
    assert AITurn.objects.get().status == "awaiting_approval"


def test_a_turn_that_goes_on_elsewhere_is_followed(
    functions: None, fake_openai: FakeOpenAI, user: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("builtins.input", lambda prompt: "y")
    decide = turns.approvals.decide

    def elsewhere(*arguments: Any) -> AITurn:
        prepared = decide(*arguments)
        assert isinstance(prepared, turns.chat.Prepared)
        list(turns.chat.run(prepared))
        return AITurn.objects.get()

    monkeypatch.setattr(turns.approvals, "decide", elsewhere)
    fake_openai.script(Answer("", calls=[Call("pay", {"a": 2, "b": 3})]), "It is 5.")
    out, err, code = said("Pay", "--user", "ada")
    assert (out, code) == ("It is 5.\n", 0)
    assert err.count("-> pay") == 1


def test_ctrl_c_stops_the_turn_and_keeps_its_text(
    fake_openai: FakeOpenAI, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_openai.reply("One two three", stall_after=2)
    take = turns.Asking._take

    def press(self: Any, event: Any, outcome: Any) -> None:
        take(self, event, outcome)
        if outcome.text.startswith("One two") and not outcome.is_to_stop:
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(turns.Asking, "_take", press)
    before = signal.getsignal(signal.SIGINT)
    out, err, code = said("Count")
    assert signal.getsignal(signal.SIGINT) is before
    assert code == 130
    assert out.startswith("One two")
    assert "Stopped; what has arrived is kept." in err
    turn = AITurn.objects.get()
    assert turn.status == "cancelled"
    assert turn.conversation.messages.last().content.startswith("One two")


def test_ctrl_c_twice_leaves_at_once(fake_openai: FakeOpenAI, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_openai.reply("One two three", stall_after=2)
    take = turns.Asking._take

    def press(self: Any, event: Any, outcome: Any) -> None:
        take(self, event, outcome)
        if outcome.text.startswith("One two"):
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(turns.Asking, "_take", press)
    assert said("Count")[1:] == ("Interrupted; what had arrived is kept.", 130)
    assert not AITurn.objects.get().is_active


def test_without_a_main_thread_ctrl_c_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    before = signal.getsignal(signal.SIGINT)
    monkeypatch.setattr(turns.threading, "main_thread", lambda: None)
    with turns.interruptible(turns.Outcome()):
        assert signal.getsignal(signal.SIGINT) is before
