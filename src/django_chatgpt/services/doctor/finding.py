"""What the doctor finds, and what a diagnosis is given to look at."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import IntEnum
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

from django.conf import settings

from django_chatgpt.conf import SETTINGS, Problem
from django_chatgpt.exceptions import AIServiceError

if TYPE_CHECKING:
    from django_chatgpt.providers.probe import Probe

Server = Literal["asgi", "wsgi"]


class Level(IntEnum):
    """How bad it is: an error keeps the site from working, a warning waits for the wrong moment."""

    OK = 0
    INFO = 1
    WARNING = 2
    ERROR = 3


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was found: `what` it is, `why` it matters, how to `mend` it. `id` is the diagnosis's."""

    level: Level
    what: str
    why: str = ""
    mend: str = ""
    id: str = ""


@dataclass(frozen=True)
class Site:
    """The deployment that is looked at. `workers` is how many processes serve it, as far as that is known."""

    server: Server
    workers: int = 1
    offline: bool = False

    @classmethod
    def of_settings(
        cls, server: Server | None = None, workers: int | None = None, *, offline: bool = False
    ) -> Site:
        """What is not said is taken from ASGI_APPLICATION and the environment variable WEB_CONCURRENCY."""
        guessed: Server = "asgi" if getattr(settings, "ASGI_APPLICATION", None) else "wsgi"
        told = os.environ.get("WEB_CONCURRENCY", "")
        return cls(server or guessed, workers or (int(told) if told.isdigit() else 1), offline)

    @property
    def is_asgi(self) -> bool:
        return self.server == "asgi"

    @property
    def runs_in_celery(self) -> bool:
        """Whether turns are handed to Celery's workers."""
        return bool(value_of("OPENAI_TURN_RUNNER") == "celery")

    @property
    def probe(self) -> Probe:
        """The provider's answer to one small request, asked for once. Raises any AIServiceError."""
        outcome = self._probed
        if isinstance(outcome, AIServiceError):
            raise outcome
        return outcome

    @cached_property
    def _probed(self) -> Probe | AIServiceError:
        from django_chatgpt.providers.probe import probe
        from django_chatgpt.services import access

        try:
            return probe(access.account_of(None).endpoint)
        except AIServiceError as error:
            return error


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """One subject: `fine` is said where `look` finds nothing. `online`: it asks the network."""

    id: str
    fine: str
    look: Callable[[Site], Iterable[Finding]]
    online: bool = False


def info(what: str, why: str, mend: str) -> Finding:
    return Finding(Level.INFO, what, why, mend)


def warning(what: str, why: str, mend: str) -> Finding:
    return Finding(Level.WARNING, what, why, mend)


def error(what: str, why: str, mend: str) -> Finding:
    return Finding(Level.ERROR, what, why, mend)


def value_of(name: str) -> Any:
    """The value of a setting; None where it is malformed, which is a finding of its own, or unknown."""
    setting = SETTINGS.get(name)
    outcome = None if setting is None else setting.read()
    return None if outcome is None or isinstance(outcome, Problem) else outcome.value
