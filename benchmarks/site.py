"""The measured site: django-chatgpt as it is installed; beside it a bare SDK relay that stores nothing,
and a view that does nothing at all."""

from __future__ import annotations

import gc
import json
import os
import sys
from collections.abc import AsyncIterator
from importlib.util import find_spec
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

EXTRAS: dict[str, Any] = {}
if "BENCH_BUDGETS" in os.environ:
    EXTRAS["OPENAI_BUDGETS"] = [{"scope": "user", "period": "day", "limit": "1000000"}]
if "BENCH_CHANNELS" in os.environ and find_spec("channels"):
    EXTRAS["CHANNEL_LAYERS"] = {"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}}

settings.configure(
    SECRET_KEY="benchmark",
    ALLOWED_HOSTS=["*"],
    ROOT_URLCONF=__name__,
    INSTALLED_APPS=[
        "django.contrib.auth",
        "django.contrib.contenttypes",
        "django.contrib.sessions",
        "django_chatgpt",
        *(["benchmarks"] if "BENCH_FUNCTIONS" in os.environ else []),
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
    **EXTRAS,
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


async def empty(request: HttpRequest) -> HttpResponse | StreamingHttpResponse:
    """The least that a view behind a sign-in can do."""
    if not (await request.auser()).is_authenticated:
        return HttpResponse(status=401)
    if not from_json(request.body)["stream"]:
        return JsonResponse({"content": "word"})

    async def events() -> AsyncIterator[str]:
        yield 'data: {"content": "word"}\n\n'

    return StreamingHttpResponse(events(), content_type="text/event-stream")


urlpatterns = [path("relay/", relay), path("empty/", empty), path("ai/", include("django_chatgpt.urls"))]
application = get_asgi_application()
if "CHANNEL_LAYERS" in EXTRAS and find_spec("django_chatgpt.routing"):
    from channels.auth import AuthMiddlewareStack
    from channels.routing import ProtocolTypeRouter, URLRouter

    from django_chatgpt.routing import websocket_urlpatterns

    sockets = AuthMiddlewareStack(URLRouter(websocket_urlpatterns))
    application = ProtocolTypeRouter({"http": application, "websocket": sockets})

if "BENCH_TUNED" in os.environ:
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)
    sys.setswitchinterval(0.0005)
