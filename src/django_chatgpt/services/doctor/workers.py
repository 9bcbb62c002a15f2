"""Other processes: Channels' layer and Celery's workers, if the site uses them."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from typing import Any

from django.conf import settings

from django_chatgpt.conf import missing_extra
from django_chatgpt.services.doctor.finding import Finding, Site, error, info, warning

PATIENCE = 2.0
IN_MEMORY = "channels.layers.InMemoryChannelLayer"


def channel_layer(site: Site) -> Iterator[Finding]:
    """What carries notifications from one process to another."""
    uses_channels = "channels" in settings.INSTALLED_APPS or "daphne" in settings.INSTALLED_APPS
    layers = getattr(settings, "CHANNEL_LAYERS", None) or {}
    if not (uses_channels or layers):
        return
    if importlib.util.find_spec("channels") is None:
        yield error(
            "CHANNEL_LAYERS are set, and Channels is not installed.",
            "There are no WebSockets.",
            missing_extra("channels"),
        )
    backend = layers.get("default", {}).get("BACKEND", "")
    if not backend:
        yield warning(
            "There is no default channel layer.",
            "WebSockets stream, but get no notifications.",
            "Set CHANNEL_LAYERS with channels_redis.core.RedisChannelLayer, which the extra [redis] brings.",
        )
    elif backend == IN_MEMORY:
        several = site.workers > 1 or site.runs_in_celery
        yield (warning if several else info)(
            "The channel layer is in the memory of each process.",
            "What happens in another process, in a worker or a command, is not told to open WebSockets.",
            "Use channels_redis.core.RedisChannelLayer where there is more than one process.",
        )


def celery(site: Site) -> Iterator[Finding]:
    """Tasks that are no tasks, and turns that no worker would take."""
    installed = importlib.util.find_spec("celery") is not None
    if not installed:
        if site.runs_in_celery:
            yield error(
                'OPENAI_TURN_RUNNER is "celery", and Celery is not installed.',
                "Nobody answers a question.",
                missing_extra("celery"),
            )
        return
    if _app().conf.task_always_eager or getattr(settings, "CELERY_TASK_ALWAYS_EAGER", False):
        yield (error if site.runs_in_celery else warning)(
            "Celery runs tasks where they are called (task_always_eager).",
            "A request waits for what was to be done later, and what failed is not done again.",
            "Leave it to tests: remove CELERY_TASK_ALWAYS_EAGER from the settings of the site.",
        )


def broker(site: Site) -> Iterator[Finding]:
    """Whether turns that are handed to workers arrive."""
    if not site.runs_in_celery or importlib.util.find_spec("celery") is None:
        return
    app = _app()
    if app.conf.task_always_eager:
        return
    try:
        with app.connection_for_write(connect_timeout=PATIENCE) as connection:
            connection.ensure_connection(max_retries=1, interval_start=0, timeout=PATIENCE)
            answers = app.control.inspect(timeout=PATIENCE, connection=connection).ping()
    except Exception as problem:
        yield error(
            f'OPENAI_TURN_RUNNER is "celery", and its broker can\'t be reached: {type(problem).__name__}.',
            "Questions are stored and nobody answers them.",
            "Start the broker, and set CELERY_BROKER_URL to its address.",
        )
        return
    if not answers:
        yield warning(
            'OPENAI_TURN_RUNNER is "celery", and no worker answers.',
            "Questions wait until one does.",
            "Start one: celery -A mysite worker.",
        )


def _app() -> Any:
    from celery import current_app

    return current_app
