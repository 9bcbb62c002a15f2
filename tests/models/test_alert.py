"""Alerts: raised, resolved, kept."""

from typing import TYPE_CHECKING

import pytest

from django_chatgpt.models import AIAlert
from tests.models import rows

if TYPE_CHECKING:
    from django.contrib.auth.models import User
    from pytest_django import DjangoAssertNumQueries

pytestmark = pytest.mark.django_db


def test_resolving_says_when_and_by_whom_in_one_query(
    user: "User", other_user: "User", django_assert_num_queries: "DjangoAssertNumQueries"
) -> None:
    AIAlert.objects.create(title="old").mark(resolved=True)
    done = AIAlert(title="done")
    done.mark(resolved=True, by=other_user)
    done.save()
    for number in range(3):
        AIAlert.objects.create(title=str(number))
    with django_assert_num_queries(1):
        assert AIAlert.objects.exclude(title="old").resolve(by=user) == 3
    done.refresh_from_db()
    assert done.resolved_by == other_user
    resolved = AIAlert.objects.filter(resolved_by=user)
    assert all(alert.is_resolved and alert.resolved_at and alert.updated_at for alert in resolved)
    assert [alert.title for alert in AIAlert.objects.unresolved()] == ["old"]


def test_it_can_be_opened_again(user: "User") -> None:
    alert = AIAlert(title="one")
    alert.mark(resolved=True, by=user)
    assert (alert.is_resolved, alert.resolved_by) == (True, user)
    alert.mark(resolved=False)
    assert (alert.is_resolved, alert.resolved_at, alert.resolved_by) == (False, None, None)


def test_it_outlives_whom_it_is_about(user: "User") -> None:
    alert = AIAlert.objects.create(title="one", user=user, conversation=rows.conversation(user=user))
    alert.mark(resolved=True, by=user)
    alert.save()
    user.delete()
    alert.refresh_from_db()
    assert (alert.user, alert.conversation, alert.resolved_by) == (None, None, None)
    assert alert.is_resolved
    assert str(alert) == "one"
