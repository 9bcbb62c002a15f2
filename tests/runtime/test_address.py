"""Which Redis processes wake each other by, of those that the settings know."""

from __future__ import annotations

from typing import Any

import pytest
from pytest_django import Settings

from django_chatgpt.exceptions import NotConfiguredError
from django_chatgpt.runtime.address import Address, find_address

CACHE = "django.core.cache.backends.redis.RedisCache"
LAYER = "channels_redis.core.RedisChannelLayer"


@pytest.fixture(autouse=True)
def nothing(settings: Settings) -> None:
    settings.OPENAI_WAKE_URL = None
    settings.CACHES = {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}}
    settings.CHANNEL_LAYERS = {}


def test_none() -> None:
    assert find_address() is None


@pytest.mark.parametrize("backend", ["channels.layers.InMemoryChannelLayer", ""])
def test_a_layer_of_one_process(backend: str, settings: Settings) -> None:
    settings.CHANNEL_LAYERS = {"default": {"BACKEND": backend}}
    assert find_address() is None


def test_the_setting_goes_before_the_cache_and_that_before_the_layer(settings: Settings) -> None:
    settings.CHANNEL_LAYERS = {"default": {"BACKEND": LAYER, "CONFIG": {"hosts": ["redis://layer"]}}}
    assert find_address() == Address("redis://layer")
    settings.CACHES = {"default": {"BACKEND": CACHE, "LOCATION": "redis://cache"}}
    assert find_address() == Address("redis://cache")
    settings.OPENAI_WAKE_URL = "rediss://setting"
    assert find_address() == Address("rediss://setting")
    settings.OPENAI_WAKE_URL = False
    assert find_address() is None


def test_a_setting_that_is_none(settings: Settings) -> None:
    settings.OPENAI_WAKE_URL = "http://host"
    with pytest.raises(NotConfiguredError):
        find_address()


@pytest.mark.parametrize(
    ("location", "options", "url"),
    [
        ("redis://a:1,redis://b:2", {}, "redis://a:1"),
        ("redis://a:1;redis://b:2", {"db": 3, "serializer": "x"}, "redis://a:1"),
        (
            ["unix:///run/redis", "redis://b"],
            {"db": 3, "pool_class": "x", "parser_class": "y"},
            "unix:///run/redis",
        ),
        ("", {}, None),
    ],
)
def test_of_the_cache(location: Any, options: dict[str, Any], url: str | None, settings: Settings) -> None:
    settings.CACHES = {"default": {"BACKEND": CACHE, "LOCATION": location, "OPTIONS": options}}
    found = find_address()
    assert (found and found.url) == url
    if found is not None:
        assert found.options == ({"db": 3} if "db" in options else {})


@pytest.mark.parametrize(
    ("hosts", "url", "options"),
    [
        (None, "redis://localhost:6379", {}),
        ([("h", 1)], "redis://h:1", {}),
        ("redis://h:2", "redis://h:2", {}),
        ([{"address": "redis://h", "db": 1}], "redis://h", {"db": 1}),
        ([{"address": ("h", 3)}], "redis://h:3", {}),
        ([{"host": "h", "port": 4, "password": "p"}], "redis://h:4", {"password": "p"}),
        ([{"master_name": "m", "sentinels": []}], None, {}),
    ],
    ids=str,
)
def test_of_the_layer(hosts: Any, url: str | None, options: dict[str, Any], settings: Settings) -> None:
    config = {} if hosts is None else {"hosts": hosts}
    settings.CHANNEL_LAYERS = {"default": {"BACKEND": LAYER, "CONFIG": config}}
    found = find_address()
    assert found == (None if url is None else Address(url, options))


def test_a_password_is_not_shown() -> None:
    assert "secret" not in repr(Address("redis://:secret@h", {"password": "secret"}))
