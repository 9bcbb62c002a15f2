"""Settings of the example site.

The environment says who answers: OPENAI_API_KEY alone means OpenAI, OPENAI_BASE_URL any server that speaks
its API.
"""

import os
from pathlib import Path
from typing import Any

from django.core.management.utils import get_random_secret_key

BASE_DIR = Path(__file__).resolve().parent.parent

# A key of its own at each start: sessions end with the process, and there is no secret in the repository.
SECRET_KEY = os.environ.get("DJANGO_SECRET_KEY") or get_random_secret_key()
DEBUG = os.environ.get("DJANGO_DEBUG") == "1"
ALLOWED_HOSTS = ["localhost", "127.0.0.1", "[::1]"]

INSTALLED_APPS = [
    "example",
    "django_chatgpt",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "example.csp.content_security_policy",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]
ROOT_URLCONF = "example.urls"
ASGI_APPLICATION = "example.asgi.application"
WSGI_APPLICATION = "example.wsgi.application"

DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": os.environ.get("EXAMPLE_DATABASE", BASE_DIR / "db.sqlite3"),
        "OPTIONS": {
            "transaction_mode": "IMMEDIATE",  # a writer waits its turn instead of failing halfway
            "timeout": 20,
            "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
        },
    }
}
# One process needs nothing else; several share a Redis, with channels_redis.
CHANNEL_LAYERS: dict[str, Any] = {"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

LANGUAGE_CODE = "en"
TIME_ZONE = "UTC"
USE_TZ = True

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "handlers": {"console": {"class": "logging.StreamHandler"}},
    "root": {"handlers": ["console"], "level": "WARNING"},
}

STATIC_URL = "static/"
LOGIN_URL = "login"
LOGIN_REDIRECT_URL = "django_chatgpt:page"
LOGOUT_REDIRECT_URL = "login"

OPENAI_BASE_URL = os.environ.get("OPENAI_BASE_URL") or None
OPENAI_API_KEY = os.environ.get("OPENAI_API_KEY") or ("local" if OPENAI_BASE_URL else None)
OPENAI_DEFAULT_MODEL = os.environ.get("OPENAI_DEFAULT_MODEL") or "gpt-6-luna"
OPENAI_EMBEDDING_MODEL = os.environ.get("OPENAI_EMBEDDING_MODEL") or "text-embedding-3-small"
OPENAI_ADAPTER = "example.adapter.ExampleAdapter"
EMBEDDING_BASE_URL = os.environ.get("EMBEDDING_BASE_URL") or None
OPENAI_MAX_TOKENS = 300
OPENAI_CONTEXT_WINDOW = {"smollm2": 2048, "all-minilm-l6-v2": 400}
OPENAI_PRICES = {  # they run on your own machine
    "smollm2": {"input": "0", "cached_input": "0", "output": "0"},
    "all-minilm-l6-v2": {"input": "0"},
}
