"""The command that brings indexes up to date."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.core.management import CommandError, call_command
from pytest_django import Settings

from django_chatgpt.indexes import Index, index_registry, register_index
from django_chatgpt.models import EmbeddingVector, IndexedObject
from django_chatgpt.services.freshness import unwatch
from django_chatgpt.testing import Failure, FakeOpenAI
from tests.management.test_chatgpt_vectors import Terminal

pytestmark = pytest.mark.django_db


@pytest.fixture
def index() -> Iterator[Index]:
    made = register_index("groups", Group, fields=["name"])
    yield made
    unwatch(made)
    index_registry.unregister(made.name)


@pytest.fixture
def groups(index: Index, fake_openai: FakeOpenAI) -> None:
    for name in ("lions hunt", "cats sleep"):
        Group.objects.create(name=name)


def said(*arguments: str) -> list[str]:
    out, err = io.StringIO(), io.StringIO()
    call_command("chatgpt_index", *arguments, stdout=out, stderr=err)
    assert err.getvalue() == ""
    return out.getvalue().splitlines()


PLANNED = (
    "groups: 2 objects, 2 new or changed, 0 gone. "
    "2 passages to embed, 5 tokens, {} by text-embedding-3-small."
)


def test_it_says_what_it_costs_and_does_it(groups: None, settings: Settings) -> None:
    settings.OPENAI_PRICES = {"text-embedding-3-small": {"input": "0.02"}}
    planned = PLANNED.format("about 0.0000001 USD")
    assert said("--dry-run") == [planned]
    assert not EmbeddingVector.objects.exists()
    assert said() == [planned, "groups: 2 done, 0 taken out, 0 failed."]
    assert said("groups")[1] == "groups: 0 done, 0 taken out, 0 failed."
    Group.objects.filter(name="cats sleep")._raw_delete("default")
    assert said()[1] == "groups: 0 done, 1 taken out, 0 failed."


def test_a_price_that_is_not_known_is_said_to_be(groups: None) -> None:
    assert said("--dry-run") == [PLANNED.format("at a price that is not known")]


def test_only_what_was_saved(groups: None) -> None:
    assert said("--stale") == ["groups: 2 done, 0 taken out, 0 failed."]
    Group.objects.bulk_create([Group(name="not noticed")])
    assert said("--stale") == ["groups: 0 done, 0 taken out, 0 failed."]
    with pytest.raises(CommandError, match="give it without --stale"):
        said("--stale", "--dry-run")


def test_failures_are_counted(groups: None, fake_openai: FakeOpenAI) -> None:
    fake_openai.when(endpoint="embeddings", contains="lions").always(Failure(400, param="input"))
    with pytest.raises(CommandError, match="1 objects could not be embedded"):
        said()
    assert EmbeddingVector.objects.get().content == "cats sleep"
    assert IndexedObject.objects.exclude(error="").count() == 1


def test_a_provider_that_can_not_be_reached_is_told(
    groups: None, fake_openai: FakeOpenAI, settings: Settings
) -> None:
    settings.OPENAI_MAX_RETRIES = 0
    fake_openai.when(endpoint="embeddings").always(Failure(401))
    with pytest.raises(CommandError, match="run this again"):
        said()


def test_without_an_index_it_says_so() -> None:
    with pytest.raises(CommandError, match="No index is registered"):
        said()
    with pytest.raises(CommandError, match="there is none yet"):
        said("groups")


def test_a_terminal_sees_a_bar(groups: None) -> None:
    err: Any = Terminal()
    call_command("chatgpt_index", stdout=io.StringIO(), stderr=err)
    assert "groups: looking" in err.getvalue()
    assert "groups: embedding: 100%" in err.getvalue()
