"""The pages on approvals and on answers with a form run from the top, against a model that plays along."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client

from django_chatgpt.models import AIFunctionCall
from django_chatgpt.testing import Answer, Call, FakeOpenAI
from tests.docs.test_snippets import snippets

pytestmark = pytest.mark.django_db

TICKET = '{"subject": "Broken kettle", "urgency": "high", "products": ["kettle"]}'
CARD = {"recipient": "Grace", "greeting": "Hello"}


def approvals(fake: FakeOpenAI) -> None:
    fake.script(Answer(calls=[Call("send_postcard", CARD)]), Answer("It is on its way."))


def structured_output(fake: FakeOpenAI) -> None:
    fake.script(TICKET, "No.", "Still no.", Answer(TICKET, chunks=8))


def check_approvals(given: dict[str, Any], said: str) -> None:
    call = AIFunctionCall.objects.get()
    assert (call.status, call.decided_by) == ("completed", given["request"].user)
    assert "Wish you were here" in call.arguments


def check_structured_output(given: dict[str, Any], said: str) -> None:
    *growing, last = said.splitlines()
    assert growing[0] == "Still no."
    assert "Broken kettle" in growing
    assert last == "high"


@pytest.mark.parametrize(
    ("page", "play", "check"),
    [
        ("how-to/approvals.md", approvals, check_approvals),
        ("how-to/structured-output.md", structured_output, check_structured_output),
    ],
)
def test_the_snippets_of_a_page_run(
    page: str,
    play: Callable[[FakeOpenAI], None],
    check: Callable[[dict[str, Any], str], None],
    user: User,
    user_client: Client,
    capsys: pytest.CaptureFixture[str],
) -> None:
    given: dict[str, Any] = {"request": SimpleNamespace(user=user), "browser": user_client}
    with FakeOpenAI() as fake, fake.settings():
        play(fake)
        for number, code in enumerate(snippets(page)):
            exec(compile(code, f"{page}, snippet {number + 1}", "exec", dont_inherit=True), given)
        fake.assert_script_used()
    check(given, capsys.readouterr().out)
