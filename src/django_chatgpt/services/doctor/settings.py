"""The settings, as `manage.py check` sees them, and what the site has registered."""

from __future__ import annotations

from collections.abc import Iterator

from django.core.checks import ERROR, CheckMessage

from django_chatgpt import checks
from django_chatgpt.functions.checks import check_functions
from django_chatgpt.indexes.checks import check_indexes
from django_chatgpt.services.doctor.finding import Finding, Level, Site, error, value_of

#: Those that have a diagnosis of their own.
ELSEWHERE = frozenset({checks.UNSHARED_CACHE, checks.NO_KEY})


def look(site: Site) -> Iterator[Finding]:
    """Whatever the system checks say."""
    for message in (*checks.check_settings(), *check_functions(), *check_indexes()):
        if message.id not in ELSEWHERE and not message.is_silenced():
            yield _finding(message)


def key(site: Site) -> Iterator[Finding]:
    """A site that can't ask anybody."""
    if value_of("OPENAI_API_KEY") is None and value_of("OPENAI_ADAPTER") is None:
        yield error(
            "There is no OPENAI_API_KEY, and no OPENAI_ADAPTER that may bring one.",
            "Every question fails.",
            "Set it in the environment of the site. A server without keys takes any text.",
        )


def _finding(message: CheckMessage) -> Finding:
    level = Level.ERROR if message.level >= ERROR else Level.WARNING
    why = {
        checks.UNKNOWN_NAME: "What it was meant to change stays as it is.",
        checks.NO_JUDGE: "Answers are shown that nobody has judged.",
    }.get(str(message.id), "What needs it fails when somebody asks.")
    return Finding(level, str(message.msg), why, f"{message.hint or 'Mend it'} ({message.id})")
