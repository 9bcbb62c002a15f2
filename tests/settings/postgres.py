"""The same site on PostgreSQL: `PGHOST`, `PGPORT`, `PGUSER`, `PGPASSWORD` say where."""

import os

from tests.settings.base import *

_name = os.environ.get("DJANGO_CHATGPT_DATABASE", f"test_django_chatgpt_{os.getpid()}")

DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.postgresql",
        "HOST": os.environ.get("PGHOST", "127.0.0.1"),
        "PORT": os.environ.get("PGPORT", "5432"),
        "USER": os.environ.get("PGUSER", "postgres"),
        "PASSWORD": os.environ.get("PGPASSWORD", ""),
        "NAME": _name,
        "TEST": {"NAME": _name},
    },
}
