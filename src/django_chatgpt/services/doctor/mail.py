"""Whether anybody is told of an alert."""

from __future__ import annotations

import warnings
from collections.abc import Iterator

from django.conf import settings

from django_chatgpt.adapter import Adapter, get_adapter
from django_chatgpt.exceptions import AIServiceError
from django_chatgpt.services.doctor.finding import Finding, Site, info, value_of, warning

WATCHED = ("OPENAI_BUDGETS", "OPENAI_DAILY_COST_THRESHOLD", "OPENAI_MONTHLY_COST_THRESHOLD")
GOES_NOWHERE = ("console", "dummy", "filebased", "locmem")


def look(site: Site) -> Iterator[Finding]:
    """Who gets alerts, and whether mail leaves this machine."""
    try:
        adapter = get_adapter()
    except AIServiceError:
        return
    if type(adapter).alert_recipients is Adapter.alert_recipients:
        watched = [name for name in WATCHED if value_of(name)]
        if watched:
            yield info(
                f"{watched[0]} raises alerts, and nobody gets them by e-mail.",
                "They are in the admin alone, where somebody has to look.",
                "Have alert_recipients of your OPENAI_ADAPTER name addresses.",
            )
        return
    name, backend = _backend()
    if backend.startswith("django.core.mail.backends.") and backend.split(".")[-2] in GOES_NOWHERE:
        yield warning(
            f"Alerts are to be sent by e-mail, and {name} is {backend}.",
            "No mail leaves this machine.",
            "Name the backend and the host of a server that sends.",
        )


def _backend() -> tuple[str, str]:
    """The class that sends mail, and the setting that names it: one of MAILERS from Django 6.1 on."""
    mailers = getattr(settings, "MAILERS", None)
    if mailers is not None:
        return 'MAILERS["default"]', str(mailers.get("default", {}).get("BACKEND", ""))
    with warnings.catch_warnings(action="ignore"):  # a new Django says that it is the old way
        return "EMAIL_BACKEND", str(settings.EMAIL_BACKEND)
