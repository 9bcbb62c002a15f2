"""What is particular to one table's pages: its form, its columns, its actions."""

from decimal import Decimal
from typing import TYPE_CHECKING

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from django_chatgpt.models import AIAlert, AIConfiguration, AIConversation, AIFunction, EmbeddingVector
from tests.admin.makers import address, make_alert, make_conversation
from tests.models import rows

if TYPE_CHECKING:
    from django.contrib.auth.models import User

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize(
    ("typed", "kept"),
    [
        ("", {}),
        ("null", {}),
        ('{"a": [1]}', {"a": [1]}),
        ("[]", None),
        ('"a"', None),
        ("{", None),
    ],
)
def test_metadata_is_an_object(typed: str, kept: object, admin_browser: Client) -> None:
    row = rows.conversation(metadata={"old": 1})
    answer = admin_browser.post(address(AIConversation, "change", row.pk), {"metadata": typed})
    row.refresh_from_db()
    if kept is None:
        assert set(answer.context["adminform"].form.errors) == {"metadata"}
        assert row.metadata == {"old": 1}
    else:
        assert answer.status_code == 302
        assert row.metadata == kept


def test_configuration_out_of_range_is_refused_by_name(admin_browser: Client) -> None:
    fields = {"name": "one", "temperature": "2.5", "max_tokens": "0", "metadata": "{}", "is_active": "on"}
    answer = admin_browser.post(address(AIConfiguration, "add"), fields)
    assert set(answer.context["adminform"].form.errors) == {"temperature", "max_tokens"}
    answer = admin_browser.post(
        address(AIConfiguration, "add"), {**fields, "temperature": "", "max_tokens": ""}
    )
    assert answer.status_code == 302
    assert AIConfiguration.objects.get().temperature is None


def test_conversation_keeps_its_totals(admin_browser: Client, user: "User") -> None:
    talk = rows.conversation(user=user, total_tokens=5, total_cost=Decimal("0.5"))
    posted = {"title": "Renamed", "user": user.pk, "total_tokens": "0", "total_cost": "0", "metadata": "{}"}
    assert admin_browser.post(address(AIConversation, "change", talk.pk), posted).status_code == 302
    talk.refresh_from_db()
    assert (talk.title, talk.is_active) == ("Renamed", False)
    assert (talk.total_tokens, talk.total_cost) == (5, Decimal("0.5"))


@pytest.mark.parametrize("column", range(8))
def test_conversations_can_be_sorted_by_each_column(column: int, admin_browser: Client, user: "User") -> None:
    make_conversation(user, 1)
    answer = admin_browser.get(address(AIConversation, "changelist"), {"o": f"-{column}"})
    assert answer.status_code == 200


def test_function_is_switched_off_and_stays_what_it_is(admin_browser: Client) -> None:
    function = AIFunction.objects.create(
        name="f", implementation="site.ai_functions.f", parameters_schema={"type": "object"}, usage_count=3
    )
    posted = {
        "name": "g",
        "implementation": "os.system",
        "parameters_schema": "{}",
        "usage_count": "0",
        "metadata": "{}",
    }
    assert admin_browser.post(address(AIFunction, "change", function.pk), posted).status_code == 302
    function.refresh_from_db()
    assert not function.is_active
    assert (function.name, function.implementation) == ("f", "site.ai_functions.f")
    assert (function.parameters_schema, function.usage_count) == ({"type": "object"}, 3)


def test_function_without_calls_has_no_rate(admin_browser: Client) -> None:
    AIFunction.objects.create(name="f")
    assert (
        "%"
        not in admin_browser.get(address(AIFunction, "changelist")).context["cl"].result_list[0].description
    )
    assert " %" not in admin_browser.get(address(AIFunction, "changelist")).text
    AIFunction.objects.create(name="g", usage_count=4, success_count=3)
    assert "75.0 %" in admin_browser.get(address(AIFunction, "changelist")).text


def test_alert_is_resolved_and_opened_again_by_its_form(admin_browser: Client, staff_user: "User") -> None:
    alert = AIAlert.objects.create(title="one")
    posted = {"title": "one", "severity": "error", "metadata": "{}"}
    before = timezone.now()
    assert (
        admin_browser.post(address(AIAlert, "change", alert.pk), {**posted, "is_resolved": "on"}).status_code
        == 302
    )
    alert.refresh_from_db()
    assert alert.resolved_by == staff_user
    assert alert.resolved_at is not None
    assert before <= alert.resolved_at <= timezone.now()
    assert admin_browser.post(address(AIAlert, "change", alert.pk), posted).status_code == 302
    alert.refresh_from_db()
    assert (alert.is_resolved, alert.resolved_at, alert.resolved_by) == (False, None, None)


def test_changing_an_alert_leaves_who_resolved_it(admin_browser: Client, user: "User") -> None:
    alert = AIAlert(title="one")
    alert.mark(resolved=True, by=user)
    alert.save()
    posted = {"title": "two", "severity": "error", "metadata": "{}", "is_resolved": "on"}
    admin_browser.post(address(AIAlert, "change", alert.pk), posted)
    alert.refresh_from_db()
    assert (alert.title, alert.resolved_by) == ("two", user)


def test_alerts_are_resolved_by_the_action(admin_browser: Client, staff_user: "User", user: "User") -> None:
    wanted = [make_alert(user, number) for number in range(2)]
    left = make_alert(user, 3)
    answer = admin_browser.post(
        address(AIAlert, "changelist"),
        {"action": "mark_resolved", "_selected_action": [str(alert.pk) for alert in wanted]},
        follow=True,
    )
    assert "2 alerts resolved." in answer.text
    assert set(AIAlert.objects.filter(resolved_by=staff_user)) == set(wanted)
    assert list(AIAlert.objects.unresolved()) == [left]


def test_vectors_are_not_loaded_for_the_list(admin_browser: Client, user: "User") -> None:
    rows.embedding(user=user)
    with CaptureQueriesContext(connection) as captured:
        admin_browser.get(address(EmbeddingVector, "changelist"))
    read = [query["sql"] for query in captured if "embedding_vector" in query["sql"]]
    assert read
    assert not [sql for sql in read if "`vector`" in sql or '"embedding_vector"."vector"' in sql]
