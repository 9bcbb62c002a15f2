"""Signals for observers: sent after the commit, with exactly what is announced, harmless and free."""

from typing import Any

import pytest
from django.db import transaction

from django_chatgpt.signals import Observation

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def heard() -> list[dict[str, Any]]:
    return []


@pytest.fixture
def observation(heard: list[dict[str, Any]]) -> Observation:
    observation = Observation("number")

    def hear(sender: Any, **values: Any) -> None:
        values.pop("signal")
        heard.append(values)

    observation.connect(hear, weak=False)
    return observation


def test_it_is_sent_after_the_commit(observation: Observation, heard: list[dict[str, Any]]) -> None:
    with transaction.atomic():
        observation.tell(None, using="default", number=1)
        assert heard == []
    assert heard == [{"number": 1}]


def test_it_is_sent_at_once_where_no_transaction_is_open(
    observation: Observation, heard: list[dict[str, Any]]
) -> None:
    observation.tell(None, using="default", number=1)
    assert heard == [{"number": 1}]


def test_what_is_taken_back_is_not_told(observation: Observation, heard: list[dict[str, Any]]) -> None:
    with transaction.atomic():
        observation.tell(None, using="default", number=1)
        transaction.set_rollback(True)
    assert heard == []


def test_a_receiver_that_fails_disturbs_nobody(
    observation: Observation, heard: list[dict[str, Any]], caplog: pytest.LogCaptureFixture
) -> None:
    def fail(sender: Any, **values: Any) -> None:
        raise ZeroDivisionError

    observation.connect(fail, weak=False)
    observation.tell(None, using="default", number=1)
    assert heard == [{"number": 1}]
    assert [record.exc_info[0] for record in caplog.records if record.exc_info] == [ZeroDivisionError]


def test_it_carries_what_it_announces_and_nothing_else(observation: Observation) -> None:
    with pytest.raises(TypeError, match="number"):
        observation.tell(None, using="default", number=1, text="a secret")


def test_nobody_listens_and_nothing_is_done() -> None:
    Observation("number").tell(None, using="no such database")
    assert transaction.get_connection().run_on_commit == []
