"""The example's app."""

from importlib import import_module

from django.apps import AppConfig
from django.conf import settings


class ExampleConfig(AppConfig):
    """With a broker in the settings, every process knows it: who asks, too."""

    name = "example"

    def ready(self) -> None:
        if hasattr(settings, "CELERY_BROKER_URL"):
            import_module("example.celery")
