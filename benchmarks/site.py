"""The measured site: django-chatgpt as it is installed; beside it a bare SDK relay that stores nothing."""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator
from typing import Any

import django
from django.conf import settings

UPSTREAM = os.environ["BENCH_UPSTREAM"]
POSTGRES = os.environ.get("BENCH_POSTGRES")

DATABASE: dict[str, Any] = (
    {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": POSTGRES,
        "HOST": "127.0.0.1",
        "USER": os.environ.get("PGUSER", "postgres"),
        "CONN_MAX_AGE": 60,
    }
    if POSTGRES
    else {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": os.environ["BENCH_DATABASE"],
        "CONN_MAX_AGE": 60,
        "OPTIONS": {
            "transaction_mode": "IMMEDIATE",
            "timeout": 30,
            "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
        },
    }
)

settings.configure(
    SECRET_KEY="benchmark",
    ALLOWED_HOSTS=["*"],
    ROOT_URLCONF=__name__,
    INSTALLED_APPS=[
        "django.contrib.auth",
        "django.contrib.contenttypes",
        "django.contrib.sessions",
        "django_chatgpt",
    ],
    MIDDLEWARE=[
        "django.contrib.sessions.middleware.SessionMiddleware",
        "django.middleware.csrf.CsrfViewMiddleware",
        "django.contrib.auth.middleware.AuthenticationMiddleware",
    ],
    DATABASES={"default": DATABASE},
    PASSWORD_HASHERS=["django.contrib.auth.hashers.MD5PasswordHasher"],
    USE_TZ=True,
    OPENAI_API_KEY="bench",
    OPENAI_BASE_URL=UPSTREAM,
    OPENAI_PRICES={"bench": {"input": "0.10", "output": "0.50"}},
    # Wide enough for the longest history: what is not sent costs nothing, and the relay sends everything.
    OPENAI_CONTEXT_WINDOW={"burst-20": 128_000},
    LOGGING_CONFIG=None,
)
django.setup()

import openai  # noqa: E402
from django.core.asgi import get_asgi_application  # noqa: E402
from django.http import HttpRequest, HttpResponse, JsonResponse, StreamingHttpResponse  # noqa: E402
from django.urls import include, path  # noqa: E402
from pydantic_core import from_json  # noqa: E402

client: openai.AsyncOpenAI | None = None


async def relay(request: HttpRequest) -> HttpResponse | StreamingHttpResponse:
    """What a developer writes in an afternoon: signed-in users, SDK in, events out, nothing kept."""
    global client
    if not (await request.auser()).is_authenticated:
        return HttpResponse(status=401)
    if client is None:
        client = openai.AsyncOpenAI(api_key="bench", base_url=UPSTREAM)
    data = from_json(request.body)
    if not data["stream"]:
        reply = await client.chat.completions.create(model=data["model"], messages=data["messages"])
        return JsonResponse({"content": reply.choices[0].message.content})
    stream = await client.chat.completions.create(
        model=data["model"],
        messages=data["messages"],
        stream=True,
        stream_options={"include_usage": True},
    )

    async def events() -> AsyncIterator[str]:
        async with stream:
            async for chunk in stream:
                if chunk.choices and (text := chunk.choices[0].delta.content):
                    yield f"data: {json.dumps({'content': text})}\n\n"
        yield 'data: {"type": "done"}\n\n'

    return StreamingHttpResponse(events(), content_type="text/event-stream")


urlpatterns = [path("relay/", relay), path("ai/", include("django_chatgpt.urls"))]
application = get_asgi_application()
