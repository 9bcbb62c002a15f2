"""Rate limits: how many get in, through which cache, and what is not counted."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import pytest
from django.contrib.auth.models import Group, User
from django.core.cache import cache, caches
from django.core.management import call_command
from django.db import connection
from pytest_django import DjangoAssertNumQueries, Settings

from django_chatgpt.exceptions import InvalidRequestError, RateLimitedError
from django_chatgpt.functions import ai_function, function_registry
from django_chatgpt.models import AITurn
from django_chatgpt.services import AIService, functions, rates
from django_chatgpt.testing import FakeOpenAI

REDIS = "redis://127.0.0.1:6379/7"
WORKERS = 2
NOON = 1_800_000_000.0


@pytest.fixture(autouse=True)
def empty_cache() -> Iterator[None]:
    cache.clear()
    yield
    cache.clear()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[mock.Mock]:
    """The time of day, at the beginning of a window of any length."""
    clock = mock.Mock(return_value=NOON)
    monkeypatch.setattr("time.time", clock)
    return clock


def admitted(user: Any, tries: int) -> int:
    """How many of so many tries get in."""
    count = 0
    for _ in range(tries):
        try:
            rates.admit(user)
        except RateLimitedError:
            continue
        count += 1
    return count


def refusal(user: Any) -> float:
    """Ask until it is refused, and give the seconds to wait."""
    for _ in range(20):
        try:
            rates.admit(user)
        except RateLimitedError as refused:
            return float(refused.retry_after or 0)
    raise AssertionError("nothing is refused")


def no_user(pk: int = 1) -> Any:
    return mock.Mock(pk=pk)


def in_redis() -> dict[str, Any]:
    return {
        "BACKEND": "django.core.cache.backends.redis.RedisCache",
        "LOCATION": REDIS,
        "KEY_PREFIX": uuid.uuid4().hex,
    }


def test_each_user_has_a_limit_of_its_own(settings: Settings) -> None:
    settings.OPENAI_RATE_LIMITS = {"user": "2/m"}
    assert admitted(no_user(1), 5) == 2
    assert admitted(no_user(2), 5) == 2


def test_the_site_has_one_for_all_and_for_itself(settings: Settings) -> None:
    settings.OPENAI_RATE_LIMITS = {"site": "5/m"}
    assert [admitted(no_user(pk), 2) for pk in (1, 2, 3)] == [2, 2, 1]
    assert admitted(None, 1) == 0


def test_a_user_who_is_refused_uses_up_nothing_of_the_site(settings: Settings) -> None:
    settings.OPENAI_RATE_LIMITS = {"site": "5/m", "user": "2/m"}
    assert [admitted(no_user(pk), 9) for pk in (1, 2, 3)] == [2, 2, 1]


def test_a_user_whom_the_site_refuses_uses_up_nothing(settings: Settings, clock: mock.Mock) -> None:
    settings.OPENAI_RATE_LIMITS = {"site": "1/s", "user": "3/h"}
    assert admitted(no_user(), 9) == 1
    clock.return_value = NOON + 10
    assert admitted(no_user(), 9) == 1


@pytest.mark.django_db
def test_a_user_model_without_groups_has_none_to_count_in(settings: Settings) -> None:
    settings.OPENAI_RATE_LIMITS = {"user": "1/m", "group:trial": "1/m"}
    person = SimpleNamespace(pk=1)
    rates.admit(person)
    with pytest.raises(RateLimitedError):
        rates.admit(person)


def test_a_group_has_one_for_its_members(
    user: User, other_user: User, settings: Settings, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    settings.OPENAI_RATE_LIMITS = {"group:trial users": "3/m", "group:none": "1/m"}
    trial = Group.objects.create(name="trial users")
    assert admitted(user, 4) == 4
    user.groups.add(trial)
    other_user.groups.add(trial)
    with django_assert_num_queries(2):
        assert admitted(user, 2) == 2
    assert admitted(other_user, 5) == 1
    assert admitted(None, 5) == 5


def test_the_window_slides(settings: Settings, clock: mock.Mock) -> None:
    settings.OPENAI_RATE_LIMITS = {"user": "10/m"}
    clock.return_value = NOON + 59
    assert admitted(no_user(), 20) == 10
    clock.return_value = NOON + 60
    assert admitted(no_user(), 20) == 0
    clock.return_value = NOON + 90
    assert admitted(no_user(), 20) == 5
    clock.return_value = NOON + 240
    assert admitted(no_user(), 20) == 10


def test_the_wait_is_as_long_as_it_says_and_no_longer(settings: Settings, clock: mock.Mock) -> None:
    settings.OPENAI_RATE_LIMITS = {"user": "6/m"}
    for moment in (0, 7, 31, 44, 59):
        cache.clear()
        clock.return_value = NOON + moment
        for _ in range(30):
            wait = refusal(no_user())
            assert 1 <= wait <= 70
            if wait > 1:
                clock.return_value += wait - 0.01
                assert admitted(no_user(), 1) == 0
            clock.return_value += 0.02 if wait > 1 else 1
            assert admitted(no_user(), 1) == 1


def test_without_limits_nothing_is_asked(settings: Settings) -> None:
    """Neither the cache, which would fail, nor the database, which no test without its mark may use."""
    settings.CACHES = {"default": {"BACKEND": "nowhere.Cache"}}
    assert admitted(no_user(), 3) == 3
    settings.OPENAI_RATE_LIMITS = {"user": "1/s", "group:trial": "1/s"}
    assert admitted(None, 3) == 3


@pytest.mark.redis
def test_redis_counts_in_a_moving_window(settings: Settings, clock: mock.Mock) -> None:
    settings.CACHES = {"default": in_redis()}
    settings.OPENAI_RATE_LIMITS = {"user": "4/m"}
    clock.return_value = NOON + 50
    assert admitted(no_user(), 2) == 2
    clock.return_value = NOON + 70
    assert refusal(no_user()) == pytest.approx(40)
    clock.return_value = NOON + 109
    assert admitted(no_user(), 5) == 0
    clock.return_value = NOON + 110.1
    assert admitted(no_user(), 5) == 2
    keys = caches["default"]._cache.get_client().keys(f"{settings.CACHES['default']['KEY_PREFIX']}*")
    assert keys
    caches["default"]._cache.get_client().delete(*keys)


class TestProcesses:
    """Several processes with several threads each, through every cache that they may share."""

    def race(self, cache_settings: dict[str, Any], limits: dict[str, str]) -> int:
        """How many got in altogether."""
        databases = {"default": {**connection.settings_dict, "TEST": {}, "CONN_MAX_AGE": 0}}
        given = {
            "CACHES": {"default": cache_settings},
            "OPENAI_RATE_LIMITS": limits,
            "DATABASES": json.loads(json.dumps(databases, default=str)),
        }
        script = Path(__file__).with_name("admitting.py")
        workers = [
            subprocess.Popen(
                [sys.executable, str(script), json.dumps(given), "5"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
            )
            for _ in range(WORKERS)
        ]
        for worker in workers:
            assert worker.stdin is not None
            worker.stdin.write("\n")
            worker.stdin.flush()
        answers = [worker.communicate(timeout=60)[0] for worker in workers]
        return sum(int(answer) for answer in answers)

    @pytest.mark.django_db(transaction=True)
    @pytest.mark.sqlite_only
    def test_files(self, tmp_path: Path) -> None:
        location = tmp_path / "made later"
        files = {
            "BACKEND": "django.core.cache.backends.filebased.FileBasedCache",
            "LOCATION": str(location),
        }
        assert self.race(files, {"user": "11/d"}) == 11
        assert len(list(location.glob("*.lock"))) == 1

    @pytest.mark.django_db(transaction=True)
    def test_a_table(self, settings: Settings) -> None:
        table = {"BACKEND": "django.core.cache.backends.db.DatabaseCache", "LOCATION": "rates cache"}
        settings.CACHES = {"default": table}
        call_command("createcachetable")
        try:
            assert self.race(table, {"user": "11/d"}) == 11
        finally:
            with connection.cursor() as cursor:
                cursor.execute(f"DROP TABLE {connection.ops.quote_name('rates cache')}")

    @pytest.mark.redis
    @pytest.mark.django_db(transaction=True)
    @pytest.mark.sqlite_only
    def test_redis(self, settings: Settings) -> None:
        redis = in_redis()
        assert self.race(redis, {"user": "11/d", "site": "1000/d"}) == 11
        settings.CACHES = {"default": redis}
        client = caches["default"]._cache.get_client()
        client.delete(*client.keys(f"{redis['KEY_PREFIX']}*"))


@pytest.mark.django_db
class TestWhatCounts:
    """Whatever costs the site something, through whichever door; nothing twice."""

    @pytest.fixture(autouse=True)
    def limited(self, settings: Settings) -> None:
        settings.OPENAI_RATE_LIMITS = {"user": "2/d"}

    def test_a_refused_question_is_not_stored(self, user: User, fake_openai: FakeOpenAI) -> None:
        for text in ("One", "Two"):
            fake_openai.reply(text)
        service = AIService(user)
        service.ask("1")
        service.ask("2")
        with pytest.raises(RateLimitedError) as refused:
            service.ask("3")
        assert refused.value.code == "rate_limited"
        assert AITurn.objects.count() == 2
        assert len(fake_openai.calls) == 2

    def test_bad_input_does_not_count(self, user: User) -> None:
        for _ in range(3):
            with pytest.raises(InvalidRequestError):
                AIService(user).ask("")
            with pytest.raises(InvalidRequestError):
                AIService(user).chat_completion([])
        assert admitted(user, 3) == 2

    def test_a_repeat_does_not_count(self, user: User, fake_openai: FakeOpenAI) -> None:
        fake_openai.reply("One")
        service = AIService(user)
        first = service.ask("1", idempotency_key="k")
        for _ in range(3):
            assert service.ask("1", idempotency_key="k").turn_id == first.turn_id
        assert admitted(user, 3) == 1
        assert service.ask("1", idempotency_key="k").turn_id == first.turn_id

    def test_a_completion_counts(self, user: User, fake_openai: FakeOpenAI) -> None:
        for text in ("One", "Two"):
            fake_openai.reply(text)
        messages = [{"role": "user", "content": "Hi"}]
        AIService(user).chat_completion(messages)
        assert len(list(AIService(user).chat_completion(messages, stream=True))) > 1
        with pytest.raises(RateLimitedError):
            AIService(user).chat_completion(messages)
        assert len(fake_openai.calls) == 2

    def test_a_function_that_a_person_calls_counts(self, user: User) -> None:
        @ai_function(name="count_me")
        def count_me() -> int:
            """Count."""
            return 1

        try:
            assert [functions.execute(user, "count_me", {}) for _ in range(2)] == [1, 1]
            with pytest.raises(RateLimitedError):
                functions.execute(user, "count_me", {})
        finally:
            function_registry.unregister("count_me")
