"""Who is at the other end of a socket: looked up again, as a socket outlives a session."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any

from django.conf import settings
from django.contrib.auth import (
    BACKEND_SESSION_KEY,
    HASH_SESSION_KEY,
    SESSION_KEY,
    get_user_model,
    load_backend,
)
from django.utils.crypto import constant_time_compare

from django_chatgpt.services.access import NotAuthenticatedError
from django_chatgpt.storage.primary import primary


def find_user(scope: Mapping[str, Any]) -> Any:
    """The user of a socket, as they are now. Raises NotAuthenticatedError. Uses the database.

    Who is there by a session is there as long as the session is; others as long as their account.
    """
    user = scope.get("user")
    if user is None or not user.is_authenticated:
        raise NotAuthenticatedError()
    session = scope.get("session")
    key = getattr(session, "session_key", None)
    if session is not None and key and session.get(SESSION_KEY) == user._meta.pk.value_to_string(user):
        found = _of_session(key)
    else:
        found = get_user_model()._default_manager.using(primary()).filter(pk=user.pk).first()
    if found is None or found.pk != user.pk:
        raise NotAuthenticatedError()
    return found


def _of_session(key: str) -> Any:
    """Whoever a session belongs to. It is only read: nobody could be told a new key."""
    session = import_module(settings.SESSION_ENGINE).SessionStore(key)
    backend = session.get(BACKEND_SESSION_KEY)
    if backend not in settings.AUTHENTICATION_BACKENDS:
        return None
    model = get_user_model()
    user: Any = load_backend(backend).get_user(model._meta.pk.to_python(session[SESSION_KEY]))
    if user is None or not hasattr(user, "get_session_auth_hash"):
        return user
    # Another one since the password has changed; the keys before SECRET_KEY still count.
    told = session.get(HASH_SESSION_KEY) or ""
    hashes = [user.get_session_auth_hash(), *user.get_session_auth_fallback_hash()]
    return user if any(constant_time_compare(told, each) for each in hashes) else None
