"""The site that the servers of these tests run; the test that starts one says how.

`SERVER_SITE`: the settings module it is based on. `SERVER_SETTINGS`: a JSON object of settings that differ;
"DATABASE" holds what differs of the default database. `SERVER_CELERY`: there if the site has workers.
"""

import importlib
import json
import os

_site = importlib.import_module(os.environ.get("SERVER_SITE", "tests.settings.sqlite"))
globals().update({name: getattr(_site, name) for name in dir(_site) if name.isupper()})
_databases = globals()["DATABASES"]["default"]
for _name, _value in json.loads(os.environ.get("SERVER_SETTINGS", "{}")).items():
    if _name == "DATABASE":
        _databases |= _value
    else:
        globals()[_name] = _value

ROOT_URLCONF = "tests.servers.urls"
globals().setdefault("CHANNEL_LAYERS", {"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}})
LOGIN_URL = "/admin/login/"
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "handlers": {"console": {"class": "logging.StreamHandler"}},
    "root": {"handlers": ["console"], "level": "INFO"},
}

if "SERVER_CELERY" in os.environ:
    importlib.import_module("tests.servers.worker")
