"""The same site on MariaDB or MySQL: `MYSQL_HOST`, `MYSQL_PORT`, `MYSQL_USER`, `MYSQL_PASSWORD` say where."""

import os

import pymysql

from tests.settings.base import *

pymysql.install_as_MySQLdb()

_name = os.environ.get("DJANGO_CHATGPT_DATABASE", f"test_django_chatgpt_{os.getpid()}")

DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.mysql",
        "HOST": os.environ.get("MYSQL_HOST", "127.0.0.1"),
        "PORT": os.environ.get("MYSQL_PORT", "3306"),
        "USER": os.environ.get("MYSQL_USER", "root"),
        "PASSWORD": os.environ.get("MYSQL_PASSWORD", ""),
        "NAME": _name,
        "OPTIONS": {"charset": "utf8mb4", "isolation_level": "read committed"},
        "TEST": {"NAME": _name, "CHARSET": "utf8mb4"},
    },
}
