"""What an optional dependency's absence looks like: one sentence that says what to install."""

from __future__ import annotations

from importlib import import_module
from types import ModuleType

from django_chatgpt.exceptions import NotConfiguredError


def missing_extra(extra: str) -> str:
    """The sentence for somebody who uses what only `pip install 'django-chatgpt[extra]'` brings."""
    return f"This needs the extra [{extra}], which is not installed: pip install 'django-chatgpt[{extra}]'."


def require_extra(module: str, extra: str) -> ModuleType:
    """Import `module`, which `extra` installs.

    NotConfiguredError says what to install if its top-level package is absent. An error inside an
    installed package passes through, because installing it again would not help.
    """
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        if error.name != module.partition(".")[0]:
            raise
        raise NotConfiguredError(missing_extra(extra)) from error
