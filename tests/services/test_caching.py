"""Answers that are given twice: to whom, when not, how often is asked, and what a broken cache costs."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from asgiref.sync import async_to_sync
from django.contrib.auth.models import User
from django.core.cache import caches
from django.db import connections
from openai.types.chat import ChatCompletion
from pytest_django import Settings

from django_chatgpt.conf import conf
from django_chatgpt.exceptions import InvalidRequestError, ProviderRejectedError
from django_chatgpt.models import AIUsage
from django_chatgpt.services import AIService, caching
from django_chatgpt.testing import Answer, Failure, FakeOpenAI, Usage

if TYPE_CHECKING:
    from tests.services.conftest import Async, Sync

    Colour = Sync | Async

HI = [{"role": "user", "content": "Hi"}]
SCHEMA = {"name": "f", "description": "", "parameters": {"type": "object", "properties": {}}}
REDIS = "redis://127.0.0.1:6379/11"


@pytest.fixture(autouse=True)
def cache() -> Iterator[Any]:
    caches["default"].clear()
    yield caches["default"]
    assert caching._flights == {}


@pytest.fixture(
    params=["locmem", "file", pytest.param("redis", marks=pytest.mark.redis)], ids=["locmem", "file", "redis"]
)
def any_cache(request: pytest.FixtureRequest, settings: Settings, tmp_path: Path) -> Iterator[Any]:
    where = {
        "locmem": ("locmem.LocMemCache", "here"),
        "file": ("filebased.FileBasedCache", str(tmp_path)),
        "redis": ("redis.RedisCache", REDIS),
    }
    backend, location = where[request.param]
    settings.CACHES = {
        "default": {
            "BACKEND": f"django.core.cache.backends.{backend}",
            "LOCATION": location,
            "KEY_PREFIX": f"caching-{time.time_ns()}",
        }
    }
    yield caches["default"]
    caches["default"].clear()


def text(completion: Any) -> str:
    return str(completion.choices[0].message.content)


def rows() -> list[tuple[Any, ...]]:
    found = AIUsage.objects.order_by("id")
    return [(row.outcome, row.total_tokens, row.estimated_cost, row.metadata) for row in found]


def test_the_second_time_nobody_is_asked(
    colour: Colour, user: User, fake_openai: FakeOpenAI, any_cache: Any, settings: Settings
) -> None:
    settings.OPENAI_PRICES = {"gpt-6-luna": {"input": "1", "output": "1"}}
    fake_openai.reply("Hello", usage=Usage(7, 3), model="gpt-6-luna")
    first = colour.complete(AIService(user), HI)
    second = colour.complete(AIService(user), HI)
    assert len(fake_openai.calls) == 1
    assert isinstance(second, ChatCompletion)
    assert second == first
    assert second.choices[0].message.role == "assistant"
    assert rows() == [
        ("completed", 10, Decimal("0.00001"), {"base_url": fake_openai.base_url}),
        ("completed", 0, Decimal(0), {"cached": True}),
    ]
    row = AIUsage.objects.latest("id")
    assert (row.user, row.model, row.usage_source) == (user, first.model, "provider")


def test_what_is_kept_is_json(user: User, fake_openai: FakeOpenAI, cache: Any) -> None:
    service = AIService(user)
    service.chat_completion(HI)
    kept = cache.get(caching.PREFIX + service.get_cache_key(HI))
    assert isinstance(kept, bytes)
    assert kept.startswith(b"{")
    assert b"sk-test" not in kept


class TestTheKey:
    def test_it_is_a_sha256(self, user: User) -> None:
        key = AIService(user).get_cache_key(HI)
        assert len(key) == 64
        assert int(key, 16)
        assert key == AIService(user).get_cache_key(HI)
        assert caches["default"].make_key(caching.PREFIX + key + ":asked").isascii()

    @pytest.mark.parametrize(
        "options",
        [
            {"model": "other"},
            {"temperature": 0.5},
            {"max_tokens": 7},
            {"seed": 1},
            {"response_format": {"type": "json_object"}},
            {"functions": [SCHEMA]},
        ],
        ids=lambda options: next(iter(options)),
    )
    def test_every_option_shapes_it(self, user: User, options: dict[str, Any]) -> None:
        assert AIService(user).get_cache_key(HI, **options) != AIService(user).get_cache_key(HI)

    def test_so_do_the_messages_and_their_order(self, user: User) -> None:
        other = {"role": "user", "content": "Ho"}
        keys = {AIService(user).get_cache_key(each) for each in (HI, [other], [*HI, other], [other, *HI])}
        assert len(keys) == 4

    def test_the_order_of_the_options_does_not(self, user: User) -> None:
        one = AIService(user).get_cache_key(HI, seed=1, top_p=0.5)
        assert one == AIService(user).get_cache_key(HI, top_p=0.5, seed=1)

    @pytest.mark.parametrize("name", ["OPENAI_API_KEY", "OPENAI_BASE_URL", "OPENAI_ORGANIZATION"])
    def test_so_does_the_tenant(self, user: User, settings: Settings, name: str) -> None:
        before = AIService(user).get_cache_key(HI)
        setattr(settings, name, "http://another" if name.endswith("URL") else "another")
        assert AIService(user).get_cache_key(HI) != before

    def test_so_does_who_asks(self, user: User, other_user: User) -> None:
        keys = {AIService(each).get_cache_key(HI) for each in (user, other_user, None)}
        assert len(keys) == 3

    def test_what_is_no_json_has_none(self, user: User) -> None:
        for value in (object(), float("nan")):
            with pytest.raises(InvalidRequestError):
                AIService(user).get_cache_key(HI, metadata={"x": value})


def test_nobody_gets_the_answer_of_somebody_else(
    colour: Colour, user: User, other_user: User, fake_openai: FakeOpenAI
) -> None:
    fake_openai.script("for ada", "for bob")
    answers = [text(colour.complete(AIService(each), HI)) for each in (user, other_user) * 2]
    assert answers == ["for ada", "for bob"] * 2
    assert len(fake_openai.calls) == 2


@pytest.mark.parametrize(
    "answer",
    [
        Answer("cut", finish="length"),
        Answer("bad", finish="content_filter"),
        Answer(""),
        Answer(text="x" * (caching.MAX_BYTES + 1)),
    ],
    ids=["length", "filtered", "empty", "too long"],
)
def test_what_is_not_worth_keeping(user: User, fake_openai: FakeOpenAI, answer: Answer) -> None:
    fake_openai.script(answer, answer)
    for _ in range(2):
        AIService(user).chat_completion(HI)
    assert len(fake_openai.calls) == 2


def test_errors_are_not_kept(colour: Colour, user: User, fake_openai: FakeOpenAI) -> None:
    fake_openai.script(Failure(400), "Hello")
    with pytest.raises(ProviderRejectedError):
        colour.complete(AIService(user), HI)
    assert text(colour.complete(AIService(user), HI)) == "Hello"
    assert text(colour.complete(AIService(user), HI)) == "Hello"
    assert len(fake_openai.calls) == 2


@pytest.mark.parametrize("off", [{"OPENAI_ENABLE_CACHING": False}, {"OPENAI_CACHE_TTL": 0}], ids=str)
def test_it_can_be_switched_off(
    user: User, fake_openai: FakeOpenAI, settings: Settings, off: dict[str, Any]
) -> None:
    for name, value in off.items():
        setattr(settings, name, value)
    for _ in range(2):
        AIService(user).chat_completion(HI)
    assert len(fake_openai.calls) == 2


def test_functions_and_streams_and_conversations_are_always_asked(
    colour: Colour, user: User, fake_openai: FakeOpenAI
) -> None:
    service = AIService(user)
    called = {"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    with_calls = [
        *HI,
        {"role": "assistant", "content": "", "tool_calls": [called]},
        {"role": "tool", "content": "r", "tool_call_id": "1"},
    ]
    for _ in range(2):
        colour.complete(service, HI, functions=[SCHEMA])
        colour.complete(service, with_calls)
        colour.chunks(service, HI)
        colour.ask(service, "Hi")
    assert len(fake_openai.calls) == 8


def test_an_answer_of_another_model_is_not_kept(
    colour: Colour, user: User, fake_openai: FakeOpenAI, settings: Settings
) -> None:
    settings.OPENAI_FALLBACK_MODELS = ["gpt-6-sol"]
    settings.OPENAI_MAX_RETRIES = 0
    fake_openai.script(Failure(503), "from the other", Answer("from the one", model="gpt-6-luna-2026-09-22"))
    answers = [text(colour.complete(AIService(user), HI)) for _ in range(3)]
    assert answers == ["from the other", "from the one", "from the one"]
    assert len(fake_openai.calls) == 3


def test_a_kept_answer_has_its_time(user: User, fake_openai: FakeOpenAI, cache: Any) -> None:
    AIService(user).chat_completion(HI)
    name = cache.make_key(caching.PREFIX + AIService(user).get_cache_key(HI))
    left = cache._expire_info[name] - time.time()
    assert conf.cache_ttl - 60 < left <= conf.cache_ttl


class TestABrokenCache:
    @pytest.mark.parametrize(
        "kept",
        [b"", b"{", b"[]", b'{"choices": []}', b'{"choices": [{"message": null}]}', "text", 7, {"a": 1}],
        ids=repr,
    )
    def test_nonsense_in_it(self, user: User, fake_openai: FakeOpenAI, cache: Any, kept: Any) -> None:
        service = AIService(user)
        cache.set(caching.PREFIX + service.get_cache_key(HI), kept)
        fake_openai.reply("Hello")
        assert [text(service.chat_completion(HI)) for _ in range(2)] == ["Hello"] * 2
        assert len(fake_openai.calls) == 1

    def test_redis_is_down(
        self,
        colour: Colour,
        user: User,
        fake_openai: FakeOpenAI,
        settings: Settings,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        pytest.importorskip("redis")
        settings.CACHES = {
            "default": {
                "BACKEND": "django.core.cache.backends.redis.RedisCache",
                "LOCATION": "redis://127.0.0.1:9/0",
            }
        }
        fake_openai.reply("Hello")
        with caplog.at_level(logging.WARNING, logger="django_chatgpt.caching"):
            assert text(colour.complete(AIService(user), HI)) == "Hello"
        said = [each.getMessage() for each in caplog.records if each.name == "django_chatgpt.caching"]
        assert said == ["The cache failed: ConnectionError"]


class TestAtOnce:
    """The same request from several at the same time."""

    def test_threads_ask_once(self, user: User, fake_openai: FakeOpenAI, transactional_db: None) -> None:
        fake_openai.reply("Hello", wait=0.3)
        answers: list[str] = []

        def ask() -> None:
            try:
                answers.append(text(AIService(user).chat_completion(HI)))
            finally:
                connections.close_all()

        threads = [threading.Thread(target=ask) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert answers == ["Hello"] * 8
        assert len(fake_openai.calls) == 1
        assert sorted(row[3].get("cached", False) for row in rows()) == [False] + [True] * 7

    def test_tasks_ask_once(self, user: User, fake_openai: FakeOpenAI) -> None:
        fake_openai.reply("Hello", wait=0.2)

        async def together() -> list[Any]:
            service = AIService(user)
            return await asyncio.gather(*(service.achat_completion(HI) for _ in range(6)))

        assert [text(each) for each in async_to_sync(together)()] == ["Hello"] * 6
        assert len(fake_openai.calls) == 1

    def test_who_leaves_hands_it_on(self, user: User, fake_openai: FakeOpenAI) -> None:
        fake_openai.script(Answer("never", wait=5), Answer("Hello"))

        async def together() -> Any:
            service = AIService(user)
            first = asyncio.create_task(service.achat_completion(HI))
            await fake_openai.await_for()
            others = [asyncio.create_task(service.achat_completion(HI)) for _ in range(3)]
            await asyncio.sleep(0.1)
            others.pop().cancel()
            first.cancel()
            await asyncio.gather(first, return_exceptions=True)
            assert first.cancelled()
            return await asyncio.gather(*others)

        assert [text(each) for each in async_to_sync(together)()] == ["Hello"] * 2
        assert len(fake_openai.calls) == 2
        assert AIUsage.objects.filter(outcome="running").count() == 0

    def test_after_a_failure_each_asks_for_itself(self, user: User, fake_openai: FakeOpenAI) -> None:
        fake_openai.script(Failure(400, wait=0.2), "Hello", "Hello")

        async def together() -> list[Any]:
            service = AIService(user)
            asked = (service.achat_completion(HI) for _ in range(3))
            return await asyncio.gather(*asked, return_exceptions=True)

        answers = async_to_sync(together)()
        assert sum(isinstance(each, ProviderRejectedError) for each in answers) == 1
        assert [text(each) for each in answers if not isinstance(each, Exception)] == ["Hello"] * 2

    def test_another_process_is_waited_for(
        self, colour: Colour, user: User, fake_openai: FakeOpenAI, cache: Any
    ) -> None:
        """What another process does to the cache is done here by a thread."""
        service = AIService(user)
        fake_openai.reply("Hello")
        service.chat_completion(HI)
        key = caching.PREFIX + service.get_cache_key(HI)
        kept = cache.get(key)
        cache.delete(key)
        cache.add(f"{key}:asked", "theirs")
        threading.Timer(0.3, lambda: cache.set(key, kept)).start()
        assert text(colour.complete(service, HI)) == "Hello"
        assert len(fake_openai.calls) == 1
        assert cache.get(f"{key}:asked") == "theirs"

    def test_but_not_for_ever(
        self, user: User, fake_openai: FakeOpenAI, cache: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(caching, "PATIENCE_SECONDS", 0)
        service = AIService(user)
        key = caching.PREFIX + service.get_cache_key(HI)
        cache.add(f"{key}:asked", "theirs")
        service.chat_completion(HI)
        assert len(fake_openai.calls) == 1
        assert cache.get(f"{key}:asked") == "theirs"
