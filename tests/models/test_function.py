"""Functions: counters, and that a row is never code."""

import pytest
from django.db import IntegrityError, transaction

from django_chatgpt.models import AIFunction


@pytest.mark.django_db
def test_a_name_is_taken_once_and_case_counts() -> None:
    AIFunction.objects.create(name="get_weather")
    AIFunction.objects.create(name="Get_Weather")
    with pytest.raises(IntegrityError), transaction.atomic():
        AIFunction.objects.create(name="get_weather")


@pytest.mark.parametrize(
    ("calls", "successes", "rate"), [(0, 0, None), (1, 0, 0.0), (4, 3, 75.0), (3, 3, 100.0)]
)
def test_success_rate_is_per_cent(calls: int, successes: int, rate: float | None) -> None:
    assert AIFunction(name="f", usage_count=calls, success_count=successes).success_rate == rate


@pytest.mark.django_db
def test_a_new_one_has_not_been_called() -> None:
    function = AIFunction.objects.create(name="f", implementation="os.system")
    function.refresh_from_db()
    assert (function.usage_count, function.success_count, function.error_count) == (0, 0, 0)
    assert function.average_response_time_ms is None
    assert function.parameters_schema == {}
    assert function.is_active
    assert function.implementation == "os.system"
    assert str(function) == "f"
