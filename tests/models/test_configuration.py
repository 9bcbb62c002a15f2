"""Configurations: their ranges, in forms and in the database."""

import pytest
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction

from django_chatgpt.models import AIConfiguration

pytestmark = pytest.mark.django_db

ALLOWED = [
    ("temperature", 0.0),
    ("temperature", 2.0),
    ("top_p", 0.0),
    ("top_p", 1.0),
    ("frequency_penalty", -2.0),
    ("frequency_penalty", 2.0),
    ("presence_penalty", -2.0),
    ("presence_penalty", 2.0),
    ("max_tokens", 1),
]
REFUSED = [
    ("temperature", -0.01),
    ("temperature", 2.01),
    ("top_p", -0.01),
    ("top_p", 1.01),
    ("frequency_penalty", -2.01),
    ("frequency_penalty", 2.01),
    ("presence_penalty", -2.01),
    ("presence_penalty", 2.01),
    ("max_tokens", 0),
]


@pytest.mark.parametrize(("field", "value"), ALLOWED)
def test_ends_of_a_range_are_in_it(field: str, value: float) -> None:
    configuration = AIConfiguration(name="one", **{field: value})
    configuration.full_clean()
    configuration.save()
    configuration.refresh_from_db()
    assert getattr(configuration, field) == value


@pytest.mark.parametrize(("field", "value"), REFUSED)
def test_validation_names_the_field_out_of_range(field: str, value: float) -> None:
    with pytest.raises(ValidationError) as caught:
        AIConfiguration(name="one", **{field: value}).full_clean()
    assert field in caught.value.message_dict


@pytest.mark.parametrize(("field", "value"), REFUSED)
def test_the_database_refuses_what_is_out_of_range(field: str, value: float) -> None:
    with pytest.raises(IntegrityError), transaction.atomic():
        AIConfiguration.objects.create(name="one", **{field: value})


def test_nothing_is_sent_unless_it_is_set() -> None:
    configuration = AIConfiguration.objects.create(name="one")
    configuration.full_clean()
    configuration.refresh_from_db()
    assert configuration.model == ""
    assert configuration.system_prompt == ""
    for field in ("temperature", "max_tokens", "top_p", "frequency_penalty", "presence_penalty"):
        assert getattr(configuration, field) is None


def test_a_name_is_taken_once() -> None:
    AIConfiguration.objects.create(name="one")
    with pytest.raises(IntegrityError), transaction.atomic():
        AIConfiguration.objects.create(name="one")


def test_names_that_differ_in_case_or_spaces_differ() -> None:
    for name in ("one", "One", "one "):
        AIConfiguration.objects.create(name=name)
    assert AIConfiguration.objects.get(name="one").name == "one"


def test_active_leaves_out_what_is_switched_off() -> None:
    on = AIConfiguration.objects.create(name="on")
    AIConfiguration.objects.create(name="off", is_active=False)
    assert list(AIConfiguration.active.all()) == [on]
    assert AIConfiguration.objects.count() == 2


def test_it_goes_by_its_name() -> None:
    assert str(AIConfiguration(name="careful")) == "careful"
