"""Indexes of models that every site of the tests has; each goes with its test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.core.cache import cache

from django_chatgpt.indexes import Index, index_registry, register_index
from django_chatgpt.models import AIConfiguration
from django_chatgpt.services.freshness import refresher, unwatch

Register = Callable[..., Index]


@pytest.fixture
def register() -> Iterator[Register]:
    """`register_index`, for the time of a test."""
    made: list[Index] = []

    def registered(name: str, source: Any, **options: Any) -> Index:
        made.append(register_index(name, source, **options))
        return made[-1]

    yield registered
    assert refresher.join(20)
    for index in made:
        if not index.problems:
            unwatch(index)
        index_registry.unregister(index.name)


@pytest.fixture
def index(register: Register) -> Index:
    """Configurations by name and prompt, their keys being UUIDs; the inactive ones are not found."""
    cache.clear()
    return register(
        "prompts", AIConfiguration.objects.filter(is_active=True), fields=["name", "system_prompt"]
    )


def add(name: str, prompt: str = "", **fields: Any) -> AIConfiguration:
    return AIConfiguration.objects.create(name=name, system_prompt=prompt, **fields)
