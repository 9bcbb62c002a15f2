"""The models that are asked: what they cost, and how long there will be any."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from urllib.parse import urlsplit

from django.utils import timezone

from django_chatgpt.checks import configured_models
from django_chatgpt.conf import DEFAULT_BASE_URL
from django_chatgpt.core.messages import TokenUsage
from django_chatgpt.models import AIConfiguration
from django_chatgpt.services.doctor.finding import Finding, Site, error, info, value_of, warning
from django_chatgpt.services.doctor.retirements import retired_on
from django_chatgpt.services.periods import local
from django_chatgpt.services.prices import price

SOON = timedelta(days=90)


def prices(site: Site) -> Iterator[Finding]:
    """Models whose calls nobody can say the cost of."""
    base_url = value_of("OPENAI_BASE_URL")
    for model, where, answers in _asked():
        usage = TokenUsage(prompt_tokens=1, completion_tokens=answers)
        if price(model, usage, base_url=base_url).cost is None:
            refused = bool(value_of("OPENAI_BUDGETS"))
            yield (error if refused else warning)(
                f"{model}, named by {where}, has no known price.",
                "OPENAI_BUDGETS refuse every question to it."
                if refused
                else "Its calls have no cost in the ledger, in no sum and no threshold.",
                f'Set OPENAI_PRICES for {model}; "0" if it runs on a machine of your own.',
            )


def retirements(site: Site) -> Iterator[Finding]:
    """Models of OpenAI that it has switched off, or is about to."""
    if urlsplit(value_of("OPENAI_BASE_URL") or "").hostname != urlsplit(DEFAULT_BASE_URL).hostname:
        return
    today = local(timezone.now()).date()
    for model, where, _ in _asked():
        end = retired_on(model)
        if end is None:
            continue
        mend = f"Name another model in {where}, such as gpt-6-luna, and look at its answers first."
        if end <= today:
            yield error(
                f"{model}, named by {where}, was switched off by {end}.", "Questions to it fail.", mend
            )
        else:
            level = warning if end - today <= SOON else info
            why = f"From then on, in {(end - today).days} days, questions to it fail."
            yield level(f"{model}, named by {where}, is switched off on {end}.", why, mend)


def _asked() -> Iterator[tuple[str, str, int]]:
    """Each model that the settings or an active configuration name, what names it, and whether it answers."""
    seen = set()
    for model, where, answers in configured_models():
        seen.add(model)
        yield model, where, answers
    rows = AIConfiguration.active.exclude(model="").order_by("name")
    for model, name in rows.values_list("model", "name"):
        if model not in seen:
            seen.add(model)
            yield model, f"the configuration {name!r}", 1
