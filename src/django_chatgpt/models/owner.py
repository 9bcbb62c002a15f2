"""Whose a row is, in text that a unique constraint can compare."""

from __future__ import annotations

from hashlib import sha256

OWNER_KEY_LENGTH = 64


def owner_key_of(user_id: object) -> str:
    """Say whose a row is in text that is never NULL: "" is the site.

    A key as long as the column is hashed, so that no two users share one.
    """
    if user_id is None:
        return ""
    key = str(user_id)
    return key if len(key) < OWNER_KEY_LENGTH else sha256(key.encode()).hexdigest()
