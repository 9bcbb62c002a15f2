"""Tasks of Django 6's own framework that do what ours do."""

from typing import Any

from django.tasks import task  # type: ignore[import-not-found,unused-ignore]

from django_chatgpt import tasks as chatgpt


@task
def watch_costs() -> dict[str, Any]:
    return chatgpt.monitor_ai_costs()
