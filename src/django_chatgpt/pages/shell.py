"""What the scripts of page and widget are told: where things are, and what their reader may see."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.conf import settings
from django.http import HttpRequest
from django.middleware.csrf import get_token
from django.shortcuts import resolve_url
from django.urls import reverse
from django.utils.crypto import salted_hmac
from django.utils.translation import get_language

from django_chatgpt.adapter import get_adapter
from django_chatgpt.services.access import may_view_ledger

#: Stands in an address for the id that a script puts there.
ANY_ID = UUID(int=0)


def may_use(request: HttpRequest) -> bool:
    """Whether who asks for a page is signed in, and may ask."""
    user = getattr(request, "user", None)
    return user is not None and user.is_authenticated and get_adapter().may_use(user)


def shell(request: HttpRequest) -> dict[str, Any]:
    """The context that `django_chatgpt/chat.html` needs."""
    plain = {name: reverse(f"django_chatgpt:{name}") for name in ("page", "chat", "conversations")}
    with_id = {
        name: reverse(f"django_chatgpt:{name}", args=[ANY_ID])
        for name in ("talk", "conversation", "turn", "turn_events", "cancel", "approve")
    }
    user: Any = request.user
    return {
        "dc": {
            "places": plain | with_id,
            "login": resolve_url(settings.LOGIN_URL),
            "language": get_language() or "en",
            "costs": may_view_ledger(user),
            # By which a tab knows that somebody else sits before it now.
            "reader": salted_hmac("django_chatgpt.reader", str(user.pk), algorithm="sha256").hexdigest()[:32],
        },
        "csrf_token": get_token(request),
    }
