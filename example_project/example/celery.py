"""Celery for the example site: `celery --app example.celery worker`."""

import os

from celery import Celery

from django_chatgpt.schedule import BEAT_SCHEDULE

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "example.scaled")

app = Celery("example")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.conf.beat_schedule = BEAT_SCHEDULE
app.autodiscover_tasks()
