"""The default: SQLite in files, so that threads and server processes of a test see the same data."""

import atexit
import os
import shutil
import tempfile
from pathlib import Path

from tests.settings.base import *

if "DJANGO_CHATGPT_DATABASE" in os.environ:  # a server that a test started opens the test's own file
    _name = Path(os.environ["DJANGO_CHATGPT_DATABASE"])
    _test_name = _name
else:
    _folder = Path(tempfile.mkdtemp(prefix="django-chatgpt-tests-"))
    atexit.register(shutil.rmtree, _folder, ignore_errors=True)
    _name = _folder / "site.sqlite3"
    _test_name = _folder / "test.sqlite3"

DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": str(_name),
        "OPTIONS": {
            "transaction_mode": "IMMEDIATE",
            "timeout": 20,
            "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
        },
        "TEST": {"NAME": str(_test_name)},
    },
}
