"""The example site as a browser visits it, in the language that the browser asks for."""

import json
import os

from example.settings import *  # noqa: F403
from example.settings import MIDDLEWARE as ORDINARY

MIDDLEWARE = [*ORDINARY, "django.middleware.locale.LocaleMiddleware"]
ROOT_URLCONF = "tests.browser.urls"
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
SECRET_KEY = "only-for-tests"  # sessions outlive a server
OPENAI_MAX_RETRIES = 0
OPENAI_TURN_LEASE = 2
OPENAI_PRICES = {"gpt-6-luna": {"input": "1", "output": "2"}}
globals().update(json.loads(os.environ.get("SITE_SETTINGS", "{}")))
