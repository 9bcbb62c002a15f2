"""The settings of django-chatgpt: `conf.timeout` is `OPENAI_TIMEOUT`, read live, typed and validated.

Nothing is read when this is imported, so that settings may change under a running process and in tests.
"""

from django_chatgpt.conf.extras import missing_extra, require_extra
from django_chatgpt.conf.setting import Family, Problem, Reading, Setting
from django_chatgpt.conf.table import (
    DEFAULT_BASE_URL,
    FAMILIES,
    NO_API_KEY,
    SETTINGS,
    Conf,
    Dialect,
    OnDisconnect,
    conf,
)
from django_chatgpt.conf.values import Budget, Price, RateLimit

__all__ = [
    "DEFAULT_BASE_URL",
    "FAMILIES",
    "NO_API_KEY",
    "SETTINGS",
    "Budget",
    "Conf",
    "Dialect",
    "Family",
    "OnDisconnect",
    "Price",
    "Problem",
    "RateLimit",
    "Reading",
    "Setting",
    "conf",
    "missing_extra",
    "require_extra",
]
