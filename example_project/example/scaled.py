"""Settings of the example site grown up: PostgreSQL, Redis, and workers that are told by RabbitMQ.

The usual variables say where they are: PGHOST and its like, REDIS_URL, RABBITMQ_URL.
"""

import os

from example.settings import *

REDIS_URL = os.environ.get("REDIS_URL", "redis://127.0.0.1:6379/0")
RABBITMQ_URL = os.environ.get("RABBITMQ_URL", "amqp://guest:guest@127.0.0.1:5672//")

DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": os.environ.get("PGDATABASE", "django_chatgpt_example"),
        "HOST": os.environ.get("PGHOST", "127.0.0.1"),
        "PORT": os.environ.get("PGPORT", "5432"),
        "USER": os.environ.get("PGUSER", os.environ.get("USER", "root")),
        "PASSWORD": os.environ.get("PGPASSWORD", ""),
        "OPTIONS": {"pool": {"min_size": 1, "max_size": 8}},
    }
}
CACHES = {"default": {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": REDIS_URL}}
CHANNEL_LAYERS = {
    "default": {"BACKEND": "channels_redis.core.RedisChannelLayer", "CONFIG": {"hosts": [REDIS_URL]}}
}

CELERY_BROKER_URL = RABBITMQ_URL
CELERY_RESULT_BACKEND = REDIS_URL
CELERY_TASK_DEFAULT_QUEUE = os.environ.get("CELERY_QUEUE", "chatgpt")
OPENAI_TURN_RUNNER = "celery"
