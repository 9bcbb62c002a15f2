"""The least a site can have: the app, its users and its sessions; no admin, no messages, no static files."""

from tests.settings.sqlite import *

ROOT_URLCONF = "tests.urls_bare"
TEMPLATES = []
INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django_chatgpt",
]
MIDDLEWARE = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
]
