"""Long tables: counted no further than anybody looks, searched by indexes, written where they changed."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.db.models import F
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from django_chatgpt.admin import paging
from django_chatgpt.admin.paging import BoundedPaginator
from django_chatgpt.models import AIAlert, AIConversation, AIFunction, AIFunctionCall, AITurn, AIUsage
from tests.admin.makers import MAKERS, address, make_alert, make_conversation, make_turn
from tests.admin.staff import staff_browser
from tests.models import rows

if TYPE_CHECKING:
    from django.db.models import Model

pytestmark = pytest.mark.django_db


def test_counting_stops(admin_browser: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(4):
        rows.usage(total_tokens=number)
    monkeypatch.setattr(paging, "COUNTED", 3)
    assert (
        "More than 3: counting stopped there."
        in admin_browser.get(address(AIUsage, "changelist"), {"kind__exact": "chat"}).text
    )
    monkeypatch.setattr(paging, "COUNTED", 4)
    text = admin_browser.get(address(AIUsage, "changelist"), {"kind__exact": "chat"}).text
    assert "counting stopped" not in text


def test_counting_leaves_out_what_the_list_adds_up(user: User) -> None:
    make_conversation(user, 1)
    with CaptureQueriesContext(connection) as captured:
        assert BoundedPaginator(AIConversation.objects.with_message_count().order_by("pk"), 10).count == 1
    assert "ai_message" not in captured[-1]["sql"]
    assert BoundedPaginator([1, 2, 3], 2).count == 3


@pytest.mark.postgres
def test_a_whole_table_of_postgresql_is_estimated(
    admin_browser: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(6):
        rows.usage()
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE ai_usage")
    monkeypatch.setattr(paging, "COUNTED", 3)
    assert "About 6, as the database estimates." in admin_browser.get(address(AIUsage, "changelist")).text
    assert "More than 3" in admin_browser.get(address(AIUsage, "changelist"), {"kind__exact": "chat"}).text
    monkeypatch.setattr(paging, "COUNTED", 10)
    assert BoundedPaginator(AIUsage.objects.order_by("pk"), 10).count == 6


@pytest.mark.parametrize("model", MAKERS, ids=lambda model: model.__name__)
def test_no_list_reads_a_table_to_know_its_filters(model: type[Model], admin_browser: Client) -> None:
    with CaptureQueriesContext(connection) as captured:
        admin_browser.get(address(model, "changelist"))
    small = ("ai_function", "embedding_scope", "embedding_job", "django_", "auth_")
    distinct = [each["sql"] for each in captured if "DISTINCT" in each["sql"]]
    assert all(any(f'"{name}' in sql or f"`{name}" in sql for name in small) for sql in distinct)


@pytest.mark.parametrize(
    ("value", "shown"), [("-", "the site itself"), ("999999", "nobody"), ("ada", "ada"), ("x", "nobody")]
)
def test_the_chosen_user_is_named(value: str, shown: str, admin_browser: Client, user: User) -> None:
    chosen = str(user.pk) if value == "ada" else value
    found = admin_browser.get(address(AIUsage, "changelist"), {"user": chosen}).context["cl"]
    [spec] = [each for each in found.filter_specs if each.title == "user"]
    assert str(list(spec.choices(found))[1]["display"]) == shown


def test_the_models_of_the_ledger_are_found_one_by_one(admin_browser: Client) -> None:
    for model in ("b", "a", "b", "c"):
        rows.usage(model=model)
    answer = admin_browser.get(address(AIUsage, "changelist"))
    [spec] = [each for each in answer.context["cl"].filter_specs if each.title == "model"]
    assert [value for value, _ in spec.lookup_choices] == ["a", "b", "c"]


def test_saving_a_form_leaves_what_moved_meanwhile(
    admin_browser: Client, user: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    talk = rows.conversation(user=user)
    function = AIFunction.objects.create(name="f")

    def count(*args: object, **kwargs: object) -> None:
        AIConversation.objects.update(total_tokens=F("total_tokens") + 5)
        AIFunction.objects.update(usage_count=F("usage_count") + 1)

    from django_chatgpt.admin.base import TableAdmin

    original = TableAdmin.save_model

    def slow(self: object, *args: object) -> None:
        count()
        original(self, *args)  # type: ignore[arg-type]

    monkeypatch.setattr(TableAdmin, "save_model", slow)
    admin_browser.post(
        address(AIConversation, "change", talk.pk), {"title": "New", "user": user.pk, "metadata": "{}"}
    )
    admin_browser.post(address(AIFunction, "change", function.pk), {"metadata": "{}"})
    talk.refresh_from_db()
    function.refresh_from_db()
    assert (talk.title, talk.total_tokens > 0) == ("New", True)
    assert (function.is_active, function.usage_count > 0) == (False, True)


def switched(browser: Client, function: AIFunction, *, on: bool) -> int:
    data = {
        "form-TOTAL_FORMS": "1",
        "form-INITIAL_FORMS": "1",
        "form-0-id": str(function.pk),
        "_save": "Save",
        **({"form-0-is_active": "on"} if on else {}),
    }
    return browser.post(address(AIFunction, "changelist"), data).status_code


def test_functions_are_switched_in_the_list(admin_browser: Client, user: User) -> None:
    function = AIFunction.objects.create(name="f", average_response_time_ms=1200.0)
    call = AIFunctionCall.objects.create(turn=make_turn(user, 1), call_id="c", name="f", status="completed")
    text = admin_browser.get(address(AIFunction, "changelist")).text
    assert "1.2 s" in text
    for page in (address(AIFunction, "changelist"), address(AIFunction, "change", function.pk)):
        found = admin_browser.get(page)
        assert "imported or executed" in found.text or page.endswith("aifunction/")
        assert found.text.count("a.m.") + found.text.count("p.m.") + found.text.count("noon") >= 1
    assert call.created_at
    assert switched(admin_browser, function, on=False) == 302
    function.refresh_from_db()
    assert not function.is_active
    viewer = staff_browser("view_aifunction")
    switched(viewer, function, on=True)
    function.refresh_from_db()
    assert not function.is_active


def stop(browser: Client, *turns: AITurn) -> object:
    return browser.post(
        address(AITurn, "changelist"),
        {"action": "stop", "_selected_action": [str(turn.pk) for turn in turns]},
        follow=True,
    )


def test_turns_are_stopped_and_stuck_ones_ended(user: User) -> None:
    now = timezone.now()
    runs = rows.turn(
        rows.conversation(user=user), user=user, status="running", lease_expires_at=now + timedelta(minutes=1)
    )
    stuck = rows.turn(
        rows.conversation(user=user), user=user, status="running", lease_expires_at=now - timedelta(hours=1)
    )
    over = rows.turn(rows.conversation(user=user), user=user, status="completed")
    browser = staff_browser("view_aiturn", "change_aiturn")
    listed = browser.get(address(AITurn, "changelist"), {"state": "stuck"}).context["cl"]
    assert list(listed.result_list) == [stuck]
    active = browser.get(address(AITurn, "changelist"), {"state": "active"}).context["cl"]
    assert set(active.result_list) == {runs, stuck}
    answer = stop(browser, runs, stuck, over)
    assert "2 turns were told to stop." in answer.text  # type: ignore[attr-defined]
    for turn in (runs, stuck, over):
        turn.refresh_from_db()
    assert runs.cancel_requested_at is not None
    assert stuck.status == "interrupted"
    assert (over.status, over.cancel_requested_at) == ("completed", None)


def test_no_more_turns_are_stopped_at_once_than_a_request_has_time_for(
    admin_browser: Client, user: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    from django_chatgpt.admin import turn as turns

    monkeypatch.setattr(turns, "MOST_STOPPED", 1)
    lease = timezone.now() + timedelta(minutes=1)
    run = [
        rows.turn(rows.conversation(user=user), user=user, status="running", lease_expires_at=lease)
        for _ in range(2)
    ]
    answer = stop(admin_browser, *run)
    assert "1 turn was told to stop." in answer.text  # type: ignore[attr-defined]
    assert "There are more" in answer.text  # type: ignore[attr-defined]
    assert AITurn.objects.exclude(cancel_requested_at=None).count() == 1


def test_stopping_needs_the_permission_to_change_turns(user: User) -> None:
    turn = rows.turn(rows.conversation(user=user), user=user, status="running")
    stop(staff_browser("view_aiturn"), turn)
    turn.refresh_from_db()
    assert turn.cancel_requested_at is None


def test_alerts_are_counted_and_opened_again(admin_browser: Client, user: User) -> None:
    wanted, other = make_alert(user, 1), make_alert(user, 2)
    AIAlert.objects.all().resolve(by=user)
    assert "0 unresolved" in admin_browser.get(address(AIAlert, "changelist")).text
    answer = admin_browser.post(
        address(AIAlert, "changelist"),
        {"action": "mark_unresolved", "_selected_action": [str(wanted.pk)]},
        follow=True,
    )
    assert "1 alert opened again." in answer.text
    assert "1 unresolved" in answer.text
    wanted.refresh_from_db()
    other.refresh_from_db()
    assert (wanted.is_resolved, wanted.resolved_at, wanted.resolved_by) == (False, None, None)
    assert other.resolved_by == user
    viewer = staff_browser("view_aialert")
    viewer.post(
        address(AIAlert, "changelist"), {"action": "mark_resolved", "_selected_action": [str(wanted.pk)]}
    )
    wanted.refresh_from_db()
    assert not wanted.is_resolved


def test_many_unresolved_alerts_are_not_all_counted(
    admin_browser: Client, user: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    from django_chatgpt.admin import alert

    monkeypatch.setattr(alert, "COUNTED", 1)
    make_alert(user, 1)
    make_alert(user, 2)
    assert "more than 1 unresolved" in admin_browser.get(address(AIAlert, "changelist")).text
