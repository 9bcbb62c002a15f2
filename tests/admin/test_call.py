"""The queue of approvals: what waits, until when, and who may decide."""

from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client

from django_chatgpt.functions import function_registry
from django_chatgpt.models import AIFunctionCall
from tests.admin.makers import address, make_call

pytestmark = pytest.mark.django_db


def pay(note: str) -> str:
    """Pay somebody."""
    return note


@pytest.fixture(autouse=True)
def registry() -> Iterator[None]:
    yield
    function_registry.unregister("pay")


def listed(browser: Client, **query: str) -> Any:
    return browser.get(address(AIFunctionCall, "changelist"), query).context["cl"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({}, "the asker"),
        ({"approval_permission": "auth.delete_user"}, "whoever has auth.delete_user"),
        (
            {"approval_permission": "auth.delete_user", "self_approval": False},
            "whoever has auth.delete_user, but not the asker",
        ),
        (None, "nobody: the function is gone"),
    ],
)
def test_it_says_who_may_decide(
    options: dict[str, Any] | None, said: str, admin_browser: Client, user: User
) -> None:
    if options is not None:
        function_registry.register(pay, requires_approval=True, **options)
    call = make_call(user, 1)
    for page in (address(AIFunctionCall, "changelist"), address(AIFunctionCall, "change", call.pk)):
        assert f">{said}<" in admin_browser.get(page).text


def test_nobody_decides_what_is_decided(admin_browser: Client, user: User) -> None:
    function_registry.register(pay, requires_approval=True)
    call = make_call(user, 1)
    AIFunctionCall.objects.update(status=AIFunctionCall.Status.EXPIRED)
    assert "the asker" not in admin_browser.get(address(AIFunctionCall, "changelist")).text
    assert "the asker" not in admin_browser.get(address(AIFunctionCall, "change", call.pk)).text


def test_the_newest_comes_first_and_the_queue_is_a_filter(
    admin_browser: Client, user: User, other_user: User
) -> None:
    old, new = make_call(user, 1), make_call(other_user, 2)
    assert list(listed(admin_browser).result_list) == [new, old]
    AIFunctionCall.objects.filter(pk=new.pk).update(status=AIFunctionCall.Status.COMPLETED)
    assert list(listed(admin_browser, status__exact="awaiting_approval").result_list) == [old]


def test_a_search_finds_the_calls_of_a_user_a_turn_and_a_conversation(
    admin_browser: Client, user: User, other_user: User
) -> None:
    wanted, _other = make_call(user, 1), make_call(other_user, 2)
    for term in ("ada", "call_1", str(wanted.turn_id), str(wanted.turn.conversation_id)):
        assert list(listed(admin_browser, q=term).result_list) == [wanted]
