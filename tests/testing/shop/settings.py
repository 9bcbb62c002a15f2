"""A small site, as anybody's: the tests of the testing kit run in it."""

import os

SECRET_KEY = "only-for-tests"
USE_TZ = True
ALLOWED_HOSTS = ["*"]
ROOT_URLCONF = "shop.urls"
INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django_chatgpt",
    "shop",
]
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": os.environ["SHOP_DATABASE"],
        "OPTIONS": {"transaction_mode": "IMMEDIATE", "timeout": 20},
        "TEST": {"NAME": os.environ["SHOP_DATABASE"]},
    },
}
OPENAI_API_KEY = "sk-real"
OPENAI_MAX_RETRIES = 0
STATIC_URL = "static/"
MEDIA_URL = "media/"
