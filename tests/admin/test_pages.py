"""Each page of the admin opens, asks the database few questions, and lets nobody write what is recorded."""

from typing import TYPE_CHECKING

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Permission
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from django_chatgpt.models import (
    AIAlert,
    AIConversation,
    AIMessage,
    AITurn,
    AIUsage,
    EmbeddingScope,
    EmbeddingVector,
)
from tests.admin.makers import ADDED_BY_HAND, CHANGED_BY_HAND, DELETED_BY_HAND, MAKERS, address

if TYPE_CHECKING:
    from django.contrib.auth.models import User
    from django.db.models import Model

pytestmark = pytest.mark.django_db
every_table = pytest.mark.parametrize("model", MAKERS, ids=lambda model: model.__name__)


@every_table
def test_list_opens(model: "type[Model]", admin_browser: Client, user: "User") -> None:
    row = MAKERS[model](user, 1)
    answer = admin_browser.get(address(model, "changelist"))
    assert answer.status_code == 200
    assert str(row.pk) in answer.text
    assert "<b>Message" not in answer.text


@every_table
def test_list_asks_as_often_for_many_rows_as_for_few(model: "type[Model]", admin_browser: Client) -> None:
    def asked() -> list[str]:
        with CaptureQueriesContext(
            connection,
        ) as captured:
            admin_browser.get(address(model, "changelist"))
        return [query["sql"] for query in captured]

    users = [get_user_model().objects.create_user(f"user{number}") for number in range(8)]
    for user in users[:2]:
        MAKERS[model](user, 1)
    admin_browser.get(address(model, "changelist"))
    few = asked()
    for user in users[2:]:
        MAKERS[model](user, 2)
    many = asked()
    assert len(many) == len(few), many
    assert len(many) <= 9


@every_table
@pytest.mark.parametrize("term", ["ada", "1", "nothing like it", "' OR 1=1 --", "\U0001f986"])
def test_list_can_be_searched(model: "type[Model]", term: str, admin_browser: Client, user: "User") -> None:
    MAKERS[model](user, 1)
    assert admin_browser.get(address(model, "changelist"), {"q": term}).status_code == 200


@every_table
def test_a_search_for_a_key_finds_the_row(
    model: "type[Model]", admin_browser: Client, user: "User", other_user: "User"
) -> None:
    wanted, other = MAKERS[model](user, 1), MAKERS[model](other_user, 2)
    for term in (str(wanted.pk), f" {wanted.pk.hex.upper()} "):
        answer = admin_browser.get(address(model, "changelist"), {"q": term})
        assert str(wanted.pk) in answer.text
        assert str(other.pk) not in answer.text


@pytest.mark.parametrize("model", [AITurn, AIMessage, AIUsage, AIAlert], ids=lambda model: model.__name__)
def test_a_search_for_a_conversation_finds_what_belongs_to_it(
    model: "type[Model]", admin_browser: Client, user: "User", other_user: "User"
) -> None:
    wanted, other = MAKERS[model](user, 1), MAKERS[model](other_user, 2)
    answer = admin_browser.get(address(model, "changelist"), {"q": str(wanted.conversation_id)})
    assert str(wanted.pk) in answer.text
    assert str(other.pk) not in answer.text


@pytest.mark.parametrize(
    "model",
    [AIConversation, AITurn, AIUsage, EmbeddingScope, EmbeddingVector, AIAlert],
    ids=lambda model: model.__name__,
)
def test_a_search_for_a_user_finds_what_is_theirs(
    model: "type[Model]", admin_browser: Client, user: "User", other_user: "User"
) -> None:
    wanted, other = MAKERS[model](user, 1), MAKERS[model](other_user, 2)
    answer = admin_browser.get(address(model, "changelist"), {"q": "ada"})
    assert str(wanted.pk) in answer.text
    assert str(other.pk) not in answer.text


@every_table
def test_each_filter_works(model: "type[Model]", admin_browser: Client, user: "User") -> None:
    MAKERS[model](user, 1)
    answer = admin_browser.get(address(model, "changelist"))
    filters = answer.context["cl"].filter_specs
    choices = [choice for one in filters for choice in one.choices(answer.context["cl"])]
    assert choices or model._meta.model_name not in ("aiusage", "aimessage", "aiturn")
    for choice in choices:
        shown = admin_browser.get(address(model, "changelist") + choice["query_string"])
        assert shown.status_code == 200


@every_table
def test_row_opens(model: "type[Model]", admin_browser: Client, user: "User") -> None:
    row = MAKERS[model](user, 1)
    answer = admin_browser.get(address(model, "change", row.pk))
    assert answer.status_code == 200
    assert str(row.pk) in answer.text
    assert ('name="_save"' in answer.text) is (model in CHANGED_BY_HAND)
    assert "<b>Message" not in answer.text


@every_table
def test_a_row_that_is_not_there_is_said_to_be_missing(model: "type[Model]", admin_browser: Client) -> None:
    for key in ("not-a-key", "00000000-0000-7000-8000-000000000000"):
        assert admin_browser.get(address(model, "change", key)).status_code == 302


@every_table
def test_form_for_a_new_row_opens_where_rows_are_made_by_hand(
    model: "type[Model]", admin_browser: Client
) -> None:
    answer = admin_browser.get(address(model, "add"))
    assert answer.status_code == (200 if model in ADDED_BY_HAND else 403)
    if model not in ADDED_BY_HAND:
        assert admin_browser.post(address(model, "add"), {"metadata": "{}"}).status_code == 403
        assert not model._default_manager.exists()


@pytest.mark.parametrize(
    "model", [model for model in MAKERS if model not in CHANGED_BY_HAND], ids=lambda model: model.__name__
)
def test_what_is_recorded_cannot_be_changed(
    model: "type[Model]", admin_browser: Client, user: "User"
) -> None:
    row = MAKERS[model](user, 1)
    answer = admin_browser.post(address(model, "change", row.pk), {"metadata": '{"a": 1}'})
    assert answer.status_code == 403
    assert type(row)._default_manager.get(pk=row.pk).updated_at == row.updated_at


@every_table
def test_row_is_deleted_after_a_question(model: "type[Model]", admin_browser: Client, user: "User") -> None:
    row = MAKERS[model](user, 1)
    page = address(model, "delete", row.pk)
    expected = 200 if model in DELETED_BY_HAND else 403
    assert admin_browser.get(page).status_code == expected
    assert admin_browser.post(page, {"post": "yes"}).status_code == (302 if expected == 200 else 403)
    assert model._default_manager.filter(pk=row.pk).exists() is (model not in DELETED_BY_HAND)


@every_table
def test_several_rows_are_deleted_by_the_action(
    model: "type[Model]", admin_browser: Client, user: "User"
) -> None:
    row = MAKERS[model](user, 1)
    answer = admin_browser.post(
        address(model, "changelist"),
        {"action": "delete_selected", "_selected_action": [str(row.pk)], "post": "yes"},
    )
    assert answer.status_code in (200, 302)
    assert model._default_manager.filter(pk=row.pk).exists() is (model not in DELETED_BY_HAND)


@every_table
def test_history_opens(model: "type[Model]", admin_browser: Client, user: "User") -> None:
    row = MAKERS[model](user, 1)
    assert admin_browser.get(address(model, "history", row.pk)).status_code == 200


@every_table
def test_staff_without_permission_see_nothing(
    model: "type[Model]", user: "User", user_client: Client
) -> None:
    row = MAKERS[model](user, 1)
    user.is_staff = True
    user.save()
    for page in (
        address(model, "changelist"),
        address(model, "change", row.pk),
        address(model, "delete", row.pk),
    ):
        assert user_client.get(page).status_code == 403


@every_table
def test_staff_who_may_only_view_cannot_write(
    model: "type[Model]", user: "User", user_client: Client
) -> None:
    row = MAKERS[model](user, 1)
    user.is_staff = True
    user.save()
    user.user_permissions.add(Permission.objects.get(codename=f"view_{model._meta.model_name}"))
    assert user_client.get(address(model, "changelist")).status_code == 200
    answer = user_client.get(address(model, "change", row.pk))
    assert answer.status_code == 200
    assert 'name="_save"' not in answer.text
    assert user_client.post(address(model, "change", row.pk), {"metadata": "{}"}).status_code == 403
    assert user_client.get(address(model, "delete", row.pk)).status_code == 403


def test_a_user_with_everything_can_be_deleted(admin_browser: Client, user: "User") -> None:
    for number, make in enumerate(MAKERS.values()):
        make(user, number)
    page = reverse("admin:auth_user_delete", args=[user.pk])
    assert admin_browser.post(page, {"post": "yes"}).status_code == 302
    assert not get_user_model().objects.filter(pk=user.pk).exists()
    assert AIUsage.objects.count() == 1
