"""What `manage.py check` says about the functions of the site."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.apps import AppConfig
from django.core.checks import CheckMessage, Error, Warning, register

from django_chatgpt.functions.problems import FUNCTION_CHECKS, Problem
from django_chatgpt.functions.registry import function_registry

__all__ = ["FUNCTION_CHECKS", "check_functions"]


@register()
def check_functions(app_configs: Sequence[AppConfig] | None = None, **kwargs: Any) -> list[CheckMessage]:
    """An error for each function that can't be called, a warning for each that models will not understand."""
    return [_message(each) for each in function_registry.problems if _is_within(each, app_configs)]


def _is_within(problem: Problem, app_configs: Sequence[AppConfig] | None) -> bool:
    return app_configs is None or any(problem.where.startswith(f"{each.name}.") for each in app_configs)


def _message(problem: Problem) -> CheckMessage:
    kind = Error if problem.is_error else Warning
    return kind(f"{problem.where} {problem.sentence}", hint=problem.hint or None, id=problem.check)
