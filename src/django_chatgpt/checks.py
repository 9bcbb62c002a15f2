"""System checks: what `manage.py check` says about the settings of a site.

Those about its functions and indexes are in `functions.checks` and `indexes.checks`. An id keeps its meaning
for ever; `CHECKS` lists them all.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from importlib.util import find_spec
from types import MappingProxyType
from typing import Any

from django.apps import AppConfig
from django.conf import settings
from django.core.cache import InvalidCacheBackendError, caches
from django.core.cache.backends.dummy import DummyCache
from django.core.cache.backends.locmem import LocMemCache
from django.core.checks import CheckMessage, Error, Warning, register

from django_chatgpt.conf import FAMILIES, NO_API_KEY, SETTINGS, Problem, missing_extra
from django_chatgpt.core.messages import TokenUsage
from django_chatgpt.functions.checks import FUNCTION_CHECKS
from django_chatgpt.indexes.checks import INDEX_CHECKS

UNKNOWN_NAME = "django_chatgpt.W001"
NO_KEY = "django_chatgpt.W002"
UNSHARED_CACHE = "django_chatgpt.W003"
NO_JUDGE = "django_chatgpt.W004"
UNPRICED = "django_chatgpt.W005"
NO_WORKERS = "django_chatgpt.E301"

CHECKS = MappingProxyType(
    {
        **{
            family.check_id: f"A malformed value in {', '.join(each.name for each in family.declared())}."
            for family in FAMILIES
        },
        UNKNOWN_NAME: "A name in the settings that begins with OPENAI_ and is no setting.",
        NO_KEY: "No OPENAI_API_KEY, and no OPENAI_ADAPTER that may bring one.",
        UNSHARED_CACHE: "OPENAI_RATE_LIMITS with a default cache that each process has for itself.",
        NO_JUDGE: "OPENAI_MODERATE_OUTPUT without OPENAI_MODERATION_MODEL, so that answers are not judged.",
        UNPRICED: "With --deploy only: a configured model without a known price.",
        **FUNCTION_CHECKS,
        **INDEX_CHECKS,
        NO_WORKERS: 'OPENAI_TURN_RUNNER is "celery" and Celery is not installed.',
    }
)


@register()
def check_settings(app_configs: Sequence[AppConfig] | None = None, **kwargs: Any) -> list[CheckMessage]:
    """Everything that can be said about the settings without asking anybody else."""
    if app_configs is not None and all(each.name != "django_chatgpt" for each in app_configs):
        return []
    return [
        *malformed_values(),
        *unknown_names(),
        *missing_key(),
        *unshared_cache(),
        *missing_judge(),
        *missing_workers(),
    ]


def malformed_values() -> Iterator[CheckMessage]:
    """An error for each setting that would raise NotConfiguredError where it is used."""
    for setting in SETTINGS.values():
        outcome = setting.read()
        if isinstance(outcome, Problem):
            yield Error(
                outcome.sentence,
                hint=f"{setting.meaning} The default is {setting.default!r}.",
                id=setting.check_id,
            )


def unknown_names() -> Iterator[CheckMessage]:
    """A warning for each name that looks like one of ours and is none."""
    for name in sorted(dir(settings)):
        if name.startswith("OPENAI_") and name.isupper() and name not in SETTINGS:
            nearest = nearest_name(name)
            yield Warning(
                f"{name} is no setting of django-chatgpt, so nothing reads it.",
                hint=f"Did you mean {nearest}?"
                if nearest
                else f"Remove it, or silence {UNKNOWN_NAME} if something else of the site reads it.",
                id=UNKNOWN_NAME,
            )


def nearest_name(name: str) -> str | None:
    """The setting whose name is most like `name` behind the common OPENAI_, None if none is like it."""
    for setting in SETTINGS.values():
        if setting.env == name:
            return setting.name
    rest = {each.removeprefix("OPENAI_"): each for each in SETTINGS}
    near = get_close_matches(name.removeprefix("OPENAI_"), rest, n=1, cutoff=0.4)
    return rest[near[0]] if near else None


def missing_judge() -> Iterator[CheckMessage]:
    """A warning if answers are to be judged and nobody is named to do it."""
    wanted, model = SETTINGS["OPENAI_MODERATE_OUTPUT"].read(), SETTINGS["OPENAI_MODERATION_MODEL"].read()
    if isinstance(wanted, Problem) or isinstance(model, Problem) or not wanted.value or model.value:
        return
    yield Warning(
        "OPENAI_MODERATE_OUTPUT is True and there is no OPENAI_MODERATION_MODEL, so answers are not judged.",
        hint='Name one, such as "omni-moderation-latest".',
        id=NO_JUDGE,
    )


def missing_workers() -> Iterator[CheckMessage]:
    """An error if turns are to be left to workers that there can't be."""
    runner = SETTINGS["OPENAI_TURN_RUNNER"].read()
    if isinstance(runner, Problem) or runner.value != "celery" or find_spec("celery") is not None:
        return
    yield Error(
        'OPENAI_TURN_RUNNER is "celery" and Celery is not installed, so no question can be asked.',
        hint=missing_extra("celery"),
        id=NO_WORKERS,
    )


def missing_key() -> Iterator[CheckMessage]:
    """A warning if no call can be made; not an error, since migrations and other pages need no key."""
    key, adapter = SETTINGS["OPENAI_API_KEY"].read(), SETTINGS["OPENAI_ADAPTER"].read()
    if isinstance(key, Problem) or key.value or isinstance(adapter, Problem) or adapter.value:
        return
    yield Warning(
        NO_API_KEY,
        hint="Questions raise NotConfiguredError until it is set. A server without keys takes any text.",
        id=NO_KEY,
    )


def unshared_cache() -> Iterator[CheckMessage]:
    """A warning if requests are counted where no other process sees it, or not counted at all."""
    limits = SETTINGS["OPENAI_RATE_LIMITS"].read()
    if isinstance(limits, Problem) or not limits.value:
        return
    try:
        cache = caches["default"]
    except InvalidCacheBackendError:
        return
    if isinstance(cache, LocMemCache | DummyCache):
        yield Warning(
            f"OPENAI_RATE_LIMITS are counted in the default cache, and {type(cache).__name__} is not shared.",
            hint="Each process of the site lets so many requests in. Use Redis or Memcached.",
            id=UNSHARED_CACHE,
        )


@register(deploy=True)
def check_prices(app_configs: Sequence[AppConfig] | None = None, **kwargs: Any) -> list[CheckMessage]:
    """A warning for each configured model whose calls would have no known cost.

    Only where a deployment is checked: the price list takes half a second and 80 MB, which is too much for
    every command.
    """
    if app_configs is not None and all(each.name != "django_chatgpt" for each in app_configs):
        return []
    prices, budgets = SETTINGS["OPENAI_PRICES"].read(), SETTINGS["OPENAI_BUDGETS"].read()
    if isinstance(prices, Problem):
        return []
    from django_chatgpt.services.prices import price

    refused = not isinstance(budgets, Problem) and bool(budgets.value)
    return [
        Warning(
            f"{model} in {name} has no known price, so its calls are in the ledger without a cost"
            + (", and OPENAI_BUDGETS refuse it." if refused else "."),
            hint=f'Set OPENAI_PRICES for {model}; "0" if it runs on a machine of your own.',
            id=UNPRICED,
        )
        for model, name, answers in configured_models()
        if price(model, TokenUsage(prompt_tokens=1, completion_tokens=answers), base_url=_base_url()).cost
        is None
    ]


def configured_models() -> Iterator[tuple[str, str, int]]:
    """Each model of the settings, the setting that names it, and 1 if it answers in tokens, which cost too.

    The embedding model counts where the site has named one: the default one may never be used.
    """
    seen: set[str] = set()
    for name in ("OPENAI_DEFAULT_MODEL", "OPENAI_FALLBACK_MODELS", "OPENAI_CLASSIFIER_MODEL"):
        outcome = SETTINGS[name].read()
        if isinstance(outcome, Problem) or not outcome.value:
            continue
        for model in [outcome.value] if isinstance(outcome.value, str) else outcome.value:
            if model not in seen:
                seen.add(model)
                yield model, name, 1
    embedding = SETTINGS["OPENAI_EMBEDDING_MODEL"]
    outcome = embedding.read()
    if not isinstance(outcome, Problem) and hasattr(settings, embedding.name):
        yield outcome.value, embedding.name, 0


def _base_url() -> str | None:
    outcome = SETTINGS["OPENAI_BASE_URL"].read()
    return None if isinstance(outcome, Problem) else outcome.value
