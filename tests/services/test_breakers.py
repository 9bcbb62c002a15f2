"""Circuit breakers: what opens them, what they refuse, who tries, and who knows of it."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
from django.contrib.auth.models import User
from django.core.cache import caches
from django.test import override_settings
from pytest_django import Settings

from django_chatgpt.core.ids import uuid7
from django_chatgpt.exceptions import (
    AIServiceError,
    ContentFilterError,
    ProviderProtocolError,
    ProviderRateLimitedError,
    ProviderRejectedError,
    ProviderTimeoutError,
    ProviderUnavailableError,
    TurnInterruptedError,
)
from django_chatgpt.models import AIAlert, AIUsage
from django_chatgpt.services import AIService, breakers
from django_chatgpt.services.circuits import KEPT_SECONDS, CacheStorage
from django_chatgpt.signals import breaker_changed
from django_chatgpt.testing import Failure, FakeOpenAI

if TYPE_CHECKING:
    from tests.services.conftest import Async, Sync

    Colour = Sync | Async

pytestmark = pytest.mark.django_db

URL = "http://model.example/v1"
AWAY = ProviderUnavailableError()
LOCMEM = {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}
REDIS = {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": "redis://127.0.0.1:6379/9"}


@pytest.fixture(
    params=["locmem", pytest.param("redis", marks=[pytest.mark.redis, pytest.mark.sqlite_only])],
)
def cache(request: pytest.FixtureRequest) -> Iterator[None]:
    """Each cache that a site is likely to have, with keys of this test's own."""
    chosen = LOCMEM | {"LOCATION": "breakers"} if request.param == "locmem" else REDIS
    with override_settings(CACHES={"default": chosen | {"KEY_PREFIX": uuid7().hex}}):
        yield


@pytest.fixture
def changes() -> Iterator[list[tuple[str, str]]]:
    seen: list[tuple[str, str]] = []

    def see(previous: str, state: str, **values: Any) -> None:
        seen.append((previous, state))

    breaker_changed.connect(see)
    yield seen
    breaker_changed.disconnect(see)


def note(error: AIServiceError | None = None, *, times: int = 1, model: str = "m") -> None:
    for _ in range(times):
        breakers.note(URL, model, error, accepted=error is None)


def refused(model: str = "m", url: str = URL) -> bool:
    return breakers.refusal(url, model) is not None


def pass_time() -> None:
    """Let the breaker have been open for as long as it stays so."""
    storage = CacheStorage(caches["default"], breakers.Circuit.to(URL, "m").key, 30)
    opened = storage.opened_at
    assert opened is not None
    caches["default"].set(
        f"{breakers.Circuit.to(URL, 'm').key}.opened", opened.timestamp() - 31, KEPT_SECONDS
    )


@pytest.mark.usefixtures("cache")
def test_failures_in_a_row_open_it(
    changes: list[tuple[str, str]], django_capture_on_commit_callbacks: Any
) -> None:
    with django_capture_on_commit_callbacks(execute=True):
        note(AWAY, times=4)
        assert not refused()
        note(AWAY)
    error = breakers.refusal(URL, "m")
    assert type(error) is ProviderUnavailableError
    assert error.retry_after is not None
    assert 25 < error.retry_after <= 30
    assert changes == [("closed", "open")]
    assert not refused("another model")
    assert not refused(url="http://another.example/v1")


@pytest.mark.usefixtures("cache")
def test_people_are_told_once_a_day_that_it_opened() -> None:
    for _ in range(2):
        note(AWAY, times=5)
        pass_time()
        assert not refused()
        note()
    alert = AIAlert.objects.get()
    assert alert.severity == "error"
    assert alert.title == "m can't be reached"
    assert URL in alert.description
    assert alert.metadata == {"base_url": URL, "model": "m"}


@pytest.mark.usefixtures("cache")
def test_a_success_between_them_keeps_it_closed() -> None:
    note(AWAY, times=4)
    note()
    note(AWAY, times=4)
    assert not refused()


@pytest.mark.usefixtures("cache")
def test_after_a_while_one_call_tries_and_closes_it(
    changes: list[tuple[str, str]], django_capture_on_commit_callbacks: Any
) -> None:
    with django_capture_on_commit_callbacks(execute=True):
        note(AWAY, times=5)
        pass_time()
        assert [refused() for _ in range(3)] == [False, True, True]
        note()
    assert not refused()
    assert changes == [("closed", "open"), ("open", "half-open"), ("half-open", "closed")]
    note(AWAY, times=4)
    assert not refused(), "it counts from the beginning"


@pytest.mark.usefixtures("cache")
def test_a_call_that_tries_in_vain_opens_it_again() -> None:
    note(AWAY, times=5)
    pass_time()
    assert not refused()
    note(AWAY)
    assert [refused() for _ in range(3)] == [True, True, True]
    pass_time()
    assert [refused() for _ in range(2)] == [False, True]


@pytest.mark.usefixtures("cache")
def test_a_call_that_tried_and_says_nothing_lets_another_try() -> None:
    note(AWAY, times=5)
    pass_time()
    assert not refused()
    note(TurnInterruptedError())
    assert [refused() for _ in range(2)] == [False, True]


@pytest.mark.usefixtures("cache")
def test_one_of_many_threads_tries() -> None:
    note(AWAY, times=5)
    pass_time()
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: breakers.refusal(URL, "m"), range(16)))
    assert answers.count(None) == 1


@pytest.mark.usefixtures("cache")
def test_what_began_before_it_opened_changes_nothing() -> None:
    note(AWAY, times=5)
    note()
    note(AWAY)
    assert refused()


WORKS = {
    "an answer": (None, True, True),
    "stopped before any answer": (None, False, None),
    "no connection": (AWAY, False, False),
    "no answer in time": (ProviderTimeoutError(), False, False),
    "500": (ProviderUnavailableError(status=500), False, False),
    "409": (ProviderUnavailableError(status=409), False, None),
    "408": (ProviderTimeoutError(status=408), False, None),
    "429": (ProviderRateLimitedError(status=429), False, None),
    "400": (ProviderRejectedError(status=400), False, True),
    "cut short": (ProviderProtocolError(retryable=True), True, False),
    "not an answer": (ProviderProtocolError(), True, None),
    "our filter": (ContentFilterError(), False, None),
    "our bug": (AIServiceError(), True, None),
}


@pytest.mark.parametrize(("error", "accepted", "works"), WORKS.values(), ids=WORKS)
def test_what_an_attempt_says_of_the_provider(
    error: AIServiceError | None, accepted: bool, works: bool | None
) -> None:
    assert breakers.works(error, accepted=accepted) is works


def test_it_can_be_switched_off(settings: Settings) -> None:
    settings.OPENAI_BREAKER_FAILURES = 0
    note(AWAY, times=50)
    assert not refused()


def test_a_cache_that_is_away_opens_nothing(caplog: pytest.LogCaptureFixture) -> None:
    broken = REDIS | {"LOCATION": "redis://127.0.0.1:9/0"}
    if REDIS["BACKEND"]:
        pytest.importorskip("redis")
    with override_settings(CACHES={"default": broken}):
        note(AWAY, times=6)
        assert not refused()
    assert {record.name for record in caplog.records} == {"django_chatgpt.breakers"}


def test_a_cache_that_keeps_nothing_is_as_good_as_none() -> None:
    with override_settings(CACHES={"default": {"BACKEND": "django.core.cache.backends.dummy.DummyCache"}}):
        note(AWAY, times=6)
        assert not refused()


def test_a_password_in_the_address_is_told_to_nobody() -> None:
    assert breakers.Circuit.to("http://me:secret@host:80/v1?key=k", "m").base_url == "http://host:80/v1"


def test_turns_open_it_and_then_fail_without_a_call(
    colour: Colour, user: User, fake_openai: FakeOpenAI, settings: Settings
) -> None:
    settings.OPENAI_MAX_RETRIES, settings.OPENAI_BREAKER_FAILURES = 1, 2
    fake_openai.script(*[Failure(503, retry_after=0.001)] * 2)
    for _ in range(3):
        with pytest.raises(ProviderUnavailableError) as raised:
            colour.ask(AIService(user), "Hi")
    assert len(fake_openai.calls) == 2
    assert raised.value.retry_after is not None
    assert raised.value.retry_after > 20
    rows = AIUsage.objects.order_by("id").values_list("outcome", "total_tokens", "estimated_cost")
    assert list(rows) == [("failed", 0, 0)] * 4


def test_the_next_model_is_asked_where_it_is_open(
    colour: Colour, user: User, fake_openai: FakeOpenAI, settings: Settings
) -> None:
    settings.OPENAI_BREAKER_FAILURES = 1
    settings.OPENAI_DEFAULT_MODEL, settings.OPENAI_FALLBACK_MODELS = "first", ["second"]
    breakers.note(fake_openai.base_url, "first", AWAY, accepted=False)
    fake_openai.script("One", "Two")
    assert colour.ask(AIService(user), "Hi").content == "One"
    completion = colour.complete(AIService(user), [{"role": "user", "content": "Hi"}])
    assert completion.choices[0].message.content == "Two"
    assert [call.model for call in fake_openai.calls] == ["second", "second"]
    rows = AIUsage.objects.order_by("id").values_list("model", "outcome", "estimated_cost")
    assert [row[:2] for row in rows] == [("first", "failed"), ("second", "completed")] * 2
    assert {row[2] for row in rows if row[0] == "first"} == {0}
