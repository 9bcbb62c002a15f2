"""The users that a command is told of."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from django.contrib.auth import get_user_model
from django.core.exceptions import ObjectDoesNotExist, ValidationError
from django.core.management.base import CommandError


def find_user(named: str) -> Any:
    """The user with this name, as at the login, or else with this primary key. Raises CommandError.

    What is the name of one and the key of another is neither: anybody may choose a name that is a number.
    """
    users = get_user_model()._default_manager
    found: dict[Any, Any] = {}
    for field in (get_user_model().USERNAME_FIELD, "pk"):
        with suppress(ObjectDoesNotExist, ValidationError, ValueError, OverflowError):
            user = users.get(**{field: named})
            found[user.pk] = user
    if len(found) > 1:
        one, other = found.values()
        raise CommandError(
            f"{named!r} is the name of user {one.pk} and the key of user {other.get_username()!r}: "
            "say it by the other."
        )
    if not found:
        raise CommandError(f"There is no user {named!r}.")
    return found.popitem()[1]
