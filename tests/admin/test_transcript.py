"""A conversation is read as what it was: in turns, with calls, costs and errors, by those who may."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from django_chatgpt.admin.transcript import PER_PAGE, pretty
from django_chatgpt.models import (
    AIAlert,
    AIConversation,
    AIFunctionCall,
    AIFunctionJob,
    AIMessage,
    AITurn,
    AIUsage,
)
from tests.admin.makers import address
from tests.admin.staff import staff_browser
from tests.models import rows

pytestmark = pytest.mark.django_db


def page_of(talk: AIConversation) -> str:
    return address(AIConversation, "transcript", talk.pk)


def tool_call(call_id: str, name: str, arguments: Any) -> dict[str, Any]:
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": json.dumps(arguments)}}


@pytest.fixture
def talk(user: User) -> AIConversation:
    talk = rows.conversation(user=user, title="Lamps")
    turn = rows.turn(talk, user=user, status="completed", options={"model": "gpt-6-luna"})
    rows.message(talk, 1, turn=turn, content="How many <b>lamps</b>?")
    called = [tool_call("c1", "stock", {"of": "lamps"}), tool_call("c2", "deliveries", {})]
    rows.message(
        talk,
        2,
        turn=turn,
        role="assistant",
        content="Let me look.",
        tool_calls=called,
        metadata={"edited_arguments": {"c1": '{"of": "chairs"}'}},
    )
    AIFunctionCall.objects.create(
        turn=turn,
        call_id="c1",
        name="stock",
        arguments="{}",
        status="completed",
        duration_ms=43,
        decided_by=user,
    )
    rows.message(talk, 3, turn=turn, role="tool", content="fourteen", tool_call_id="c1")
    rows.message(talk, 4, turn=turn, role="tool", content="tomorrow", tool_call_id="c2", status="failed")
    rows.message(
        talk, 5, turn=turn, role="assistant", content="14.", token_count=7, estimated_cost=Decimal("0.0004")
    )
    rows.usage(turn=turn, total_tokens=900, estimated_cost=Decimal("0.5"), outcome="completed")
    rows.usage(turn=turn, total_tokens=100, estimated_cost=None, outcome="failed")
    return talk


def test_it_shows_what_was_said_called_and_paid(admin_browser: Client, talk: AIConversation) -> None:
    text = admin_browser.get(page_of(talk)).text
    assert "How many &lt;b&gt;lamps&lt;/b&gt;?" in text
    assert "<b>lamps" not in text
    assert text.index("Let me look.") < text.index("chairs") < text.index("fourteen") < text.index("14.")
    assert text.count("fourteen") == 1
    assert "43 ms" in text
    assert "decided by ada" in text
    assert "tomorrow" in text
    assert "1,000 tokens" in text
    assert "$0.50 and 1 of unknown cost" in text
    assert "$0.0004" in text


def test_what_the_model_wrote_is_shown_as_it_meant_it_and_does_no_harm(
    admin_browser: Client, user: User
) -> None:
    talk = rows.conversation(user=user)
    rows.message(talk, 1, content="*as typed* <i>")
    rows.message(talk, 2, role="assistant", content="**bold** <script>alert(1)</script> [x](javascript:1)")
    text = admin_browser.get(page_of(talk)).text
    assert "<strong>bold</strong>" in text
    assert "*as typed* &lt;i&gt;" in text
    assert "<script>alert" not in text
    assert 'href="javascript' not in text


def test_it_shows_how_a_turn_has_failed_and_what_there_is_of_one_that_runs(
    admin_browser: Client, user: User
) -> None:
    talk = rows.conversation(user=user)
    failed = rows.turn(
        talk, user=user, status="failed", error_code="oh_no", error_message="It was <i>late</i>."
    )
    rows.message(talk, 1, turn=failed)
    runs = rows.turn(talk, user=user, status="running", partial_text="It is <i>ear</i>")
    rows.message(talk, 2, turn=runs)
    text = admin_browser.get(page_of(talk)).text
    assert "oh_no" in text
    assert "It was &lt;i&gt;late&lt;/i&gt;." in text
    assert "It is &lt;i&gt;ear&lt;/i&gt;" in text


def test_texts_are_for_those_who_may_view_messages(talk: AIConversation) -> None:
    blind = staff_browser("view_aiconversation").get(page_of(talk))
    assert blind.status_code == 200
    for hidden in ("fourteen", "chairs", "14.<", "How many", "Let me"):
        assert hidden not in blind.text
    assert "stock" in blind.text
    reading = staff_browser("view_aiconversation", "view_aimessage", name="reader").get(page_of(talk))
    assert "fourteen" in reading.text


def test_it_is_for_those_who_may_view_conversations(talk: AIConversation, user_client: Client) -> None:
    assert staff_browser("view_aimessage").get(page_of(talk)).status_code == 403
    assert user_client.get(page_of(talk)).status_code == 302
    talk.delete()
    assert staff_browser("view_aiconversation", name="other").get(page_of(talk)).status_code == 404


def test_a_long_conversation_comes_in_pages_of_as_many_queries(admin_browser: Client, user: User) -> None:
    talk = rows.conversation(user=user)

    def say(first: int, last: int) -> None:
        for number in range(first, last, 2):
            turn = rows.turn(talk, user=user, status="completed")
            rows.message(talk, number, turn=turn, content=f"question {number}.")
            rows.message(talk, number + 1, turn=turn, role="assistant", content="answer")
            rows.usage(turn=turn, outcome="completed")
            AIFunctionCall.objects.create(
                turn=turn, call_id="c", name="f", status="completed", decided_by=user
            )

    def asked(**query: int) -> tuple[str, int]:
        with CaptureQueriesContext(connection) as captured:
            text = admin_browser.get(page_of(talk), query).text
        return text, len(captured)

    say(1, 3)
    asked()
    _, few = asked()
    say(3, PER_PAGE + 11)
    text, many = asked()
    assert many == few
    assert "question 1." in text
    assert f"question {PER_PAGE + 1}." not in text
    text, _ = asked(page=2)
    assert "question 1." not in text
    assert f"question {PER_PAGE + 1}." in text


def test_old_and_odd_messages_are_shown(admin_browser: Client, user: User) -> None:
    talk = rows.conversation(user=user)
    rows.message(talk, 1, role="system", content="Be kind.")
    rows.message(talk, 2, role="assistant", content="", function_call={"name": "old", "arguments": "{broken"})
    rows.message(talk, 3, role="function", content="of old")
    rows.message(talk, 4, role="assistant", content="", tool_calls=[{"odd": 1}, tool_call("x", "new", 5)])
    rows.message(talk, 5, role="tool", content="to nobody", tool_call_id="lost")
    AIMessage.objects.filter(sequence=5).update(metadata=[1])
    text = admin_browser.get(page_of(talk)).text
    for shown in ("Be kind.", "{broken", "of old", "new", "to nobody"):
        assert shown in text


def test_an_empty_one_says_so(admin_browser: Client, user: User) -> None:
    assert "Nothing has been said yet." in admin_browser.get(page_of(rows.conversation(user=user))).text


@pytest.mark.parametrize(
    ("arguments", "shown"),
    [('{"a":1}', '{\n  "a": 1\n}'), ("{", "{"), ({"a": "ü"}, '{\n  "a": "ü"\n}'), (None, "null")],
)
def test_arguments_are_laid_out(arguments: Any, shown: str) -> None:
    assert pretty(arguments) == shown


def test_a_summary_is_hidden_with_what_it_sums_up(user: User) -> None:
    talk = rows.conversation(user=user, metadata={"history_summary": {"text": "a secret", "covers": 3}})
    page = address(AIConversation, "change", talk.pk)
    rights = ("view_aiconversation", "change_aiconversation")
    changer = staff_browser(*rights)
    assert "a secret" not in changer.get(page).text
    changer.post(page, {"title": "Chairs", "user": user.pk, "is_active": "on"})
    talk.refresh_from_db()
    assert (talk.title, talk.metadata["history_summary"]["text"]) == ("Chairs", "a secret")
    assert "a secret" in staff_browser(*rights, "view_aimessage", name="reader").get(page).text


def test_titles_are_for_those_who_may_view_conversations_or_messages(user: User) -> None:
    talk = rows.conversation(user=user, title="How do I hide a secret?")
    turn = rows.turn(talk, user=user, status="completed")
    used = rows.usage(user=user, conversation=talk, turn=turn, outcome="completed")
    alert = AIAlert.objects.create(severity="info", title="Look", conversation=talk, user=user)
    rights = ("view_aiturn", "view_aiusage", "view_aialert")
    blind = staff_browser(*rights)
    changer = staff_browser(*rights, "change_aialert", name="changer")
    knowing = [staff_browser(*rights, each, name=each) for each in ("view_aiconversation", "view_aimessage")]
    for model, key in ((AITurn, turn.pk), (AIUsage, used.pk), (AIAlert, alert.pk)):
        page = address(model, "change", key)
        for reader in (blind, changer):
            text = reader.get(page).text
            assert "a secret" not in text
            assert text.count(str(talk.pk)) >= 1
        assert all("a secret" in reader.get(page).text for reader in knowing)
    turns = address(AITurn, "changelist")
    assert "a secret" not in blind.get(turns).text
    assert str(talk.pk) in blind.get(turns).text
    assert "a secret" in knowing[0].get(turns).text
    changer.post(
        address(AIAlert, "change", alert.pk), {"title": "Look", "severity": "info", "metadata": "{}"}
    )
    alert.refresh_from_db()
    assert alert.conversation_id == talk.pk


def test_what_people_have_written_is_hidden_on_other_pages_too(user: User) -> None:
    turn = rows.turn(rows.conversation(user=user), user=user, status="running", partial_text="a secret")
    call = AIFunctionCall.objects.create(turn=turn, call_id="c", name="f", arguments='{"of": "a secret"}')
    job = AIFunctionJob.objects.create(
        user=user, name="f", arguments='{"of": "a secret"}', result='"a secret"'
    )
    rights = ("view_aiturn", "view_aifunctioncall", "view_aifunctionjob")
    blind = staff_browser(*rights)
    reader = staff_browser(*rights, "view_aimessage", name="reader")
    for page in (
        address(AIFunctionJob, "change", job.pk),
        address(AITurn, "change", turn.pk),
        address(AIFunctionCall, "change", call.pk),
        address(AIFunctionCall, "changelist"),
    ):
        assert "a secret" not in blind.get(page).text
        assert "a secret" in reader.get(page).text
