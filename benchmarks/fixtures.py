"""Fill the measured site's database; prints what the client needs as JSON."""

from __future__ import annotations

import json
import sys
from typing import Any
from uuid import uuid4

import benchmarks.site  # noqa: F401 - configures Django, which the imports below need

# isort: split
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY, get_user_model
from django.contrib.sessions.backends.db import SessionStore
from django.core.management import call_command

from django_chatgpt.models import AIConversation, AIMessage


def main() -> None:
    call_command("migrate", verbosity=0)
    user = get_user_model().objects.create_user("bench", password="bench")
    session = SessionStore()
    session[SESSION_KEY] = str(user.pk)
    session[BACKEND_SESSION_KEY] = "django.contrib.auth.backends.ModelBackend"
    session[HASH_SESSION_KEY] = user.get_session_auth_hash()
    session.create()
    conversations = {size: str(talk(size, user).pk) for size in map(int, sys.argv[1:])}
    print(json.dumps({"session": session.session_key, "csrf": "a" * 32, "conversations": conversations}))


def talk(size: int, user: Any = None) -> AIConversation:
    """A conversation of so many messages, by default of a new user."""
    owner = user or get_user_model().objects.create(username=uuid4().hex)
    conversation = AIConversation.objects.create(user=owner, title=str(size))
    AIMessage.objects.bulk_create(
        AIMessage(
            conversation=conversation,
            sequence=number + 1,
            role=("user", "assistant")[number % 2],
            content="A line of a conversation, about as long as people write them when they chat.",
            token_count=16,
        )
        for number in range(size)
    )
    return conversation


if __name__ == "__main__":
    main()
