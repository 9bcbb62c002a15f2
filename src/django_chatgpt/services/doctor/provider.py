"""The provider: whether it is reached, takes the key, has the model, and what time it has."""

from __future__ import annotations

from collections.abc import Iterator

from django_chatgpt.conf import DEFAULT_BASE_URL
from django_chatgpt.exceptions import AIServiceError, NotConfiguredError
from django_chatgpt.services.doctor.finding import Finding, Site, error, info, value_of, warning

MOST_SKEW = 30.0
BAD_SKEW = 300.0


def look(site: Site) -> Iterator[Finding]:
    """One small request with the site's own key."""
    try:
        probe = site.probe
    except NotConfiguredError as problem:
        yield error(str(problem), "Every question fails.", "Set OPENAI_API_KEY and OPENAI_BASE_URL.")
        return
    except AIServiceError as problem:
        yield error(
            problem.message,
            "Every question waits, and fails.",
            "See whether this machine reaches that host: its name, a proxy, a firewall, the certificates.",
        )
        return
    if probe.status in (401, 403):
        yield error(
            f"The provider is reached and refuses the key ({probe.status}).",
            "Every question fails.",
            "Make a new key, or see whether it belongs to OPENAI_ORGANIZATION and OPENAI_BASE_URL.",
        )
    elif probe.status == 429:
        yield warning(
            "The provider has too much to do, or the account is used up (429).",
            "Questions wait, or fail.",
            "Look at the limits and the balance of the account.",
        )
    elif probe.status >= 500:
        yield error(
            f"The provider answers {probe.status}.",
            "Questions fail, or go to OPENAI_FALLBACK_MODELS.",
            "Look at its page of incidents; if there is a gateway between, at that.",
        )
    elif probe.models is not None:
        yield from _models(probe.models)
    elif probe.status == 200:
        yield warning(
            "What answers at OPENAI_BASE_URL gives no list of models.",
            "It may be another service, or a page to sign in at.",
            f"Correct OPENAI_BASE_URL: it is an address like {DEFAULT_BASE_URL}.",
        )


def clock(site: Site) -> Iterator[Finding]:
    """The clock of this machine, against the provider's."""
    try:
        skew = site.probe.skew
    except AIServiceError:
        skew = None
    if skew is None:
        yield info(
            "The provider has not said what time it is.",
            "Whether the clock of this machine is right was not found out.",
            "See whether it is set by NTP: timedatectl.",
        )
        return
    if abs(skew) <= MOST_SKEW:
        return
    yield (error if abs(skew) > BAD_SKEW else warning)(
        f"The clock of this machine is {abs(skew):.0f} seconds {'ahead' if skew > 0 else 'behind'}.",
        "Leases, budgets and limits count time: processes that disagree about it end each other's turns.",
        "Have it set by NTP: timedatectl set-ntp true.",
    )


def _models(offered: frozenset[str]) -> Iterator[Finding]:
    for name in ("OPENAI_DEFAULT_MODEL", "OPENAI_FALLBACK_MODELS"):
        value = value_of(name)
        for model in [value] if isinstance(value, str) else value or ():
            if model not in offered:
                yield warning(
                    f"The provider does not list {model}, which is in {name}.",
                    "It may have no such model, or not for this key: questions to it fail.",
                    "Name one that it lists, or see what the key may use.",
                )
