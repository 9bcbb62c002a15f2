"""The Django application."""

from typing import Any

from django.apps import AppConfig
from django.db.models.signals import post_migrate
from django.utils.translation import gettext_lazy as _


class DjangoChatGPTConfig(AppConfig):
    name = "django_chatgpt"
    label = "django_chatgpt"
    verbose_name = _("ChatGPT")
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from django_chatgpt import checks  # noqa: F401 - registers them
        from django_chatgpt.functions import checks as function_checks  # noqa: F401 - registers them
        from django_chatgpt.functions import function_registry
        from django_chatgpt.indexes import checks as index_checks  # noqa: F401 - registers them
        from django_chatgpt.indexes import index_registry

        function_registry.autodiscover()
        index_registry.autodiscover()
        index_registry.attach(_watch)
        post_migrate.connect(_list_functions, sender=self)
        _observe()
        _show_monitors()


def _watch(index: Any) -> None:
    """Have an index follow its objects. Imported here, as a site without any does not need it to start."""
    from django_chatgpt.services.freshness import watch

    watch(index)


def _observe() -> None:
    """Have spans and metrics made where the extra [otel] is installed."""
    from django_chatgpt.exceptions import NotConfiguredError

    try:
        from django_chatgpt.telemetry import observers
    except NotConfiguredError:
        return
    observers.subscribe()


def _show_monitors() -> None:
    """Have what happens told to the sockets of staff where the site has a channel layer."""
    from django.conf import settings

    if getattr(settings, "CHANNEL_LAYERS", None):
        from django_chatgpt.services import monitoring

        monitoring.subscribe()


def _list_functions(using: str, apps: Any = None, **kwargs: Any) -> None:
    """Have the table of functions say what the code says, wherever that table is.

    `apps` are those of the moment that was migrated to; a flush gives none.
    """
    from django.apps import apps as present_apps
    from django.db import router

    from django_chatgpt.functions import function_registry
    from django_chatgpt.storage import functions

    try:
        model = (apps or present_apps).get_model("django_chatgpt", "AIFunction")
    except LookupError:
        return  # migrated back to before there was one
    if router.allow_migrate_model(using, model):
        functions.sync(function_registry.rows, using=using, model=model)
