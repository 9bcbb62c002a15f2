"""What `manage.py check` says about the indexes of the site."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.apps import AppConfig
from django.core.checks import CheckMessage, Error, register

from django_chatgpt.indexes.problems import INDEX_CHECKS
from django_chatgpt.indexes.registry import index_registry

__all__ = ["INDEX_CHECKS", "check_indexes"]


@register()
def check_indexes(app_configs: Sequence[AppConfig] | None = None, **kwargs: Any) -> list[CheckMessage]:
    """An error for everything that keeps an index from being searched."""
    return [Error(f"{each.where} {each.sentence}", id=each.check) for each in index_registry.problems]
