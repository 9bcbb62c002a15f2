"""An index says what is wrong with it, and what its objects are called and made of."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Group, User
from django.contrib.sessions.models import Session
from django.core.checks import Error
from django.db import models
from django.test.utils import isolate_apps

from django_chatgpt.exceptions import InvalidRequestError
from django_chatgpt.indexes import Index, index_registry
from django_chatgpt.indexes.checks import check_indexes
from django_chatgpt.indexes.problems import (
    BAD_KEY,
    BAD_NAME,
    BAD_OPTION,
    BAD_SOURCE,
    BAD_TEXT,
    DUPLICATE,
)
from django_chatgpt.models import AIConfiguration
from tests.indexes.conftest import Register, add

GROUPS = Group.objects.all()


@pytest.mark.parametrize(
    ("check", "arguments"),
    [
        (BAD_NAME, {"name": "two words"}),
        (BAD_NAME, {"name": ""}),
        (BAD_SOURCE, {"source": "auth.Group"}),
        (BAD_SOURCE, {"source": GROUPS[:5]}),
        (BAD_SOURCE, {"source": GROUPS.union(GROUPS)}),
        (BAD_SOURCE, {"source": GROUPS.values("name")}),
        (BAD_TEXT, {"fields": None}),
        (BAD_TEXT, {"text": str}),
        (BAD_TEXT, {"fields": "name"}),
        (BAD_TEXT, {"fields": []}),
        (BAD_TEXT, {"fields": ["title"]}),
        (BAD_TEXT, {"fields": None, "text": "name"}),
        (BAD_OPTION, {"chunk_tokens": 0}),
        (BAD_OPTION, {"chunk_tokens": 9000}),
        (BAD_OPTION, {"chunk_tokens": True}),
        (BAD_OPTION, {"overlap": 400}),
        (BAD_OPTION, {"overlap": -1}),
        (BAD_OPTION, {"for_user": GROUPS}),
    ],
)
def test_what_is_wrong_is_named(check: str, arguments: dict[str, Any]) -> None:
    index = Index(**{"name": "groups", "source": Group, "fields": ["name"], **arguments})
    assert [problem.check for problem in index.problems] == [check]


@pytest.mark.parametrize(
    "arguments",
    [
        {"fields": ["name"]},
        {"text": lambda group: group.name},
        {"source": GROUPS, "fields": ["name"], "chunk_tokens": 1, "overlap": 0},
        {"source": Session, "fields": ["session_data"]},
        {
            "source": AIConfiguration,
            "fields": ["name"],
            "for_user": lambda user: AIConfiguration.objects.all(),
        },
        {"source": User, "fields": ["is_anonymous", "username"]},
        {"source": LogEntry, "fields": ["change_message"]},
    ],
)
def test_what_is_right_is_not(arguments: dict[str, Any]) -> None:
    assert Index(**{"name": "groups", "source": Group, **arguments}).problems == ()


@isolate_apps("tests.indexes")
def test_keys_that_can_not_be_told_as_text_are_an_error() -> None:
    class Day(models.Model):  # noqa: DJ008
        date = models.DateField(primary_key=True)

        class Meta:
            app_label = "indexes"

    class Page(models.Model):  # noqa: DJ008
        address = models.CharField(max_length=1000, primary_key=True)

        class Meta:
            app_label = "indexes"

    class Draft(Page):  # noqa: DJ008
        class Meta:
            app_label = "indexes"

    for model in (Day, Page, Draft):
        index = Index("pages", model, fields=["pk"])
        assert [problem.check for problem in index.problems] == [BAD_KEY]


def test_the_checks_tell_of_them_and_such_an_index_is_not_searched(register: Register) -> None:
    register("groups", Group, fields=["name"])
    register("groups", User, fields=["username"])
    register("bad", Group, fields=["title"])
    told = [each for each in check_indexes() if isinstance(each, Error) and each.id in (DUPLICATE, BAD_TEXT)]
    assert [each.id for each in told] == [BAD_TEXT, DUPLICATE]
    assert told[0].msg == "Index 'bad' has a field 'title', and Group has none."
    assert index_registry.get("groups").model is Group
    assert [each.name for each in index_registry.indexes] == ["groups"]
    for unknown in ("bad", "none"):
        with pytest.raises(InvalidRequestError, match=r"index: must be one of groups\."):
            index_registry.get(unknown)


def test_without_any_it_says_so() -> None:
    with pytest.raises(InvalidRequestError, match="registered; there is none yet"):
        index_registry.get("groups")


@pytest.mark.django_db
def test_the_text_is_that_of_the_fields_that_have_some() -> None:
    index = Index("prompts", AIConfiguration, fields=["name", "top_p", "system_prompt", "is_active"])
    assert index.text_of(add("Plain ", " be plain\n")) == "Plain\n\nbe plain\n\nTrue"
    shouted = Index("prompts", AIConfiguration, text=lambda row: row.name.upper())
    assert shouted.text_of(add("loud")) == "LOUD"


@pytest.mark.django_db
@pytest.mark.parametrize("model", [Group, AIConfiguration, Session])
def test_the_database_tells_keys_as_python_does(model: Any) -> None:
    index = Index("any", model, fields=["pk"])
    if model is Session:
        row = Session.objects.create(session_key="Aé-1", expire_date="2027-01-01T00:00Z")
    else:
        row = model.objects.create(name="a")
    [(key,)] = index.rows().values_list(index.key_expression)
    assert key == index.key_of(row)
    assert index.pk_of(key) == row.pk
    assert index.rows().get(pk=index.pk_of(key)) == row
    assert repr(index) == "<Index any>"


def test_a_text_cut_in_another_way_has_another_hash() -> None:
    one, other = (Index("groups", Group, fields=["name"], chunk_tokens=size) for size in (100, 200))
    assert one.hash_of("a") == one.hash_of("a") != other.hash_of("a")
