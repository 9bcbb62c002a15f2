"""The routes of the ordinary test site, and two that let a test look into its process."""

from __future__ import annotations

import json
from typing import Any

from django.conf import settings
from django.contrib.auth.decorators import login_not_required
from django.db import connection
from django.http import HttpRequest, JsonResponse
from django.urls import path
from django.views.decorators.csrf import csrf_exempt

from django_chatgpt.services import follow
from tests.urls import urlpatterns as site


@csrf_exempt
@login_not_required
def configure(request: HttpRequest) -> JsonResponse:
    """Change settings of this process; what is read live follows. LOOK_SECONDS is how often it polls."""
    for name, value in json.loads(request.body).items():
        setattr(follow if name == "LOOK_SECONDS" else settings, name, value)
    return JsonResponse({})


@login_not_required
def pool(request: HttpRequest) -> JsonResponse:
    """How many connections the pool of this process has, how many of them are free, and who waits."""
    stats: dict[str, Any] = connection.pool.get_stats()  # type: ignore[attr-defined]
    return JsonResponse(stats)


urlpatterns = [*site, path("configure/", configure), path("pool/", pool)]
