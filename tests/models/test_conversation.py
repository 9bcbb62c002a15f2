"""Conversations: listing, counting, totals."""

import datetime as dt
from decimal import Decimal
from typing import TYPE_CHECKING

import pytest
from django.db.models import F
from django.utils import timezone

from django_chatgpt.models import AIConfiguration, AIConversation
from tests.models import rows

if TYPE_CHECKING:
    from django.contrib.auth.models import User
    from pytest_django import DjangoAssertNumQueries

pytestmark = pytest.mark.django_db


def test_a_new_one_is_empty_and_active() -> None:
    talk = rows.conversation()
    talk.refresh_from_db()
    assert (talk.user, talk.configuration, talk.title, talk.session_id) == (None, None, "", "")
    assert talk.is_active
    assert talk.total_tokens == 0
    assert talk.total_cost == 0
    assert talk.metadata == {}
    assert talk.message_count == 0


def test_message_count_is_one_query(django_assert_num_queries: "DjangoAssertNumQueries") -> None:
    talk = rows.conversation()
    for sequence in (1, 2, 3):
        rows.message(talk, sequence)
    with django_assert_num_queries(1):
        assert talk.message_count == 3


def test_a_list_counts_messages_without_a_query_per_row(
    django_assert_num_queries: "DjangoAssertNumQueries",
) -> None:
    for number in range(4):
        talk = rows.conversation(title=str(number))
        for sequence in range(number):
            rows.message(talk, sequence)
    with django_assert_num_queries(1):
        listed = {talk.title: talk.message_count for talk in AIConversation.objects.with_message_count()}
    assert listed == {"0": 0, "1": 1, "2": 2, "3": 3}


def test_prefetched_messages_are_counted_without_a_query(
    django_assert_num_queries: "DjangoAssertNumQueries",
) -> None:
    rows.message(rows.conversation())
    (talk,) = AIConversation.objects.prefetch_related("messages")
    with django_assert_num_queries(0):
        assert talk.message_count == 1


def test_newest_is_the_one_used_last(user: "User") -> None:
    first, second, third = (rows.conversation(user=user, title=str(number)) for number in range(3))
    AIConversation.objects.filter(pk=first.pk).update(updated_at=timezone.now() + dt.timedelta(minutes=1))
    assert list(user.ai_conversations.newest_first()) == [first, third, second]


def test_those_used_at_the_same_moment_are_ordered_by_creation() -> None:
    talks = [rows.conversation() for _ in range(5)]
    AIConversation.objects.update(updated_at=timezone.now())
    assert list(AIConversation.objects.newest_first()) == talks[::-1]


def test_active_leaves_out_what_is_archived() -> None:
    kept = rows.conversation()
    rows.conversation(is_active=False)
    assert list(AIConversation.active.newest_first().with_message_count()) == [kept]
    assert AIConversation.objects.count() == 2


def test_totals_keep_twelve_places_through_additions() -> None:
    talk = rows.conversation()
    for _ in range(10):
        AIConversation.objects.filter(pk=talk.pk).update(
            total_cost=F("total_cost") + Decimal("0.000000100001"), total_tokens=F("total_tokens") + 3
        )
    talk.refresh_from_db()
    assert talk.total_cost == Decimal("0.000001000010")
    assert talk.total_tokens == 30


def test_totals_outgrow_32_bits() -> None:
    talk = rows.conversation(total_tokens=5_000_000_000, total_cost=Decimal("123456.789012345"))
    talk.refresh_from_db()
    assert talk.total_tokens == 5_000_000_000
    assert talk.total_cost == Decimal("123456.789012345")


def test_it_outlives_its_configuration() -> None:
    configuration = AIConfiguration.objects.create(name="one")
    talk = rows.conversation(configuration=configuration)
    configuration.delete()
    talk.refresh_from_db()
    assert talk.configuration is None


def test_it_goes_by_its_title_or_else_its_key() -> None:
    assert str(AIConversation(title="Ducks")) == "Ducks"
    untitled = AIConversation()
    assert str(untitled) == str(untitled.pk)
